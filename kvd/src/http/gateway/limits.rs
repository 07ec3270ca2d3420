//! Limits of a command, checked before it is proposed: by the node that takes the request, and again by the leader,
//! whose flags or version may differ.
//!
//! Every replica applies a command in the log, forever: one that cannot be applied would end all of them.

use super::super::error::ApiError;
use crate::kv::{Command, Operation};
use bytes::Bytes;

/// Limits of a command that are settings of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    /// Largest value, in bytes.
    pub value_bytes_max: usize,
    /// Largest transaction, in bytes, as it is in the log.
    pub txn_bytes_max: usize,
}

/// Checks a command, which has `encoded_bytes` in the log.
///
/// # Errors
/// [`ApiError`], which says which limit the command breaks.
pub(in crate::http) fn check(command: &Command, encoded_bytes: usize, limits: CommandLimits) -> Result<(), ApiError> {
    match &command.operation {
        Operation::RaiseLevel { .. } => return Err(ApiError::invalid("only the leader raises the level")),
        Operation::EndLeases { .. } => return Err(ApiError::invalid("only the leader ends leases")),
        Operation::Txn(_) if encoded_bytes > limits.txn_bytes_max => {
            return Err(ApiError::txn_too_large(encoded_bytes, limits.txn_bytes_max));
        }
        _ => {}
    }
    if command.longest_value() > limits.value_bytes_max {
        return Err(ApiError::value_too_large(limits.value_bytes_max));
    }
    Ok(command.validate()?)
}

/// Checks a command that another node has encoded.
///
/// # Errors
/// As [`check`]; [`kvclient::api::ErrorCode::NotReady`] if this node does not know such a command.
pub(super) fn check_encoded(command: &Bytes, limits: CommandLimits) -> Result<(), ApiError> {
    let decoded = Command::decode(command).map_err(|cause| {
        ApiError::not_ready(format!("the leader cannot read this request ({cause}): its kvd may be older; upgrade it"))
    })?;
    check(&decoded, command.len(), limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Condition, Op, Put, Txn};
    use kvclient::api::ErrorCode;

    const MAX: CommandLimits = CommandLimits { value_bytes_max: 4, txn_bytes_max: 100 };

    fn set(key: &'static str, value: &'static str, condition: Option<&'static str>) -> Command {
        let condition = condition.map(|value| Condition::Value(value.into()));
        Command { operation: Operation::Set { put: Put::new(key, value), condition }, request: None }
    }

    #[test]
    fn what_must_not_stand_in_the_log_is_refused() {
        let delete = |condition: &'static str| {
            let condition = Some(Condition::Value(condition.into()));
            Command { operation: Operation::Delete { key: "k".into(), condition, prev: false }, request: None }
        };
        let txn = |values: &[&'static str], key_bytes: usize| {
            let keys = (b'a'..).map(|letter| vec![letter; key_bytes]);
            let then = keys.zip(values).map(|(key, value)| Op::Put(Put::new(key, *value))).collect();
            Command { operation: Operation::Txn(Txn { compares: vec![], then, or_else: vec![] }), request: None }
        };
        for (command, expected) in [
            (set("k", "1234", None), None),
            (set("k", "1234", Some("1234")), None),
            (set("k", "12345", None), Some(ErrorCode::TooLarge)),
            (set("k", "1", Some("12345")), Some(ErrorCode::TooLarge)),
            (set("", "1", None), Some(ErrorCode::InvalidRequest)),
            (delete("1234"), None),
            (delete("12345"), Some(ErrorCode::TooLarge)),
            (txn(&["1234"], 1), None),
            (txn(&["12345"], 1), Some(ErrorCode::TooLarge)),
            (txn(&["1", "2", "3"], 40), Some(ErrorCode::TooLarge)),
            (txn(&["1", "2"], 0), Some(ErrorCode::InvalidRequest)),
        ] {
            assert_eq!(
                check(&command, command.encode().len(), MAX).err().map(|error| error.code()),
                expected,
                "{command:?}"
            );
            assert_eq!(check_encoded(&command.encode(), MAX).err().map(|error| error.code()), expected, "{command:?}");
        }
        for encoded in [&b""[..], b"\x00", b"\xff\x00\x00"] {
            let refused = check_encoded(&Bytes::from_static(encoded), MAX).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::NotReady, "{encoded:?}");
        }
    }
}
