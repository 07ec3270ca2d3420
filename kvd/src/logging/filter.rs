//! Filter of the log: `RUST_LOG`.

use std::ffi::OsString;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const DEFAULT: &str = "info";

/// Parses the value of `RUST_LOG`. An empty value counts as unset.
///
/// # Errors
/// A sentence that describes valid values.
pub(super) fn filter(set: Option<OsString>) -> Result<EnvFilter, String> {
    let set = set.unwrap_or_default().into_string().map_err(|set| wrong(&set.to_string_lossy(), "it is no text"))?;
    let directives = if set.is_empty() { DEFAULT } else { &set };
    // A single word is either a level for everything, or the name of a part whose every event is logged. An unknown
    // word names no part, and nothing at all would be logged.
    for word in directives.split(',').filter(|word| !word.is_empty() && !word.contains(['=', '['])) {
        if word.parse::<LevelFilter>().is_err() && word != "kvd" && !word.starts_with("kvd::") {
            return Err(wrong(&set, &format!("`{word}` is not a level")));
        }
    }
    EnvFilter::try_new(directives).map_err(|cause| wrong(&set, &cause.to_string()))
}

fn wrong(set: &str, why: &str) -> String {
    format!(
        "RUST_LOG={set}: {why}; give one of off, error, warn, info, debug and trace, for everything (RUST_LOG=debug) or for \
         a part as well (RUST_LOG=info,kvd::raft=debug)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_parts_are_taken_and_unknown_words_are_named() {
        for set in ["", "info", "WARN", "off", "kvd", "kvd::raft", "warn,kvd::raft=trace", "kvd=debug,hyper=off"] {
            assert!(filter(Some(set.into())).is_ok(), "{set}");
        }
        assert!(filter(None).is_ok());
        for (set, expected) in [
            ("verbose", "RUST_LOG=verbose: `verbose` is not a level; give one of off, error"),
            ("info,everything", "`everything` is not a level"),
            ("kvd=loud", "RUST_LOG=kvd=loud: "),
        ] {
            let error = filter(Some(set.into())).expect_err(set);
            assert!(error.contains(expected) && error.contains("RUST_LOG=info,kvd::raft=debug"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        assert!(filter(Some(OsString::from_vec(vec![0xff]))).expect_err("no text").contains("it is no text"));
    }
}
