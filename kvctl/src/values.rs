//! The values of flags.
//!
//! Invalid values are refused here, before anything is sent, so that every typing mistake is a usage error (exit 2)
//! that names the flag.

use clap::builder::{OsStringValueParser, TypedValueParser};
use kvclient::{Client, ClientBuilder, Key, api};
use std::time::Duration;

/// The shortest `--timeout`.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Parses a key, which may be any bytes that a command line can have: neither empty nor longer than the cluster
/// accepts.
pub(crate) fn key() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().try_map(|text| {
        let key = Key::from(text.into_encoded_bytes());
        api::check_key(&key).map(|()| key)
    })
}

/// Parses a prefix of keys, which may be any bytes, or none.
pub(crate) fn prefix() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().map(|text| Key::from(text.into_encoded_bytes()))
}

/// Parses the name of a lock.
pub(crate) fn lock_name(text: &str) -> Result<String, String> {
    api::check_lock_name(text).map(|()| text.to_owned())
}

/// Parses an endpoint: a URL, or `host:port` for `http://host:port`.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim();
    let address = text.strip_prefix("http://").unwrap_or(text);
    // By the rules for URLs a number alone is a host as well, but nobody writes 0.0.39.97 as 10081.
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no host: add one, such as 127.0.0.1:{host}"));
    }
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !address.is_empty() && !text.contains("://") && !has_port {
        return Err(format!("`{text}` has no port: add it, such as {text}:8081"));
    }
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // The client decides which endpoints are valid. Checked here, its error names the flag.
    match Client::connect([&url]) {
        Ok(_) => Ok(url),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses the id of a cluster.
pub(crate) fn cluster_id(text: &str) -> Result<String, String> {
    let id = text.trim().to_ascii_lowercase();
    match api::parse_hex_id(&id) {
        Some(_) => Ok(id),
        None => Err("a cluster id is 16 hexadecimal digits; `kvctl status -o json | jq -r .cluster` shows it".into()),
    }
}

/// Parses a time with a unit, or in plain seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let time = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|cause| cause.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|cause| cause.to_string()),
    };
    time.map_err(|cause| format!("{cause}; use a time such as 5s, 500ms or 1m 30s"))
}

/// Parses the time of a lease.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = time(text)?;
    match u64::try_from(ttl.as_millis()).map(api::check_ttl_ms) {
        Ok(Ok(())) => Ok(ttl),
        Ok(Err(_)) | Err(_) => Err("it must be at least 500ms, and at most 9,000,000,000 seconds".into()),
    }
}

/// Parses a number of entries.
pub(crate) fn limit(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it must be a number from 1".into()),
        Ok(limit) => Ok(limit),
    }
}

/// Parses a time limit of an operation.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match time(text)? {
        limit if (TIMEOUT_MIN..=ClientBuilder::TOTAL_TIMEOUT_MAX).contains(&limit) => Ok(limit),
        _ => Err("it must be between 1ms and 30m".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvclient::api::KEY_BYTES_MAX;

    #[test]
    fn a_timeout_has_a_unit_or_is_in_seconds() {
        for (text, ms) in [
            ("5s", 5000),
            ("500ms", 500),
            ("5", 5000),
            ("0.25", 250),
            ("1.5s", 1500),
            ("1m 30s", 90_000),
            (" 2s ", 2000),
        ] {
            assert_eq!(timeout(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "soon", "5 parsecs", "0", "0s", "-1", "-1s", "NaN", "inf", "1e300", "31m", "1us"] {
            assert!(timeout(text).is_err(), "{text:?} was accepted as {:?}", timeout(text));
        }
    }

    #[test]
    fn a_lease_lasts_half_a_second_at_least() {
        assert_eq!(ttl("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(ttl("0.5"), Ok(Duration::from_millis(500)));
        for text in ["499ms", "0", "9000000001", "1e300", "soon"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_id_of_a_cluster_has_16_digits() {
        assert_eq!(cluster_id(" 5D0C8F4DE9D1F4A2 ").as_deref(), Ok("5d0c8f4de9d1f4a2"));
        for text in ["", "5d0c", "5d0c8f4de9d1f4a2a", "5d0c8f4de9d1f4ag"] {
            assert!(cluster_id(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn an_endpoint_may_leave_out_its_scheme() {
        for (text, url) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("localhost:8081", "http://localhost:8081"),
            (" [::1]:8081 ", "http://[::1]:8081"),
            ("http://db.example:80", "http://db.example:80"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(url), "{text}");
        }
        for text in ["", "http://", "ftp://127.0.0.1", "127.0.0.1:99999", "a b", "a b:1"] {
            assert!(endpoint(text).is_err(), "{text:?} was accepted as {:?}", endpoint(text));
        }
        for (text, hint) in [
            ("10081", "127.0.0.1:10081"),
            ("http://10081", "127.0.0.1:10081"),
            ("10081:8081", "no host"),
            ("localhost", "localhost:8081"),
            ("[::1]", "[::1]:8081"),
        ] {
            let error = endpoint(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_is_any_bytes_neither_empty_nor_too_long() {
        let parse = |text: &str| key().parse_ref(&clap::Command::new("kvctl"), None, text.as_ref());
        assert_eq!(parse("k").expect("a key"), "k");
        assert!(parse("").is_err());
        assert!(parse(&"k".repeat(KEY_BYTES_MAX)).is_ok());
        assert!(parse(&"k".repeat(KEY_BYTES_MAX + 1)).is_err());
        assert_eq!(prefix().parse_ref(&clap::Command::new("kvctl"), None, "".as_ref()).expect("a prefix"), "");
    }
}
