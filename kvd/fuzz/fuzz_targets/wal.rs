//! Files of a log: see `testkit/src/fuzz/wal.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzz::wal::check(bytes));
