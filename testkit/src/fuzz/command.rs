//! Any bytes as the command in an entry: every node applies the commands that a peer replicates.

use bytes::Bytes;
use kvd::kv::{Command, DecodeError, Operation, Put, Store};

/// Checks any bytes.
pub fn check(bytes: &[u8]) {
    let encoded = Bytes::copy_from_slice(bytes);
    match Command::decode(&encoded) {
        Ok(command) => {
            assert_eq!(command.encode(), encoded, "a command has one encoding");
            let key = command.operation.key().filter(|key| !key.is_empty());
            let shared = key.is_none_or(|key| encoded.as_ptr_range().contains(&key.as_ptr()));
            assert!(shared, "a key is not copied, so nothing is taken for a length that lies");
            // A peer may have replicated any command, and it is not validated again.
            apply(&command);
        }
        Err(DecodeError::UnknownLevel(level)) => assert_eq!(bytes.first().copied().map(u32::from), Some(level.0)),
        Err(DecodeError::Malformed { field }) => assert!(!field.is_empty()),
    }
}

/// Checks that two replicas reach the same state, and that their outcomes are true.
fn apply(command: &Command) {
    let mut replicas = [store(), store()];
    // The second time it is a repeat, if it has a request id.
    for time_ms in [10, 20] {
        let outcomes = replicas.each_mut().map(|store| store.apply(time_ms, command));
        assert_eq!(outcomes[0], outcomes[1]);
        let hashes = replicas.each_ref().map(Store::state_hash);
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(replicas[0].recompute_state_hash(), hashes[0], "the sum of the state is kept up");
    }
}

/// Returns a store with keys to change.
fn store() -> Store {
    let mut store = Store::default();
    for (key, value) in [("color", "blue"), ("k", "v")] {
        let operation = Operation::Set { put: Put::new(key, value), condition: None };
        store.apply(1, &Command { operation, request: None });
    }
    store
}
