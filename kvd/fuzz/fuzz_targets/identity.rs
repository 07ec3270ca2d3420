//! The file `identity.json`: see `testkit/src/fuzz/identity.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzz::identity::check(bytes));
