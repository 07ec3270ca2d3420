//! Tests that this machine or this user does not allow.

use std::io::Write as _;

/// With this variable in the environment, whatever would be skipped fails.
const FORBID_SKIPS: &str = "TESTKIT_FORBID_SKIPS";

/// Says why a test shows nothing here. Past the capture of what tests print, so that nobody takes it for passed.
pub fn skip(why: &str) {
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    assert!(std::env::var_os(FORBID_SKIPS).is_none(), "{test} would be skipped, and {FORBID_SKIPS} is set: {why}");
    writeln!(std::io::stderr(), "{test} is skipped: {why}").expect("standard error can be written");
}
