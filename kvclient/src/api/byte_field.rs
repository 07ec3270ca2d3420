//! Byte strings in JSON and in queries: as text if they are valid UTF-8, otherwise as base64 in a field of another
//! name.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, Engine};
use serde::Serializer;
use serde::ser::SerializeMap as _;
use std::borrow::Cow;

/// Reads any padding or none, since many programs leave it out.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Reads the alphabet with `+` and `/`.
const READ_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Reads the alphabet with `-` and `_`.
const READ_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A field that holds a byte string: its two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteField {
    /// Name of the field that holds text.
    pub(super) text: &'static str,
    /// Name of the field that holds base64.
    pub(super) base64: &'static str,
}

/// The key of an item or request.
pub(super) const KEY: ByteField = ByteField { text: "key", base64: "key_base64" };

/// The value of an item or request.
pub(super) const VALUE: ByteField = ByteField { text: "value", base64: "value_base64" };

/// The beginning of the keys of a range.
pub(super) const PREFIX: ByteField = ByteField { text: "prefix", base64: "prefix_base64" };

/// The lower bound of a range.
pub(super) const FROM: ByteField = ByteField { text: "from", base64: "from_base64" };

/// The upper bound of a range.
pub(super) const TO: ByteField = ByteField { text: "to", base64: "to_base64" };

/// The key after which a list goes on.
pub(super) const AFTER: ByteField = ByteField { text: "after", base64: "after_base64" };

/// Writes a key as an object of its own, for a place that is flattened into a larger one.
pub(super) fn as_key<S: Serializer>(key: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
    KEY.serialize(key.as_ref(), to)
}

/// Writes a value as an object of its own, for a place that is flattened into a larger one.
pub(super) fn as_value<S: Serializer>(value: &[u8], to: S) -> Result<S::Ok, S::Error> {
    VALUE.serialize(value, to)
}

impl ByteField {
    /// Returns the field that carries `bytes` in JSON: its name and content.
    pub(super) fn encode(self, bytes: &[u8]) -> (&'static str, Cow<'_, str>) {
        match std::str::from_utf8(bytes) {
            Ok(text) => (self.text, Cow::Borrowed(text)),
            Err(_) => (self.base64, Cow::Owned(STANDARD.encode(bytes))),
        }
    }

    /// Returns the parameter that carries `bytes` in a query: its name, and its content before percent-encoding.
    pub(super) fn encode_for_query(self, bytes: &[u8]) -> (&'static str, Cow<'_, str>) {
        match std::str::from_utf8(bytes) {
            Ok(text) => (self.text, Cow::Borrowed(text)),
            Err(_) => (self.base64, Cow::Owned(URL_SAFE_NO_PAD.encode(bytes))),
        }
    }

    /// Writes the field as an object of its own, for a place that is flattened into a larger one.
    pub(super) fn serialize<S: Serializer>(self, bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let (name, content) = self.encode(bytes);
        let mut object = to.serialize_map(Some(1))?;
        object.serialize_entry(name, &content)?;
        object.end()
    }

    /// Returns the bytes from one of the two fields, `None` if both are absent.
    ///
    /// # Errors
    /// A sentence, if both are given, or the base64 is invalid.
    pub(super) fn decode(self, text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
        match (text, base64) {
            (Some(text), None) => Ok(Some(text.into_bytes())),
            (None, Some(base64)) => self.decode_base64(&base64).map(Some),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(format!("give `{}` or `{}`, not both", self.text, self.base64)),
        }
    }

    /// Returns the bytes from the decoded values of one of the two query parameters, `None` if both are absent. A space
    /// in base64 is a `+` that was not percent-encoded.
    ///
    /// # Errors
    /// As [`ByteField::decode`].
    pub(super) fn decode_query(self, text: Option<&str>, base64: Option<&str>) -> Result<Option<Vec<u8>>, String> {
        self.decode(text.map(str::to_owned), base64.map(|base64| base64.replace(' ', "+")))
    }

    /// Returns the bytes from base64. A key is read in either alphabet, with padding or without; a value only as it is
    /// written.
    ///
    /// # Errors
    /// A sentence, if it is not valid base64.
    pub(super) fn decode_base64(self, text: &str) -> Result<Vec<u8>, String> {
        if self == VALUE {
            let wrong = |cause| format!("`{}` is not standard base64 with padding: {cause}", self.base64);
            return STANDARD.decode(text).map_err(wrong);
        }
        let engine = if text.contains(['-', '_']) { READ_URL_SAFE } else { READ_STANDARD };
        engine.decode(text).map_err(|cause| format!("`{}` is not base64: {cause}", self.base64))
    }

    /// Returns `bytes`.
    ///
    /// # Errors
    /// A sentence, if they are absent.
    pub(super) fn require<T>(self, bytes: Option<T>) -> Result<T, String> {
        let missing = || format!("missing field `{}` (or `{}` for bytes that are not UTF-8)", self.text, self.base64);
        bytes.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_either_alphabet_with_padding_or_without() {
        for (text, bytes) in [
            ("", Some(&[][..])),
            ("/w==", Some(&[0xff])),
            ("_w==", Some(&[0xff])),
            ("/w", Some(&[0xff])),
            ("_w", Some(&[0xff])),
            ("+/8=", Some(&[0xfb, 0xff])),
            ("-_8", Some(&[0xfb, 0xff])),
            ("-/8", None),  // both alphabets at once
            ("/x==", None), // bits behind the last byte
            ("%", None),
        ] {
            let read = KEY.decode_base64(text);
            assert_eq!(read.as_deref().ok(), bytes, "{text}: {read:?}");
        }
        for text in ["/w", "_w==", "%"] {
            assert!(
                VALUE.decode_base64(text).is_err_and(|sentence| sentence.contains("`value_base64` is not")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_space_in_a_query_is_a_plus() {
        assert_eq!(KEY.decode_query(None, Some(" /8=")), Ok(Some(vec![0xfb, 0xff])));
        assert_eq!(KEY.decode_query(Some("a b"), None), Ok(Some(b"a b".to_vec())));
    }
}
