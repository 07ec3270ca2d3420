//! Values in JSON: as text where they are valid UTF-8, else as base64 under another name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::borrow::Cow;

/// The field that carries a value, by its name and content.
pub(super) fn encode(value: &[u8]) -> (&'static str, Cow<'_, str>) {
    match std::str::from_utf8(value) {
        Ok(text) => ("value", Cow::Borrowed(text)),
        Err(_) => ("value_base64", Cow::Owned(BASE64.encode(value))),
    }
}

/// The value that is carried by one of these two fields.
///
/// # Errors
/// A sentence, if none or both are there, or the base64 is none.
pub(super) fn decode(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => decode_base64(&base64),
        (None, None) => Err("missing field `value` (or `value_base64` for bytes that are not UTF-8)".into()),
        (Some(_), Some(_)) => Err("give `value` or `value_base64`, not both".into()),
    }
}

/// The value that `value_base64` carries.
///
/// # Errors
/// A sentence, if it is no base64.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|cause| format!("`value_base64` is not standard base64 with padding: {cause}"))
}
