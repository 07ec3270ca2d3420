//! Query strings, read strictly: a misspelt parameter is an error and never silently ignored.
//!
//! The encoding is that of HTML forms, which every HTTP client produces: `+` and `%20` are a space, `%2B` is a plus,
//! and the decoded bytes are UTF-8.

use super::byte_field::ByteField;
use super::key::Key;
use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::str::FromStr;
use url::form_urlencoded::byte_serialize;

/// Room for the names that most paths ask for.
const KNOWN_ROOM: usize = 24;

/// The parameters of a query. Each reader takes the parameters that it knows; one that nobody has taken is an error.
///
/// ```
/// use kvclient::api::Query;
///
/// let mut query = Query::parse("key=a%20b&raw=true")?;
/// assert_eq!(query.take("key")?.as_deref(), Some("a b"));
/// assert!(query.take_flag("raw")?);
/// query.finish()?;
///
/// let mut misspelt = Query::parse("kye=a")?;
/// assert_eq!(misspelt.take("key")?, None);
/// assert_eq!(misspelt.finish(), Err("unknown query parameter `kye` (allowed: key)".to_owned()));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct Query<'q> {
    /// Names and values, decoded.
    pairs: Vec<(Cow<'q, str>, Cow<'q, str>)>,
    /// Names that were asked for.
    known: Vec<&'static str>,
}

impl<'q> Query<'q> {
    /// Splits and decodes a query, without the `?` before it.
    ///
    /// # Errors
    /// A sentence, if it is not percent-encoded UTF-8.
    ///
    /// ```
    /// use kvclient::api::Query;
    ///
    /// assert!(Query::parse("key=a+b").is_ok());
    /// assert!(Query::parse("key=%ff").is_err());
    /// ```
    pub fn parse(query: &'q str) -> Result<Self, String> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_form(name)?, decode_form(value)?))
        });
        Ok(Self { pairs: pairs.collect::<Result<_, String>>()?, known: Vec::with_capacity(KNOWN_ROOM) })
    }

    /// Takes all values of a parameter that may be repeated.
    ///
    /// ```
    /// let mut query = kvclient::api::Query::parse("key=a&key=b")?;
    /// assert_eq!(query.take_all("key"), ["a", "b"]);
    /// # Ok::<(), String>(())
    /// ```
    pub fn take_all(&mut self, name: &'static str) -> Vec<Cow<'q, str>> {
        self.known.push(name);
        self.pairs.extract_if(.., |(known, _)| known == name).map(|(_, value)| value).collect()
    }

    /// Takes the value of a parameter.
    ///
    /// # Errors
    /// A sentence, if it is given twice.
    ///
    /// ```
    /// let mut query = kvclient::api::Query::parse("key=a&key=b")?;
    /// assert!(query.take("key").is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(&mut self, name: &'static str) -> Result<Option<Cow<'q, str>>, String> {
        self.known.push(name);
        let mut places = (0..self.pairs.len()).filter(|place| self.pairs[*place].0 == name);
        match (places.next(), places.next()) {
            (None, _) => Ok(None),
            (Some(place), None) => Ok(Some(self.pairs.remove(place).1)),
            (Some(_), Some(_)) => Err(format!("query parameter `{name}` is given twice: give it once")),
        }
    }

    /// Takes a parameter that is `true` or `false`, false if it is absent.
    ///
    /// # Errors
    /// A sentence, if it is neither, or given twice.
    ///
    /// ```
    /// let mut query = kvclient::api::Query::parse("raw=maybe")?;
    /// assert_eq!(query.take_flag("raw"), Err("`raw` must be true or false".to_owned()));
    /// # Ok::<(), String>(())
    /// ```
    pub fn take_flag(&mut self, name: &'static str) -> Result<bool, String> {
        Ok(self.take_as(name, "true or false")?.unwrap_or(false))
    }

    /// Takes a parameter of type `T`. `what` describes its valid values in a refusal.
    ///
    /// # Errors
    /// A sentence, if it is something else, or given twice.
    ///
    /// ```
    /// let mut query = kvclient::api::Query::parse("limit=-1")?;
    /// assert_eq!(query.take_as::<u64>("limit", "a number"), Err("`limit` must be a number".to_owned()));
    /// # Ok::<(), String>(())
    /// ```
    pub fn take_as<T: FromStr>(&mut self, name: &'static str, what: &str) -> Result<Option<T>, String> {
        let value = self.take(name)?.map(|text| text.parse());
        value.transpose().map_err(|_| format!("`{name}` must be {what}"))
    }

    /// Takes the key that `key` or `key_base64` names.
    ///
    /// # Errors
    /// A sentence, if both are given, one is given twice, or the base64 is invalid.
    ///
    /// ```
    /// use kvclient::api::{Key, Query};
    ///
    /// assert_eq!(Query::parse("key_base64=_w")?.take_key()?, Some(Key::from([0xff])));
    /// # Ok::<(), String>(())
    /// ```
    pub fn take_key(&mut self) -> Result<Option<Key>, String> {
        self.take_bytes(super::byte_field::KEY)
    }

    /// Takes the byte string that one of two parameters carries.
    pub(super) fn take_bytes(&mut self, field: ByteField) -> Result<Option<Key>, String> {
        let (text, base64) = (self.take(field.text)?, self.take(field.base64)?);
        Ok(field.decode_query(text.as_deref(), base64.as_deref())?.map(Key::from))
    }

    /// Takes all byte strings that two parameters carry, which may be repeated: text before base64.
    pub(super) fn take_all_bytes(&mut self, field: ByteField) -> Result<Vec<Key>, String> {
        let text = self.take_all(field.text).into_iter().map(|text| Ok(text.as_ref().into()));
        let mut taken = text.collect::<Result<Vec<Key>, String>>()?;
        for base64 in self.take_all(field.base64) {
            taken.extend(field.decode_query(None, Some(&base64))?.map(Key::from));
        }
        Ok(taken)
    }

    /// Checks that no parameter is left.
    ///
    /// # Errors
    /// A sentence that names the first parameter that nobody took, and those that are allowed.
    ///
    /// ```
    /// assert!(kvclient::api::Query::parse("")?.finish().is_ok());
    /// # Ok::<(), String>(())
    /// ```
    pub fn finish(self) -> Result<(), String> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        Err(if self.known.is_empty() {
            format!("unknown query parameter `{name}`: this endpoint takes none")
        } else {
            format!("unknown query parameter `{name}` (allowed: {})", self.known.join(", "))
        })
    }
}

/// Decodes one name or value of a query from the form encoding.
///
/// # Errors
/// A sentence, if it is not percent-encoded UTF-8.
///
/// ```
/// use kvclient::api::decode_form;
///
/// assert_eq!(decode_form("a+b%2Bc").as_deref(), Ok("a b+c"));
/// assert!(decode_form("100%").is_err());
/// ```
pub fn decode_form(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err("a % in a query must be followed by two hex digits: write %25 for a %".into());
                };
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(decoded);
    text.map(Cow::Owned).map_err(|_| "query parameters must be percent-encoded UTF-8".into())
}

/// Writes a query, one parameter after the other.
#[derive(Debug, Default)]
pub(super) struct QueryText(String);

impl QueryText {
    /// Adds a parameter.
    pub(super) fn add(&mut self, name: &str, value: impl Display) {
        let separator = if self.0.is_empty() { "" } else { "&" };
        let value = value.to_string();
        // Writing to a string does not fail.
        let _ = write!(self.0, "{separator}{name}=");
        self.0.extend(byte_serialize(value.as_bytes()));
    }

    /// Adds a parameter, if there is a value for it.
    pub(super) fn add_some(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Adds `name=true` if `value` is true.
    pub(super) fn add_flag(&mut self, name: &str, value: bool) {
        self.add_some(name, value.then_some(true));
    }

    /// Adds a byte string.
    pub(super) fn add_bytes(&mut self, field: ByteField, bytes: &Key) {
        let (name, content) = field.encode_for_query(bytes.as_bytes());
        self.add(name, content);
    }

    /// Returns the query.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(query: &str) -> Result<Option<String>, String> {
        let mut query = Query::parse(query)?;
        let key = query.take("key")?.map(Cow::into_owned);
        query.take("raw")?;
        query.finish().map(|()| key)
    }

    #[test]
    fn values_come_decoded() {
        for (query, expected) in [
            ("", None),
            ("&&", None),
            ("raw=true", None),
            ("key=color", Some("color")),
            ("raw=true&key=color&", Some("color")),
            ("key", Some("")),
            ("key=", Some("")),
            ("key=a%20b+c%2Bd", Some("a b c+d")),
            ("key=a=b", Some("a=b")),
            ("key=a%26b%3Dc%25", Some("a&b=c%")),
            ("key=gr%C3%B6%c3%9fe", Some("größe")),
            ("key=größe", Some("größe")),
            ("k%65y=x", Some("x")),
            ("key=%00", Some("\0")),
        ] {
            assert_eq!(key(query), Ok(expected.map(str::to_owned)), "{query}");
        }
    }

    #[test]
    fn what_is_misspelt_or_malformed_is_refused() {
        for (query, complaint) in [
            ("kye=color", "unknown query parameter `kye` (allowed: key, raw)"),
            ("key=a&key=a", "given twice"),
            ("key=a&k%65y=a", "given twice"),
            ("key=%", "two hex digits"),
            ("key=%2", "two hex digits"),
            ("key=%zz", "two hex digits"),
            ("key=%+1", "two hex digits"),
            ("key=%ff", "UTF-8"),
        ] {
            let refusal = key(query).expect_err(query);
            assert!(refusal.contains(complaint), "{query}: {refusal}");
        }
    }
}
