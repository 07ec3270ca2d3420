//! A snapshot for tests.

use super::{Encoder, Head};

/// Returns a snapshot with this many pieces of data, up to entry 12, with two keys at revision 300.
pub(crate) fn snapshot(pieces: usize) -> Vec<u8> {
    let head = Head {
        cluster_id: 0xc1,
        last_index: 12,
        last_term: 3,
        time_ms: 7,
        configuration_index: 1,
        configuration: b"members"[..].into(),
        summary: b"\x01\xac\x02\x07\x02\x01\x80\x010123456789abcdef"[..].into(),
    };
    let (mut encoder, mut bytes) = Encoder::begin(&head);
    for _ in 0..pieces {
        bytes.extend(encoder.data(b"data"));
        bytes.extend(b"data");
    }
    bytes.extend(encoder.end());
    bytes
}
