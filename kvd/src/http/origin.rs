//! Keeps web pages out: a page that someone visits must not reach the daemon on their machine.
//!
//! Browsers mark the requests of a page. `Origin` names the page's own host; it comes with every POST, with WebSockets,
//! and with reads across origins. `Sec-Fetch-Site` tells the relation between page and target, even where there is no
//! `Origin` (images, scripts, links). A page passes only if its origin is the very host and port that it requests.
//!
//! That alone would let DNS rebinding through, in which the name of an attacker's host is made to point to this
//! machine: page and request then agree, and a read carries neither header. So a browser's request must also name a
//! host that an attacker cannot own: an IP address, `localhost` or a name under it, a name without a dot (as in compose
//! files and clusters), or the host of a member's URL. Only browsers are refused for other names: curl and the clients
//! reach a node by any name that leads to it.
//!
//! A browser is recognized by `Origin`, `Sec-Fetch-Site`, `Accept-Language` or a `User-Agent` of Mozilla. A page can
//! alter the last two in some browsers; a browser that lets it leave out all of them would pass. This guards against
//! pages, not against programs: a program that reaches the port can always send requests, and one that looks like a
//! browser must use one of the names above.

use super::error::ApiError;
use kvclient::api::Member;
use std::net::{Ipv4Addr, Ipv6Addr};
use warp::http::HeaderMap;
use warp::http::header::{ACCEPT_LANGUAGE, HOST, HeaderName, ORIGIN, USER_AGENT};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request of a page of another origin. `members` is called only if a browser requests a name that is not
/// local.
///
/// # Errors
/// [`ApiError`], with its own code for a browser that requests an unknown name.
pub(super) fn check<M: AsRef<[Member]>>(headers: &HeaderMap, members: impl FnOnce() -> M) -> Result<(), ApiError> {
    let foreign_site = |site: &[u8]| site != b"same-origin" && site != b"none";
    if headers.get_all(&SEC_FETCH_SITE).iter().any(|site| foreign_site(site.as_bytes())) {
        return Err(ApiError::forbidden_origin());
    }
    if !is_browser(headers) {
        return Ok(());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let asked = match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) => host,
        _ => return Err(ApiError::forbidden_host()),
    };
    let same = |origin: &str| authority(origin).is_some_and(|page| page.eq_ignore_ascii_case(asked));
    if !headers.get_all(ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(same)) {
        return Err(ApiError::forbidden_origin());
    }
    if is_local(asked) || is_member(asked, members().as_ref()) { Ok(()) } else { Err(ApiError::forbidden_host()) }
}

/// Returns whether a browser may have sent the request, whatever page made it do so.
fn is_browser(headers: &HeaderMap) -> bool {
    [&ORIGIN, &SEC_FETCH_SITE, &ACCEPT_LANGUAGE].into_iter().any(|mark| headers.contains_key(mark))
        || headers.get_all(USER_AGENT).iter().any(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
}

/// Returns whether no foreign DNS server decides where the host is.
fn is_local(authority: &str) -> bool {
    let host = host(authority);
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let name = host.to_ascii_lowercase();
    let has_no_dot = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    has_no_dot
        || name.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok()
        || ipv6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// Returns whether the host is in the URL of a member. The port may differ: there may be a proxy in front of the
/// member.
fn is_member(asked: &str, members: &[Member]) -> bool {
    members
        .iter()
        .flat_map(|member| [&member.client_url, &member.peer_url])
        .filter_map(|url| authority(url))
        .any(|authority| host(authority).eq_ignore_ascii_case(host(asked)))
}

/// Returns `host:port` of an HTTP URL; `None` for anything else, such as the origin `null`.
fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

/// Returns the host of `host:port`, with brackets around an IPv6 address.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::HeaderValue;

    fn passes(headers: &[(&'static str, &'static str)]) -> bool {
        let member = |client_url: &str, peer_url: &str| Member {
            id: "node1".into(),
            client_url: client_url.into(),
            peer_url: peer_url.into(),
            voter: true,
            goal: None,
            node: String::new(),
        };
        let members = [member("http://kv.example.com:8081", "http://kv.internal:9081")];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        check(&map, || members).is_ok()
    }

    #[test]
    fn a_page_passes_only_where_its_origin_is_the_host_it_asks_and_the_host_is_ours() {
        for (origin, host, expected) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081", true),
            ("http://localhost:8081", "localhost:8081", true),
            ("http://LocalHost:8081", "localhost:8081", true),
            ("http://[::1]:8081", "[::1]:8081", true),
            ("http://localhost", "localhost", true),
            ("http://kv.example.com:8081", "kv.example.com:8081", true),
            ("https://kv.example.com", "kv.example.com", true),
            ("http://kv.internal:9081", "kv.internal:9081", true),
            // Another site, another port, or no site at all.
            ("http://evil.example", "127.0.0.1:8081", false),
            ("http://127.0.0.1:3000", "127.0.0.1:8081", false),
            ("http://localhost:8081", "127.0.0.1:8081", false),
            ("null", "127.0.0.1:8081", false),
            ("", "127.0.0.1:8081", false),
            ("http://", "", false),
            ("file://", "localhost", false),
            ("chrome-extension://abcdef", "abcdef", false),
            // DNS rebinding: page and request agree on a name that is not a member's.
            ("http://evil.example:8081", "evil.example:8081", false),
            ("http://127.0.0.1.evil.example:8081", "127.0.0.1.evil.example:8081", false),
            ("http://localhost.evil.example", "localhost.evil.example", false),
            ("http://[evil]:8081", "[evil]:8081", false),
        ] {
            assert_eq!(passes(&[("origin", origin), ("host", host)]), expected, "{origin} asks {host}");
        }
    }

    #[test]
    fn without_an_origin_the_fetch_site_decides() {
        assert!(passes(&[("host", "anything.example")]), "curl");
        assert!(passes(&[("host", "anything.example"), ("user-agent", "curl/8.5.0")]));
        assert!(passes(&[]));
        for (site, expected) in
            [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false), ("new-kind", false)]
        {
            assert_eq!(passes(&[("host", "localhost:8081"), ("sec-fetch-site", site)]), expected, "{site}");
        }
    }

    #[test]
    fn a_second_header_cannot_hide_a_first() {
        let ours = ("origin", "http://localhost:8081");
        let host = ("host", "localhost:8081");
        assert!(passes(&[host, ours, ours]));
        assert!(!passes(&[host, ours, ("origin", "http://evil.example")]));
        assert!(!passes(&[host, ("origin", "http://evil.example"), ours]));
        assert!(!passes(&[host, ours, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
        assert!(!passes(&[ours]), "without a Host header");
    }

    #[test]
    fn a_browser_reaches_a_node_only_by_a_name_that_no_attacker_can_own() {
        let marks = [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            ("accept-language", "en-US,en;q=0.5"),
            ("sec-fetch-site", "same-origin"),
        ];
        for (host, expected) in [
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("localhost:8081", true),
            ("kv.localhost:8081", true),
            ("node1:8081", true),
            ("node_1", true),
            ("kv.example.com:8081", true),
            ("kv.internal", true),
            ("evil.example:8081", false),
            ("localhost.evil.example", false),
            ("evil.example.", false),
            ("[evil]:8081", false),
            ("", false),
        ] {
            for mark in marks {
                assert_eq!(passes(&[("host", host), mark]), expected, "{mark:?} asks {host}");
            }
            assert!(passes(&[("host", host)]), "a program asks {host}");
        }
        assert!(!passes(&[marks[0]]), "without a Host header");
        assert!(!passes(&[("host", "node1"), ("host", "evil.example"), marks[0]]));
    }
}
