//! Any bytes as `identity.json`: a node must never run under an id that is not its own.

use kvd::storage::{Disk, Identity, MemoryDisk, StorageError};

const FILE: &str = "identity.json";

/// Hexadecimal digits of its checksum.
const DIGITS: usize = 8;

/// Checks any bytes.
pub fn check(bytes: &[u8]) {
    load(bytes);
    // Few inputs have the right checksum. There is more to check in the code behind it.
    if let Some(sealed) = seal(bytes) {
        load(&sealed);
    }
}

fn load(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    disk.create(FILE).and_then(|file| file.write_all_at(0, bytes)).expect("memory takes all");
    match Identity::load(&disk) {
        Ok(found) => {
            let identity = found.expect("a file that is there is read or refused");
            assert!(identity.name.len() <= bytes.len(), "a name of {} bytes", identity.name.len());
            let saved = MemoryDisk::new();
            identity.save(&saved).expect("memory takes all");
            let again = Identity::load(&saved).expect("what was saved is read");
            assert_eq!(again, Some(identity));
            // Whatever its spacing, the checksum in it is the one that we write.
            let checksum = last_field(&read(&saved));
            assert!(bytes.windows(checksum.len()).any(|window| window == checksum), "its checksum is wrong");
        }
        Err(StorageError::Corrupt { file, cause, .. }) => assert!(file == FILE && !cause.is_empty()),
        Err(StorageError::UnknownVersion { file, found, supported }) => assert!(file == FILE && found != supported),
        Err(other) => panic!("{other}"),
    }
}

fn read(disk: &MemoryDisk) -> Vec<u8> {
    let file = disk.open(FILE).expect("it was saved");
    let mut bytes = vec![0; file.size().expect("memory knows") as usize];
    file.read_full_at(0, &mut bytes).expect("memory reads all");
    bytes
}

/// Returns the eight digits and the quotes at the end.
fn last_field(saved: &[u8]) -> Vec<u8> {
    let end = saved.iter().rposition(|byte| *byte == b'"').expect("a quote");
    saved[end - DIGITS - 1..=end].to_vec()
}

/// Returns the same bytes with the right checksum as the last field.
fn seal(bytes: &[u8]) -> Option<Vec<u8>> {
    const FIELD: &[u8] = br#","crc32c":""#;
    let at = bytes.windows(FIELD.len()).rposition(|window| window == FIELD)?;
    let (before, rest) = (&bytes[..at], bytes.get(at + FIELD.len() + DIGITS + 1..)?);
    let covered = [before, rest.trim_ascii_end()].concat();
    let field = [FIELD, format!("{:08x}\"", crc32c::crc32c(&covered)).as_bytes()].concat();
    Some([before, &field, rest].concat())
}
