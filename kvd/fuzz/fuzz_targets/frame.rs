//! What a peer sends: see `kvd/tests/fuzz/frame.rs` for what must hold.
#![no_main]

#[path = "../../tests/fuzz/frame.rs"]
mod frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frame::check(bytes));
