//! The streams between nodes.
