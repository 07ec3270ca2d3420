//! Tests that need something this machine or this user does not have.

use std::io::Write as _;

/// With this variable in the environment, tests fail instead of being skipped.
const FORBID_SKIPS: &str = "TESTKIT_FORBID_SKIPS";

/// Reports why a test is skipped. Bypasses the capture of test output, so that the test is not mistaken for one that
/// passed.
pub fn skip(why: &str) {
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    assert!(std::env::var_os(FORBID_SKIPS).is_none(), "{test} would be skipped, and {FORBID_SKIPS} is set: {why}");
    writeln!(std::io::stderr(), "{test} is skipped: {why}").expect("standard error can be written");
}
