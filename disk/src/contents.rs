//! The bytes of a file that is kept in memory, read and written at positions like a [`File`](crate::File).

/// Reads from `contents` like [`File::read_at`](crate::File::read_at).
pub fn read_at(contents: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| contents.get(offset..)).unwrap_or_default();
    let read = rest.len().min(buffer.len());
    buffer[..read].copy_from_slice(&rest[..read]);
    read
}

/// Writes all of `bytes` into `contents` like [`File::write_at`](crate::File::write_at).
///
/// # Panics
/// If the end is beyond what memory can hold.
pub fn write_at(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).expect("a file in memory fits into memory");
    let end = start + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[start..end].copy_from_slice(bytes);
}
