//! Limits of a command, checked before it is proposed: by the node that takes the request, and again by the leader,
//! whose flags or version may differ.
//!
//! Every replica applies a command in the log, forever: one that cannot be applied would end all of them.

use super::super::error::ApiError;
use crate::kv::{Command, Condition, Operation};
use bytes::Bytes;

/// Checks a command whose values may be up to `value_bytes_max` bytes long.
///
/// # Errors
/// [`ApiError`], which says which limit the command breaks.
pub(in crate::http) fn check(command: &Command, value_bytes_max: usize) -> Result<(), ApiError> {
    let (value, condition) = match &command.operation {
        Operation::Set { value, condition, .. } => (Some(value), condition),
        Operation::Delete { condition, .. } => (None, condition),
        Operation::RaiseLevel { .. } => return Err(ApiError::invalid("only the leader raises the level")),
    };
    // A condition with a longer value can never hold, since no stored value is that long. But the condition would still
    // take up space in the log.
    let expected = match condition {
        Some(Condition::Value(expected)) => Some(expected),
        Some(Condition::Absent | Condition::Present | Condition::ModRevision(_)) | None => None,
    };
    if value.into_iter().chain(expected).any(|value| value.len() > value_bytes_max) {
        return Err(ApiError::value_too_large(value_bytes_max));
    }
    Ok(command.validate()?)
}

/// Checks a command that another node has encoded.
///
/// # Errors
/// As [`check`]; [`kvclient::api::ErrorCode::NotReady`] if this node does not know such a command.
pub(super) fn check_encoded(command: &Bytes, value_bytes_max: usize) -> Result<(), ApiError> {
    let command = Command::decode(command).map_err(|cause| {
        ApiError::not_ready(format!("the leader cannot read this request ({cause}): its kvd may be older; upgrade it"))
    })?;
    check(&command, value_bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvclient::api::ErrorCode;

    const MAX: usize = 4;

    fn set(key: &'static str, value: &'static str, condition: Option<&'static str>) -> Command {
        let condition = condition.map(|value| Condition::Value(value.into()));
        Command {
            operation: Operation::Set { key: key.into(), value: value.into(), condition, prev: false },
            request: None,
        }
    }

    #[test]
    fn what_must_not_stand_in_the_log_is_refused() {
        let delete = |condition: &'static str| {
            let condition = Some(Condition::Value(condition.into()));
            Command { operation: Operation::Delete { key: "k".into(), condition, prev: false }, request: None }
        };
        for (command, expected) in [
            (set("k", "1234", None), None),
            (set("k", "1234", Some("1234")), None),
            (set("k", "12345", None), Some(ErrorCode::TooLarge)),
            (set("k", "1", Some("12345")), Some(ErrorCode::TooLarge)),
            (set("", "1", None), Some(ErrorCode::InvalidRequest)),
            (delete("1234"), None),
            (delete("12345"), Some(ErrorCode::TooLarge)),
        ] {
            assert_eq!(check(&command, MAX).err().map(|error| error.code()), expected, "{command:?}");
            assert_eq!(check_encoded(&command.encode(), MAX).err().map(|error| error.code()), expected, "{command:?}");
        }
        for encoded in [&b""[..], b"\x00", b"\xff\x00\x00"] {
            let refused = check_encoded(&Bytes::from_static(encoded), MAX).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::NotReady, "{encoded:?}");
        }
    }
}
