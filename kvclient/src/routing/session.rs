//! Names for writes, so that a retried write is applied once.
//!
//! The cluster remembers, per client *name*, the newest `seq` that it applied and its outcome, so a name carries one
//! write at a time. A [`Client`](crate::Client) used by many threads therefore has many names: a random prefix, drawn
//! once, and a number. Each write borrows a name, takes its next `seq`, keeps it through all its attempts, and returns
//! the name.
//!
//! A name is reused even after a write whose outcome stayed unknown. Its next write has a higher `seq`, and from then
//! on the cluster refuses the old one if it is still in flight.

use crate::api::RequestId;

/// One name and the numbers used under it.
#[derive(Debug)]
pub(crate) struct Session {
    name: String,
    seq: u64,
}

impl Session {
    /// Creates the `number`-th name of the client with this random prefix.
    pub(crate) fn new(prefix: u128, number: u64) -> Self {
        Self { name: format!("{prefix:032x}-{number}"), seq: 0 }
    }

    /// Returns an id for a new write, higher than all earlier ones.
    pub(crate) fn next(&mut self) -> RequestId {
        self.seq += 1;
        RequestId { client: self.name.clone(), seq: self.seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CLIENT_NAME_CHARS_MAX;

    #[test]
    fn each_write_has_a_higher_number_under_the_same_name() {
        let mut session = Session::new(7, 3);
        let (first, second) = (session.next(), session.next());
        assert_eq!(first.client, second.client);
        assert!(second.seq > first.seq);
        assert_ne!(first.client, Session::new(7, 4).next().client);
        assert_ne!(first.client, Session::new(8, 3).next().client);
    }

    #[test]
    fn the_longest_name_fits() {
        let longest = Session::new(u128::MAX, u64::MAX).next().client;
        assert!(longest.chars().count() <= CLIENT_NAME_CHARS_MAX, "{longest}");
    }
}
