//! Valid names and URLs of nodes.
//!
//! Checked when a user sets them, and again when another node reports them: names and URLs from a node are dialled,
//! logged and passed on to clients.

use kvclient::api::node_url;
use url::{Host, Url};

/// Longest name of a node, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Checks the name of a node.
///
/// # Errors
/// A description of a valid name, as the end of a sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err(format!("a node's name is 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes or underscores"));
    }
    Ok(())
}

/// Checks the URL of a node, which other nodes have to be able to dial. Returns its origin: scheme, host and port,
/// without a trailing slash.
///
/// # Errors
/// The problem with the URL, as the end of a sentence.
pub fn origin(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{why}, such as http://10.0.0.1:8081"));
    let origin = node_url(text)?;
    let url = Url::parse(&origin).map_err(|cause| cause.to_string())?;
    if url.port() == Some(0) {
        return wrong("port 0 is not a port that others can connect to: give the port that the node listens on");
    }
    let unspecified = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_unspecified(),
        Some(Host::Domain(_)) | None => false,
    };
    if unspecified {
        return wrong("this stands for all addresses of a machine: give one that others can connect to");
    }
    Ok(origin)
}
