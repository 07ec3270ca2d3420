//! Requests, and replies as clients read them: see `kvd/tests/fuzz/body.rs` for what must hold.
#![no_main]

#[path = "../../tests/fuzz/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::check(bytes));
