//! Refuses requests that two readers could understand differently, or whose body would be stored in an encoded form
//! that the client did not intend.
//!
//! A request without a `Host`, or with two, is answered by 400 (RFC 9112 §3.2): a proxy in front may have read a
//! different request than the server behind it. A compressed body would be stored compressed, and read back by clients
//! that do not know about it. So a body with a `Content-Encoding` other than none is refused by 415, and a
//! `Transfer-Encoding` other than chunked by 400.

use super::error::ApiError;
use warp::http::header::{CONTENT_ENCODING, HOST, TRANSFER_ENCODING};
use warp::http::uri::Authority;
use warp::http::{HeaderMap, Version};

/// Checks the headers that determine how a request is read.
///
/// # Errors
/// [`ApiError`] for a request that must not be answered.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    check_host(version, headers)?;
    for coding in headers.get_all(TRANSFER_ENCODING) {
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(ApiError::invalid("only `Transfer-Encoding: chunked` is supported: send the body as it is"));
        }
    }
    for encoding in headers.get_all(CONTENT_ENCODING) {
        let is_none = |name: &[u8]| name.trim_ascii().is_empty() || name.trim_ascii().eq_ignore_ascii_case(b"identity");
        if !encoding.as_bytes().split(|byte| *byte == b',').all(is_none) {
            return Err(ApiError::unsupported_encoding(&String::from_utf8_lossy(encoding.as_bytes())));
        }
    }
    Ok(())
}

fn check_host(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(ApiError::invalid("there is more than one `Host` header: send one")),
        (Some(host), None) if host.is_empty() || Authority::try_from(host.as_bytes()).is_ok() => Ok(()),
        (Some(_), None) => Err(ApiError::invalid("the `Host` header is not a host with an optional port")),
        (None, _) if version == Version::HTTP_11 => Err(ApiError::invalid(
            "the `Host` header is missing: HTTP/1.1 requires one, such as `Host: 127.0.0.1:8081`",
        )),
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::header::HeaderName;
    use warp::http::{HeaderValue, StatusCode};
    use warp::reply::Reply as _;

    fn status(version: Version, headers: &[(&'static str, &'static str)]) -> StatusCode {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        check(version, &map).map_or_else(|error| error.into_response().status(), |()| StatusCode::OK)
    }

    #[test]
    fn a_request_has_one_host() {
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        for (version, hosts, expected) in [
            (new, &["localhost"][..], 200),
            (new, &["[::1]:8081"], 200),
            (new, &["node_1.example:8081"], 200),
            (new, &[""], 200),
            (new, &[], 400),
            (old, &[], 200),
            (new, &["localhost", "localhost"], 400),
            (old, &["localhost", "evil.example"], 400),
            (new, &["a b"], 400),
            (new, &["a/b"], 400),
            (new, &["http://a"], 400),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(status(version, &headers), expected, "{version:?} {hosts:?}");
        }
    }

    #[test]
    fn a_body_is_taken_as_it_is_or_not_at_all() {
        for (name, values, expected) in [
            ("content-encoding", &["gzip"][..], 415),
            ("content-encoding", &["br"], 415),
            ("content-encoding", &["identity, gzip"], 415),
            ("content-encoding", &["identity", "deflate"], 415),
            ("content-encoding", &[], 200),
            ("content-encoding", &["Identity"], 200),
            ("content-encoding", &[""], 200),
            ("transfer-encoding", &["Chunked"], 200),
            ("transfer-encoding", &["gzip, chunked"], 400),
            ("transfer-encoding", &["gzip", "chunked"], 400),
        ] {
            let mut headers = vec![("host", "localhost")];
            headers.extend(values.iter().map(|value| (name, *value)));
            assert_eq!(status(Version::HTTP_11, &headers), expected, "{name} {values:?}");
        }
    }
}
