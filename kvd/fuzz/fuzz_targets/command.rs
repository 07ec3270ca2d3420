//! The command in an entry: see `testkit/src/fuzz/command.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzz::command::check(bytes));
