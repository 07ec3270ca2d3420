//! What a node may be called, and where it may say that it is reached.
//!
//! Checked where a user gives it, and again where another node tells it: what a node says of itself is
//! dialled, logged and passed on to clients.

use url::{Host, Url};

/// Longest name of a node, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Longest URL of a node, in bytes: the names of hosts end at 253.
const URL_BYTES_MAX: usize = 512;

/// Checks the name of a node.
///
/// # Errors
/// What a name looks like, as the end of a sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err(format!("a node's name is 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes or underscores"));
    }
    Ok(())
}

/// Checks the URL of a node, and returns its origin: scheme, host and port, without a trailing slash.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn origin(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("{why}, such as http://10.0.0.1:8081");
    if text.len() > URL_BYTES_MAX {
        return Err(wrong(&format!("expected a URL of at most {URL_BYTES_MAX} bytes")));
    }
    let url = Url::parse(text).map_err(|cause| wrong(&format!("not a URL ({cause}); expected one")))?;
    if url.scheme() != "http" {
        return Err(wrong("only http:// is served"));
    }
    if url.port() == Some(0) {
        return Err(wrong("port 0 is none that could be dialled; name one"));
    }
    let unspecified = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_unspecified(),
        Some(Host::Domain(_)) | None => false,
    };
    if unspecified {
        return Err(wrong("this is every address of a machine and none that could be dialled; name one"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("expected a host and a port, without a path"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("expected a host and a port, without a user"));
    }
    Ok(url.origin().ascii_serialization())
}
