//! The URL of a node, checked once and kept in canonical form.

use crate::api::node_url;
use crate::error::Error;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// The base URL of a node, `http://host:port`, in canonical form and without a trailing slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint(Arc<str>);

impl Endpoint {
    /// Checks a URL from the user or from a node. The error says what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        node_url(text).map(|url| Self(url.into())).map_err(|why| format!("endpoint `{text}`: {why}"))
    }

    /// Like [`Endpoint::parse`], for a URL from the user of the client.
    ///
    /// # Errors
    /// [`Error::Configuration`].
    pub(crate) fn of_user(text: &str) -> Result<Self, Error> {
        Self::parse(text).map_err(|message| Error::Configuration { message })
    }

    /// Returns the node that a `Location` header points to, whatever the path.
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
    fn an_endpoint_is_told_from_what_is_none() {
        let parsed = |text| Endpoint::parse(text).map(|endpoint| endpoint.to_string());
        assert_eq!(parsed("HTTP://LocalHost:80/").as_deref(), Ok("http://localhost"));
        assert_eq!(parsed("a:1").unwrap_err(), "endpoint `a:1`: not a URL: write http://a:1");
    }

    #[test]
    fn a_location_is_a_node_whatever_its_path() {
        assert_eq!(Endpoint::of_location("http://a:1/get?key=k#x"), Some(Endpoint::parse("http://a:1").unwrap()));
        assert_eq!(Endpoint::of_location("/get?key=k"), None);
    }
}
