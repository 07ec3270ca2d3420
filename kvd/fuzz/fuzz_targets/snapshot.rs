//! A snapshot: see `kvd/tests/fuzz/snapshot.rs` for what must hold.
#![no_main]

#[path = "../../tests/fuzz/snapshot.rs"]
mod snapshot;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| snapshot::check(bytes));
