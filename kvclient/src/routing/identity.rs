//! The cluster that a client belongs to.
//!
//! A cluster's id is random, so a node that names another id holds other data, whatever its address: it was given by
//! mistake, or set up anew. A client uses the id that it was given, or else the first that one of its nodes names, and
//! never changes it: the data of two clusters must not be mixed, least of all if one of them is empty.

use std::sync::OnceLock;

/// The id of the client's cluster, once it is known.
#[derive(Debug, Default)]
pub(crate) struct Identity(OnceLock<Box<str>>);

impl Identity {
    /// Creates an identity from the id that the user gave, if any.
    pub(crate) fn new(id: Option<&str>) -> Self {
        let identity = Self::default();
        if let Some(id) = id {
            identity.learn(id);
        }
        identity
    }

    /// Returns the id, if known.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(AsRef::as_ref)
    }

    /// Adopts this id if none is known yet. Returns the id that is known from now on.
    pub(super) fn learn(&self, id: &str) -> &str {
        self.0.get_or_init(|| id.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_is_kept() {
        let identity = Identity::new(None);
        assert_eq!(identity.get(), None);
        assert_eq!((identity.learn("a"), identity.learn("b"), identity.get()), ("a", "a", Some("a")));
        assert_eq!(Identity::new(Some("a")).learn("b"), "a");
    }
}
