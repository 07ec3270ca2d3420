//! URLs of nodes: one rule for flags, requests and endpoints.

use url::Url;

/// Maximum length of a node's URL, in bytes: host names have at most 253.
const BYTES_MAX: usize = 512;

/// Checks the URL of a node, and returns it in canonical form: scheme, host and port, without a trailing slash.
///
/// # Errors
/// The reason, as the end of a sentence.
///
/// ```
/// use kvclient::api::node_url;
///
/// assert_eq!(node_url("HTTP://LocalHost:8081/").unwrap(), "http://localhost:8081");
/// assert_eq!(node_url("localhost:8081").unwrap_err(), "not a URL: write http://localhost:8081");
/// ```
pub fn node_url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{why}, such as http://10.0.0.1:8081"));
    if text.len() > BYTES_MAX {
        return wrong(&format!("expected a URL of at most {BYTES_MAX} bytes"));
    }
    // Formally `localhost:8081` is a URL with the scheme `localhost`.
    if !text.is_empty() && !text.contains("://") {
        return Err(format!("not a URL: write http://{text}"));
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(cause) => return wrong(&format!("not a URL ({cause}); expected one")),
    };
    if url.scheme() != "http" {
        return wrong("only http:// is served");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("expected a host and a port, without a user");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return wrong("expected a host and a port, without a path");
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_one_spelling() {
        for (text, spelling) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("HTTP://LocalHost:80", "http://localhost"),
            ("http://[::1]:8081", "http://[::1]:8081"),
        ] {
            assert_eq!(node_url(text).unwrap(), spelling);
        }
    }

    #[test]
    fn what_is_no_url_of_a_node_is_refused_with_a_hint() {
        let long = format!("http://{}:1", "a".repeat(BYTES_MAX));
        for (text, hint) in [
            ("", "not a URL"),
            ("127.0.0.1:8081", "write http://127.0.0.1:8081"),
            ("localhost:8081", "write http://localhost:8081"),
            ("node1", "write http://node1"),
            ("https://a:1", "only http://"),
            ("ftp://a:1", "only http://"),
            ("http://", "not a URL"),
            ("http://a:99999", "not a URL"),
            ("http://u:p@a:1", "without a user"),
            ("http://a:1/get", "without a path"),
            ("http://a:1?key=k", "without a path"),
            (&long, "at most 512 bytes"),
        ] {
            let error = node_url(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
