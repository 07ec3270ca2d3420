//! The file `identity.json`: see `kvd/tests/fuzz/identity.rs` for what must hold.
#![no_main]

#[path = "../../tests/fuzz/identity.rs"]
mod identity;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| identity::check(bytes));
