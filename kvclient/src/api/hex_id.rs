//! Ids of nodes and of clusters, as text, because not every JSON parser keeps numbers exact beyond 53 bits.

/// Formats an id as sixteen hexadecimal digits.
///
/// ```
/// assert_eq!(kvclient::api::hex_id(0xa4), "00000000000000a4");
/// ```
pub fn hex_id(id: u64) -> String {
    format!("{id:016x}")
}

/// Parses an id. Returns `None` for anything that [`hex_id`] does not write, such as capitals or signs.
///
/// ```
/// use kvclient::api::parse_hex_id;
///
/// assert_eq!(parse_hex_id("00000000000000a4"), Some(0xa4));
/// assert_eq!([parse_hex_id("a4"), parse_hex_id("00000000000000A4"), parse_hex_id("+0000000000000a4")], [None; 3]);
/// ```
pub fn parse_hex_id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|id| hex_id(*id) == text)
}
