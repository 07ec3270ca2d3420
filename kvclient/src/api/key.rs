//! Keys: any bytes, ordered bytewise.

use super::byte_field::KEY;
use bytes::Bytes;
use std::borrow::Borrow;
use std::fmt::{self, Write as _};

/// Longest key, in bytes. The shortest is one byte.
///
/// ```
/// assert_eq!(kvclient::api::KEY_BYTES_MAX, 4096);
/// ```
pub const KEY_BYTES_MAX: usize = 4096;

/// Checks the length of a key.
///
/// # Errors
/// A sentence that says how long a key may be.
///
/// ```
/// use kvclient::api::check_key;
///
/// assert_eq!(check_key("color"), Ok(()));
/// assert_eq!(check_key(""), Err("the key is empty; a key has at least one byte".to_owned()));
/// ```
pub fn check_key(key: impl AsRef<[u8]>) -> Result<(), String> {
    match key.as_ref().len() {
        0 => Err("the key is empty; a key has at least one byte".to_owned()),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(format!("the key has {bytes} bytes; the longest has {KEY_BYTES_MAX}")),
    }
}

/// A key, or the beginning or bound of keys: any bytes, ordered bytewise. Cheap to clone.
///
/// JSON carries it as `"key":"text"` when it is valid UTF-8 and as `"key_base64":"..."` otherwise. Its length is not
/// checked here: see [`check_key`].
///
/// ```
/// use kvclient::api::{Item, Key};
///
/// let json = r#"{"key_base64":"AP8=","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#;
/// let item: Item = serde_json::from_str(json)?;
/// assert_eq!(item.key, Key::from([0x00, 0xff]));
/// assert_eq!((item.key.as_str(), Key::from("color").as_str()), (None, Some("color")));
/// # anyhow::Ok(())
/// ```
///
/// `Display` shows text as it is, and escapes control characters and bytes that are not UTF-8:
///
/// ```
/// use kvclient::api::Key;
///
/// assert_eq!(Key::from("grün/a b").to_string(), "grün/a b");
/// assert_eq!(Key::from(b"job\x00\xff").to_string(), r"job\x00\xff");
/// assert_eq!(format!("{:?}", Key::from("a\"b")), r#""a\"b""#);
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Returns the key as text, or `None` if it is not valid UTF-8.
    ///
    /// ```
    /// use kvclient::api::Key;
    ///
    /// assert_eq!(Key::from("color").as_str(), Some("color"));
    /// assert_eq!(Key::from([0xff]).as_str(), None);
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the bytes of the key.
    ///
    /// ```
    /// assert_eq!(kvclient::api::Key::from("color").as_bytes(), b"color");
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes of the key without copying them.
    ///
    /// ```
    /// assert_eq!(kvclient::api::Key::from("color").into_bytes(), "color");
    /// ```
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the key that the query parameters `key` and `key_base64` name, given as their decoded values; `None` if
    /// both are absent.
    ///
    /// # Errors
    /// A sentence, if both are given, or the base64 is invalid.
    ///
    /// ```
    /// use kvclient::api::Key;
    ///
    /// assert_eq!(Key::of_query(Some("color"), None), Ok(Some(Key::from("color"))));
    /// assert_eq!(Key::of_query(None, Some("_w")), Ok(Some(Key::from([0xff]))));
    /// assert_eq!(Key::of_query(None, None), Ok(None));
    /// assert!(Key::of_query(Some("color"), Some("_w")).is_err());
    /// ```
    pub fn of_query(key: Option<&str>, key_base64: Option<&str>) -> Result<Option<Self>, String> {
        KEY.decode_query(key, key_base64).map(|key| key.map(Self::from))
    }

    /// Returns the query that names the key: `key=...`, or `key_base64=...`.
    ///
    /// ```
    /// use kvclient::api::Key;
    ///
    /// assert_eq!(Key::from("a b&c").to_query(), "key=a+b%26c");
    /// assert_eq!(Key::from([0xfb, 0xff]).to_query(), "key_base64=-_8");
    /// ```
    pub fn to_query(&self) -> String {
        let (name, content) = KEY.encode_for_query(&self.0);
        let mut query = format!("{name}=");
        query.extend(url::form_urlencoded::byte_serialize(content.as_bytes()));
        query
    }
}

/// Writes text as it is. Escapes control characters, bytes that are not UTF-8, and the characters that `is_quoted`
/// names.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>, is_quoted: impl Fn(char) -> bool) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
                _ if character.is_control() || is_quoted(character) => write!(f, "{}", character.escape_default())?,
                _ => f.write_char(character)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.0, f, |_| false)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        escape(&self.0, f, |character| matches!(character, '"' | '\\'))?;
        f.write_char('"')
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Key {
    fn from(bytes: [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Key {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        text.as_bytes().into()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl PartialEq<String> for Key {
    fn eq(&self, text: &String) -> bool {
        self.0 == text.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_bytewise() {
        let sorted = [&b""[..], b"\0", b"A", b"a", b"a\0", b"ab", "é".as_bytes(), b"\xff"].map(Key::from);
        assert!(sorted.is_sorted());
    }

    #[test]
    fn shown_to_people_a_key_has_no_control_characters() {
        for (bytes, displayed, debugged) in [
            (&b"color"[..], "color", r#""color""#),
            ("größe 1".as_bytes(), "größe 1", r#""größe 1""#),
            (b"\x00\x1b[0m\x7f", r"\x00\x1b[0m\x7f", r#""\x00\x1b[0m\x7f""#),
            ("\u{9b}".as_bytes(), r"\u{9b}", r#""\u{9b}""#),
            (b"a\xffb\xc3", r"a\xffb\xc3", r#""a\xffb\xc3""#),
            (br#"a\"b"#, r#"a\"b"#, r#""a\\\"b""#),
        ] {
            let key = Key::from(bytes);
            assert_eq!((key.to_string(), format!("{key:?}")), (displayed.to_owned(), debugged.to_owned()));
        }
    }
}
