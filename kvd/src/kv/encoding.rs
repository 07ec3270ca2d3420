//! The bytes of commands and outcomes.
//!
//! Commands have this form in the log and between nodes, outcomes in the sessions that remember them. Both outlive the
//! program that wrote them, so a test pins their bytes. Decoding accepts exactly the bytes that encoding can produce:
//! whatever decodes encodes to the same bytes again, and anything else, trailing bytes included, is an error. It copies
//! no value and allocates only the client's name.

mod outcome;
mod wire;

use super::codec::{Reader, put_bytes};
use super::command::{Command, Operation, RequestId};
use super::level::Level;
use super::write::{Condition, Put, PutLease};
use bytes::Bytes;
use kvclient::snapshot::{VARINT_BYTES_MAX, put_varint};
use thiserror::Error;
use wire::{Source, Wire};

const OPERATION_SET: u8 = 1;
const OPERATION_DELETE: u8 = 2;
const OPERATION_RAISE_LEVEL: u8 = 3;

const FLAG_PREV: u8 = 1 << 0;
const FLAG_REQUEST: u8 = 1 << 1;

const CONDITION_NONE: u8 = 0;
const CONDITION_ABSENT: u8 = 1;
const CONDITION_PRESENT: u8 = 2;
const CONDITION_MOD_REVISION: u8 = 3;
const CONDITION_VALUE: u8 = 4;

/// Any operation that needs the level of the data model.
const OPERATION_OF_DATA_MODEL: u8 = 4;

/// Bytes from which on a command of the data model may take long to apply: a few hundred small operations.
const LONG_BYTES_MIN: usize = 16 << 10;

/// Reason why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A newer version of this program wrote it: update this node.
    #[error("command of level {0}, which this kvd does not support")]
    UnknownLevel(Level),
    /// No version of this program writes such bytes.
    #[error("malformed command: {field}")]
    Malformed {
        /// The field that could not be read.
        field: &'static str,
    },
}

fn malformed(field: &'static str) -> DecodeError {
    DecodeError::Malformed { field }
}

impl Command {
    /// Encodes the command for the log. Numbers are varints, *bytes* a varint length and that many bytes:
    ///
    /// | offset | size   | field |
    /// |--------|--------|-------|
    /// | 0      | 1      | level of the command |
    /// | 1      | 1      | operation: 1 set, 2 delete, 3 raise the level, 4 one of the data model |
    ///
    /// The level of a command that raises the level is the new one, and nothing follows. An operation of the data model
    /// needs level 3 and is followed by the request id, if there is one, and the operation, as `wire.rs` encodes them.
    /// In other commands there follow:
    ///
    /// | offset | size   | field |
    /// |--------|--------|-------|
    /// | 2      | 1      | flags: bit 0 `prev`, bit 1 a request id follows; the others zero |
    /// | 3      | 1      | condition: 0 none, 1 absent, 2 present, 3 mod revision, 4 value |
    /// | 4      | varies | condition 3: number; condition 4: bytes; else nothing |
    /// |        | varies | key: bytes |
    /// |        | varies | set: value: bytes |
    /// |        | varies | request id: client: bytes, UTF-8; seq: number |
    pub fn encode(&self) -> Bytes {
        let level = u8::try_from(self.level().0).expect("levels of this version have one byte");
        let (tag, key, value, condition, prev) = match &self.operation {
            Operation::RaiseLevel { .. } => return Bytes::copy_from_slice(&[level, OPERATION_RAISE_LEVEL]),
            Operation::Set { put: Put { key, value, prev, .. }, condition } if self.level() == Level::FIRST => {
                (OPERATION_SET, key, Some(value), condition, *prev)
            }
            Operation::Delete { key, condition, prev } if self.level() == Level::FIRST => {
                (OPERATION_DELETE, key, None, condition, *prev)
            }
            operation => {
                let mut to = vec![level, OPERATION_OF_DATA_MODEL];
                self.request.write(&mut to);
                operation.write(&mut to);
                return to.into();
            }
        };
        let variable = key.len()
            + value.map_or(0, Bytes::len)
            + self.request.as_ref().map_or(0, |request| request.client.len())
            + if let Some(Condition::Value(expected)) = condition { expected.len() } else { 0 };
        let mut to = Vec::with_capacity(4 + 5 * VARINT_BYTES_MAX + variable);

        let mut flags = 0;
        if prev {
            flags |= FLAG_PREV;
        }
        if self.request.is_some() {
            flags |= FLAG_REQUEST;
        }
        to.extend_from_slice(&[level, tag, flags]);
        match condition {
            None => to.push(CONDITION_NONE),
            Some(Condition::Absent) => to.push(CONDITION_ABSENT),
            Some(Condition::Present) => to.push(CONDITION_PRESENT),
            Some(Condition::ModRevision(revision)) => {
                to.push(CONDITION_MOD_REVISION);
                put_varint(&mut to, *revision);
            }
            Some(Condition::Value(expected)) => {
                to.push(CONDITION_VALUE);
                put_bytes(&mut to, expected);
            }
            Some(Condition::Held(_)) => unreachable!("it is not known to the first level"),
        }
        put_bytes(&mut to, key);
        if let Some(value) = value {
            put_bytes(&mut to, value);
        }
        if let Some(request) = &self.request {
            put_bytes(&mut to, request.client.as_bytes());
            put_varint(&mut to, request.seq);
        }
        to.into()
    }

    /// Returns false if the first bytes of an encoded command show that it is not a keepalive without a request id.
    pub fn may_be_keepalive(encoded: &[u8]) -> bool {
        let level = Level::DATA_MODEL.0 as u8;
        encoded.starts_with(&[level, OPERATION_OF_DATA_MODEL, 0, wire::KEEP_ALIVE])
    }

    /// Returns true if the command may take so long to apply that other requests notice: it deletes a range, or is large.
    pub fn may_take_long(encoded: &Bytes) -> bool {
        if !encoded.starts_with(&[Level::DATA_MODEL.0 as u8, OPERATION_OF_DATA_MODEL]) {
            return false;
        }
        let from = &mut Source::copying(&encoded[2..]);
        let request = Option::<RequestId>::read(from);
        encoded.len() >= LONG_BYTES_MIN || request.is_some() && from.reader.u8() == Some(wire::DELETE_RANGE)
    }

    /// Returns the level of an encoded command, supported or not; `None` if the bytes are too short to have one.
    pub fn level_of(encoded: &[u8]) -> Option<Level> {
        encoded.first().map(|level| Level(u32::from(*level))).filter(|level| *level >= Level::FIRST)
    }

    /// Decodes what [`Command::encode`] wrote. Key and values share the memory of `encoded`.
    ///
    /// # Errors
    /// [`DecodeError`] for all other bytes. Never panics on any bytes.
    pub fn decode(encoded: &Bytes) -> Result<Self, DecodeError> {
        let from = &mut Reader::new(encoded);
        let level = Self::level_of(encoded).ok_or(malformed("level"))?;
        if level > Level::NEWEST {
            return Err(DecodeError::UnknownLevel(level));
        }
        let (_, tag) = (from.u8(), from.u8().ok_or(malformed("operation"))?);
        match tag {
            OPERATION_SET | OPERATION_DELETE if level == Level::FIRST => {}
            OPERATION_RAISE_LEVEL if level >= Level::RAISED => {
                let is_whole = from.rest().is_empty();
                let command = Self { operation: Operation::RaiseLevel { to: level }, request: None };
                return is_whole.then_some(command).ok_or(malformed("bytes after the end"));
            }
            OPERATION_OF_DATA_MODEL if level == Level::DATA_MODEL => return Self::decode_of_data_model(encoded),
            _ => return Err(malformed("operation")),
        }
        let flags = from.u8().filter(|flags| flags & !(FLAG_PREV | FLAG_REQUEST) == 0).ok_or(malformed("flags"))?;
        let prev = flags & FLAG_PREV != 0;
        let condition = match from.u8() {
            Some(CONDITION_NONE) => None,
            Some(CONDITION_ABSENT) => Some(Condition::Absent),
            Some(CONDITION_PRESENT) => Some(Condition::Present),
            Some(CONDITION_MOD_REVISION) => {
                Some(Condition::ModRevision(from.varint().ok_or(malformed("condition's mod revision"))?))
            }
            Some(CONDITION_VALUE) => {
                let expected = from.bytes().ok_or(malformed("condition's value"))?;
                Some(Condition::Value(encoded.slice_ref(expected)))
            }
            _ => return Err(malformed("condition")),
        };
        let key = encoded.slice_ref(from.bytes().ok_or(malformed("key"))?);
        let operation = match tag {
            OPERATION_SET => {
                let value = encoded.slice_ref(from.bytes().ok_or(malformed("value"))?);
                Operation::Set { put: Put { key, value, lease: PutLease::None, prev }, condition }
            }
            OPERATION_DELETE => Operation::Delete { key, condition, prev },
            _ => return Err(malformed("operation")),
        };
        let request = if flags & FLAG_REQUEST == 0 {
            None
        } else {
            let client = from.bytes().ok_or(malformed("client"))?;
            let client = std::str::from_utf8(client).map_err(|_| malformed("client"))?.to_owned();
            Some(RequestId { client, seq: from.varint().ok_or(malformed("seq"))? })
        };
        if !from.rest().is_empty() {
            return Err(malformed("bytes after the end"));
        }
        Ok(Self { operation, request })
    }

    fn decode_of_data_model(encoded: &Bytes) -> Result<Self, DecodeError> {
        let from = &mut Source::sharing(encoded);
        let _level_and_operation = (from.reader.u8(), from.reader.u8());
        let request = Wire::read(from).ok_or(malformed("request"))?;
        let operation = Wire::read(from).ok_or(malformed("operation of the data model"))?;
        let command = Self { operation, request };
        if !from.reader.rest().is_empty() {
            return Err(malformed("bytes after the end"));
        }
        // Other commands have another encoding.
        if command.level() != Level::DATA_MODEL || matches!(command.operation, Operation::RaiseLevel { .. }) {
            return Err(malformed("level"));
        }
        Ok(command)
    }
}

impl Operation {
    /// Encodes the operation as the level of the data model knows it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        self.write(&mut to);
        to
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::Item;
    use super::super::outcome::{DeleteDone, Outcome, PutDone};
    use super::super::strategies;
    use super::*;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn set(condition: Option<Condition>, prev: bool, request: Option<RequestId>) -> Command {
        let (key, value) = (Bytes::from("color"), Bytes::from("blue"));
        Command { operation: Operation::Set { put: Put { prev, ..Put::new(key, value) }, condition }, request }
    }

    #[test]
    fn the_bytes_of_commands_are_pinned() {
        let (color, blue) = ("05636f6c6f72", "04626c7565");
        let delete = Operation::Delete { key: "color".into(), condition: Some(Condition::Present), prev: true };
        let request = RequestId { client: "c1".into(), seq: 300 };
        for (command, expected) in [
            (set(None, false, None), format!("01010000{color}{blue}")),
            (set(Some(Condition::Absent), true, None), format!("01010101{color}{blue}")),
            (set(Some(Condition::ModRevision(128)), false, None), format!("010100038001{color}{blue}")),
            (set(Some(Condition::Value("red".into())), false, None), format!("0101000403726564{color}{blue}")),
            (set(None, false, Some(request.clone())), format!("01010200{color}{blue}026331ac02")),
            (Command { operation: delete, request: Some(request) }, format!("01020302{color}026331ac02")),
            (Command { operation: Operation::RaiseLevel { to: Level(2) }, request: None }, "0203".to_owned()),
        ] {
            assert_eq!(hex(&command.encode()), expected, "{command:?}");
            assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn the_bytes_of_outcomes_are_pinned() {
        let item = Item { value: "blue".into(), create_revision: 4, mod_revision: 300, version: 2, lease: None };
        for (outcome, expected) in [
            (Outcome::Set { revision: 7, done: PutDone { created: true, prev: None, lease: None } }, "01070100"),
            (
                Outcome::Set { revision: 301, done: PutDone { created: false, prev: Some(item), lease: None } },
                "01ad02000104ac020204626c7565",
            ),
            (Outcome::Deleted { revision: 7, done: DeleteDone { deleted: false, prev: None } }, "02070000"),
            (Outcome::ConditionFailed { current: None }, "03"),
            (Outcome::StaleRequest { newest: 9 }, "0409"),
            (Outcome::SessionsFull, "05"),
            (Outcome::SeqReused, "06"),
            (Outcome::LevelRaised { level: Level(300) }, "07ac02"),
        ] {
            assert_eq!(hex(&outcome.encode()), expected, "{outcome:?}");
            assert_eq!(Outcome::decode(&outcome.encode()), Some(outcome));
        }
    }

    #[test]
    fn what_is_no_command_is_refused_by_the_name_of_its_field() {
        for (case, bytes, expected) in [
            ("nothing", &[][..], malformed("level")),
            ("no level", &[0, 1, 0, 0], malformed("level")),
            ("a newer level", &[200, 1, 0, 0], DecodeError::UnknownLevel(Level(200))),
            ("a set of a level at which there is none", &[2, 1, 0, 0, 1, b'k', 0], malformed("operation")),
            ("a level raised to the first", &[1, 3], malformed("operation")),
            ("a level raised, and more", &[2, 3, 0], malformed("bytes after the end")),
            ("an unknown operation", &[1, 9, 0, 0, 1, b'k'], malformed("operation")),
            ("an unknown flag", &[1, 2, 4, 0, 1, b'k'], malformed("flags")),
            ("an unknown condition", &[1, 2, 0, 5, 1, b'k'], malformed("condition")),
            ("a key beyond the end", &[1, 2, 0, 0, 9, b'k'], malformed("key")),
            ("no value", &[1, 1, 0, 0, 1, b'k'], malformed("value")),
            ("a client that is not UTF-8", &[1, 2, 2, 0, 1, b'k', 1, 0xff, 1], malformed("client")),
            ("no seq", &[1, 2, 2, 0, 1, b'k', 1, b'c'], malformed("seq")),
            ("a byte too many", &[1, 2, 0, 0, 1, b'k', 0], malformed("bytes after the end")),
        ] {
            assert_eq!(Command::decode(&Bytes::copy_from_slice(bytes)), Err(expected), "{case}");
        }
    }

    #[test]
    fn decoding_copies_no_value() {
        let encoded = set(None, false, None).encode();
        let Ok(Command { operation: Operation::Set { put, .. }, .. }) = Command::decode(&encoded) else {
            panic!("not decoded as a set")
        };
        assert!(encoded.as_ptr_range().contains(&put.value.as_ptr()));
    }

    proptest! {
        #[test]
        fn commands_come_back_as_they_went(command in strategies::command_of_any_level()) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }

        #[test]
        fn outcomes_come_back_as_they_went(outcome in strategies::outcome()) {
            prop_assert_eq!(Outcome::decode(&outcome.encode()), Some(outcome.clone()));
            prop_assert_eq!(Outcome::decode_whole(&outcome.encode_whole()), Some(outcome));
        }

        #[test]
        fn a_command_cut_short_is_refused(command in strategies::command_of_any_level(), keep in 0.0..1.0) {
            let encoded = command.encode();
            let kept = (encoded.len() as f64 * keep) as usize;
            prop_assert!(Command::decode(&encoded.slice(..kept)).is_err());
        }

        #[test]
        fn a_changed_byte_is_refused_or_is_another_command(command in strategies::command_of_any_level(), at: prop::sample::Index, to: u8) {
            let mut bytes = command.encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(other) = Command::decode(&bytes.clone().into()) {
                prop_assert_eq!(other.encode(), bytes);
            }
        }

        #[test]
        fn any_bytes_decode_to_what_encodes_to_them_or_are_refused(bytes in prop::collection::vec(0..6u8, 0..24)) {
            if let Ok(command) = Command::decode(&bytes.clone().into()) {
                prop_assert_eq!(command.encode(), bytes.clone());
            }
            if let Some(outcome) = Outcome::decode(&bytes) {
                prop_assert_eq!(outcome.encode(), bytes);
            }
        }
    }
}
