//! Data from a peer: see `testkit/src/fuzz/frame.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzz::frame::check(bytes));
