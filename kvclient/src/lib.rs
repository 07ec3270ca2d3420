//! Blocking client for kvd, a replicated key-value store.
pub mod api;
