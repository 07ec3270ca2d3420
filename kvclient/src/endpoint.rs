//! The URL of a node, checked once and written in one way.

use crate::error::Error;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// The base URL of a node, `http://host:port`, in one spelling and without a trailing slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint(Arc<str>);

impl Endpoint {
    /// Checks a URL given by the user or by a node; the error says what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|cause| {
            if text.contains("://") {
                format!("endpoint `{text}` is no URL: {cause}")
            } else {
                format!("endpoint `{text}` is no URL: write http://{text}")
            }
        })?;
        match url.scheme() {
            "http" => {}
            "https" => return Err(format!("endpoint `{text}`: TLS is not supported, use http://")),
            _ if !text.contains("://") => return Err(format!("endpoint `{text}` is no URL: write http://{text}")),
            scheme => return Err(format!("endpoint `{text}`: unknown scheme `{scheme}`, use http://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("endpoint `{text}` must not carry a user name or password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("endpoint `{text}` must be a node's address alone, such as http://127.0.0.1:8081"));
        }
        Ok(Self(url.as_str().trim_end_matches('/').into()))
    }

    /// As [`Endpoint::parse`], of a URL that the user of the client gave.
    ///
    /// # Errors
    /// [`Error::Configuration`].
    pub(crate) fn of_user(text: &str) -> Result<Self, Error> {
        Self::parse(text).map_err(|message| Error::Configuration { message })
    }

    /// The node that a `Location` header points to, whatever the path.
    pub(crate) fn of_location(location: &str) -> Option<Self> {
        let mut url = Url::parse(location).ok()?;
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        Self::parse(url.as_str()).ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_one_spelling() {
        for (text, spelling) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("HTTP://LocalHost:80", "http://localhost"),
            ("http://[::1]:8081", "http://[::1]:8081"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), spelling);
        }
        assert_eq!(Endpoint::of_location("http://a:1/get?key=k#x"), Some(Endpoint::parse("http://a:1").unwrap()));
        assert_eq!(Endpoint::of_location("/get?key=k"), None);
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "is no URL"),
            ("127.0.0.1:8081", "write http://127.0.0.1:8081"),
            ("localhost:8081", "write http://localhost:8081"),
            ("node1", "write http://node1"),
            ("https://a:1", "TLS is not supported"),
            ("ftp://a:1", "unknown scheme `ftp`"),
            ("http://", "is no URL"),
            ("http://a:99999", "is no URL"),
            ("http://u:p@a:1", "password"),
            ("http://a:1/get", "address alone"),
            ("http://a:1?key=k", "address alone"),
        ] {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
