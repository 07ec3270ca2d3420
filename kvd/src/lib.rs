//! kvd: a replicated key-value store.

pub mod http;
pub mod kv;
pub mod node;
pub mod peer;
pub mod raft;
pub mod storage;
