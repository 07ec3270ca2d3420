//! A snapshot: see `testkit/src/fuzz/snapshot.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzz::snapshot::check(bytes));
