//! Tests that this machine or this user does not allow.

use std::io::Write as _;

/// Says why a test shows nothing here. Past the capture of what tests print, so that nobody takes it for passed.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    writeln!(std::io::stderr(), "{test} is skipped: {why}").expect("standard error can be written");
}
