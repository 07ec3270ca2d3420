//! Query strings, read strictly: a misspelt parameter is an error and never silently ignored.
//!
//! The encoding is that of HTML forms, which every HTTP client writes: `+` and `%20` are a space, `%2B`
//! is a plus, and what is encoded is UTF-8.

use super::error::ApiError;
use std::borrow::Cow;

/// The values of the parameters `names` in `query`, each `None` where it is not given.
///
/// # Errors
/// [`ApiError::InvalidRequest`] where a parameter is not among `names`, is given twice, has no value
/// after a `=`, or is not percent-encoded UTF-8.
pub(super) fn parse<'q, const N: usize>(
    query: &'q str,
    names: [&str; N],
) -> Result<[Option<Cow<'q, str>>; N], ApiError> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        let Some(at) = names.iter().position(|known| *known == name) else {
            return Err(ApiError::invalid(if names.is_empty() {
                format!("unknown query parameter `{name}`: this path takes none")
            } else {
                format!("unknown query parameter `{name}`: this path takes {}", names.join(", "))
            }));
        };
        if values[at].replace(decode(value)?).is_some() {
            return Err(ApiError::invalid(format!("query parameter `{name}` is given twice: give it once")));
        }
    }
    Ok(values)
}

/// Undoes the form encoding of one name or value.
fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
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
                    return Err(ApiError::invalid(
                        "a % in a query must be followed by two hex digits: write %25 for a %",
                    ));
                };
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| ApiError::invalid("query parameters must be percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(query: &str) -> Result<Option<String>, ApiError> {
        parse(query, ["key", "raw"]).map(|[key, _]| key.map(Cow::into_owned))
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
            ("kye=color", "unknown query parameter `kye`: this path takes key, raw"),
            ("key=a&key=a", "given twice"),
            ("key=%", "two hex digits"),
            ("key=%2", "two hex digits"),
            ("key=%zz", "two hex digits"),
            ("key=%+1", "two hex digits"),
            ("key=%ff", "UTF-8"),
        ] {
            let Err(ApiError::InvalidRequest(sentence)) = key(query) else { panic!("{query} was accepted") };
            assert!(sentence.contains(complaint), "{query}: {sentence}");
        }
        assert!(parse("key=a", []).is_err());
    }
}
