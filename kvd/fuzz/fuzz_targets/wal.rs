//! Files of a log: see `kvd/tests/fuzz/wal.rs` for what must hold.
#![no_main]

#[path = "../../tests/fuzz/wal.rs"]
mod wal;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal::check(bytes));
