//! Requests, and replies as clients read them: see `testkit/src/fuzz/body.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzz::body::check(bytes));
