//! Stores of many keys.

use kvclient::{Client, Txn};
use std::thread;

/// Threads that fill a store.
const FILLERS: usize = 8;

/// Keys of one transaction.
const KEYS_OF_TXN: usize = 500;

/// Writes keys with values of this size, many at once.
pub(crate) fn fill(client: &Client, keys: usize, key: impl Fn(usize) -> String + Sync, value_bytes: usize) {
    let value = "v".repeat(value_bytes);
    let parts: Vec<_> = (0..keys).step_by(KEYS_OF_TXN).map(|from| from..(from + KEYS_OF_TXN).min(keys)).collect();
    let (key, value, parts) = (&key, &value, &parts);
    thread::scope(|scope| {
        for filler in 0..FILLERS {
            scope.spawn(move || {
                for part in parts.iter().skip(filler).step_by(FILLERS) {
                    let mut txn = Txn::new();
                    part.clone().for_each(|number| drop(txn.then().set(key(number), value.as_str())));
                    client.commit(txn).expect("a majority is there");
                }
            });
        }
    });
}
