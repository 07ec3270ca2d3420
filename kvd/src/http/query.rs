//! Query strings, read strictly: a misspelt parameter is an error and never silently ignored.
//!
//! The encoding is that of HTML forms, which every HTTP client produces: `+` and `%20` are a space, `%2B` is a plus,
//! and the decoded bytes are UTF-8.

use super::error::ApiError;
use std::borrow::Cow;

/// Returns the values of the parameters `names` in `query`, `None` for each that is absent. `passed_over` is a
/// parameter of every path, which is read elsewhere.
///
/// # Errors
/// [`ApiError`] if a parameter is not among `names`, is given twice, has no value after a `=`, or is not
/// percent-encoded UTF-8.
pub(super) fn parse<'q, const N: usize>(
    query: &'q str,
    names: [&str; N],
    passed_over: &str,
) -> Result<[Option<Cow<'q, str>>; N], ApiError> {
    let mut values = [const { None }; N];
    for pair in pairs(query) {
        let (name, value) = pair?;
        if name == passed_over {
            continue;
        }
        let Some(at) = names.iter().position(|known| *known == name) else {
            return Err(ApiError::invalid(if names.is_empty() {
                format!("unknown query parameter `{name}`: this endpoint takes none")
            } else {
                format!("unknown query parameter `{name}` (allowed: {})", names.join(", "))
            }));
        };
        if values[at].replace(decode(value)?).is_some() {
            return Err(given_twice(&name));
        }
    }
    Ok(values)
}

/// Returns the value of the parameter `wanted`, whatever other parameters there are.
///
/// # Errors
/// [`ApiError`] if it is given twice, or if names and values are not percent-encoded UTF-8.
pub(super) fn find<'q>(query: &'q str, wanted: &str) -> Result<Option<Cow<'q, str>>, ApiError> {
    let mut found = None;
    for pair in pairs(query) {
        let (name, value) = pair?;
        if name == wanted && found.replace(decode(value)?).is_some() {
            return Err(given_twice(wanted));
        }
    }
    Ok(found)
}

/// Returns the decoded names, with their raw values.
fn pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, &str), ApiError>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, value))
    })
}

fn given_twice(name: &str) -> ApiError {
    ApiError::invalid(format!("query parameter `{name}` is given twice: give it once"))
}

/// Decodes one name or value from the form encoding.
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
    use kvclient::api::ErrorCode;

    fn key(query: &str) -> Result<Option<String>, ApiError> {
        parse(query, ["key", "raw"], "timeout_ms").map(|[key, _]| key.map(Cow::into_owned))
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
            ("timeout_ms=5&key=x&timeout_ms", Some("x")),
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
            ("key=%", "two hex digits"),
            ("key=%2", "two hex digits"),
            ("key=%zz", "two hex digits"),
            ("key=%+1", "two hex digits"),
            ("key=%ff", "UTF-8"),
        ] {
            let refusal = key(query).expect_err(query).into_body();
            assert_eq!(refusal.code, ErrorCode::InvalidRequest);
            assert!(refusal.message.contains(complaint), "{query}: {}", refusal.message);
        }
        assert!(parse("key=a", [], "timeout_ms").is_err());
    }

    #[test]
    fn one_parameter_is_found_among_others() {
        assert_eq!(find("a=1&b=%32&c", "b"), Ok(Some("2".into())));
        assert_eq!(find("a=1&ab=2", "b"), Ok(None));
        assert!(find("b=1&%62=1", "b").is_err(), "given twice");
    }
}
