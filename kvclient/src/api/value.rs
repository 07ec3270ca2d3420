//! Values in JSON: as text if they are valid UTF-8, otherwise as base64 in a field of another name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::borrow::Cow;

/// Returns the field that carries a value: its name and content.
pub(super) fn encode(value: &[u8]) -> (&'static str, Cow<'_, str>) {
    match std::str::from_utf8(value) {
        Ok(text) => ("value", Cow::Borrowed(text)),
        Err(_) => ("value_base64", Cow::Owned(BASE64.encode(value))),
    }
}

/// Returns the value from one of these two fields.
///
/// # Errors
/// A sentence, if none or both are given, or the base64 is invalid.
pub(super) fn decode(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => decode_base64(&base64),
        (None, None) => Err("missing field `value` (or `value_base64` for bytes that are not UTF-8)".into()),
        (Some(_), Some(_)) => Err("give `value` or `value_base64`, not both".into()),
    }
}

/// Returns the value from `value_base64`.
///
/// # Errors
/// A sentence, if it is not valid base64.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|cause| format!("`value_base64` is not standard base64 with padding: {cause}"))
}
