//! The command in an entry: see `kvd/tests/fuzz/command.rs` for what must hold.
#![no_main]

#[path = "../../tests/fuzz/command.rs"]
mod command;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| command::check(bytes));
