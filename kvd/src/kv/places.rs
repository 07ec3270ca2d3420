//! The queues of locks.
//!
//! A lock `NAME` is the keys `NAME/LEASE` that are attached to that very lease: its places. The place that was created
//! first holds the lock, and the revision of its creation is the fencing token. This index finds the holder without a
//! search through the queue; it follows from the items, so it is not part of the state.
//!
//! A key becomes a place when it is created, never later (`store/draft.rs` ensures that). So a place never gets ahead
//! of an earlier one, and tokens grow from holder to holder: a place that becomes the first was created after all
//! places that were first before it.

use super::item::{LeaseId, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// The places of one lock.
#[derive(Debug, Default)]
struct Queue {
    /// In the order of their creation: the revision, and the rest of the key.
    places: BTreeSet<(Revision, Box<[u8]>)>,
    /// Cluster time at which the first place became the first, in milliseconds, if this node has seen it. Not part of
    /// the state.
    first_since_ms: Option<u64>,
}

impl Queue {
    /// Changes the places at a cluster time, and notes the time if another one is the first after that.
    fn change(&mut self, now_ms: Option<u64>, change: impl FnOnce(&mut BTreeSet<(Revision, Box<[u8]>)>)) {
        let first = self.places.first().map(|(created, _)| *created);
        change(&mut self.places);
        if self.places.first().map(|(created, _)| *created) != first {
            self.first_since_ms = now_ms;
        }
    }
}

/// The places of all locks, by name.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_name: BTreeMap<Box<[u8]>, Queue>,
}

/// Returns the key of a place.
pub(super) fn key_of(name: &[u8], lease: LeaseId) -> Vec<u8> {
    let mut key = name.to_vec();
    key.extend_from_slice(format!("/{lease}").as_bytes());
    key
}

/// Returns the name of the lock and the rest of the key, if a key that is attached to `lease` is a place. Clients of
/// etcd write the lease without leading zeros.
pub(super) fn place_of(key: &[u8], lease: LeaseId) -> Option<(&[u8], &[u8])> {
    let slash = key.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0)?;
    let (name, digits) = (&key[..slash], &key[slash + 1..]);
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !(1..=16).contains(&digits.len()) || !digits.iter().all(is_hex) {
        return None;
    }
    let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (number == lease.get()).then_some((name, digits))
}

impl Places {
    /// Adds a key that is attached to `lease`, if it is a place: at a cluster time, or from a snapshot.
    pub(super) fn add(&mut self, key: &[u8], lease: LeaseId, created: Revision, now_ms: Option<u64>) {
        if let Some((name, digits)) = place_of(key, lease) {
            let queue = self.by_name.entry(name.into()).or_default();
            queue.change(now_ms, |places| {
                places.insert((created, digits.into()));
            });
        }
    }

    /// Removes a key that is no longer attached to `lease`, if it was a place.
    pub(super) fn remove(&mut self, key: &[u8], lease: LeaseId, created: Revision, now_ms: u64) {
        if let Some((name, digits)) = place_of(key, lease)
            && let Some(queue) = self.by_name.get_mut(name)
        {
            queue.change(Some(now_ms), |places| {
                places.remove(&(created, digits.into()));
            });
            if queue.places.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// Returns the places of a lock in the order of their creation: the revision, and the rest of the key.
    pub(super) fn of(&self, name: &[u8]) -> impl Iterator<Item = (Revision, &[u8])> {
        let places = self.by_name.get(name).into_iter().flat_map(|queue| &queue.places);
        places.map(|(created, digits)| (*created, &**digits))
    }

    /// Returns the cluster time since which the first place of a lock is the first, in milliseconds; none if this node
    /// has not seen it.
    pub(super) fn first_since_ms(&self, name: &[u8]) -> Option<u64> {
        self.by_name.get(name)?.first_since_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: u64) -> LeaseId {
        LeaseId::new(number).unwrap()
    }

    #[test]
    fn a_place_is_a_name_and_the_lease_that_the_key_is_attached_to() {
        for (key, number, name) in [
            ("jobs/00000000000004d2", 0x4d2, Some("jobs")),
            ("jobs/4d2", 0x4d2, Some("jobs")),
            ("a/b/4d2", 0x4d2, Some("a/b")),
            ("jobs//4d2", 0x4d2, Some("jobs/")),
            ("jobs/4d2", 0x4d3, None),
            ("jobs/4D2", 0x4d2, None),
            ("jobs/+4d2", 0x4d2, None),
            ("jobs/000000000000004d2", 0x4d2, None),
            ("jobs/", 0x4d2, None),
            ("/4d2", 0x4d2, None),
            ("4d2", 0x4d2, None),
        ] {
            let found = place_of(key.as_bytes(), lease(number)).map(|(name, _)| name);
            assert_eq!(found, name.map(str::as_bytes), "{key}");
        }
        assert_eq!(key_of(b"jobs", lease(0x4d2)), b"jobs/00000000000004d2");
    }

    #[test]
    fn places_stand_in_the_order_of_their_creation() {
        let mut places = Places::default();
        for (key, number, created) in [("l/3", 3, 9), ("l/1", 1, 12), ("l/2", 2, 10), ("m/4", 4, 1)] {
            places.add(key.as_bytes(), lease(number), created, Some(created * 10));
        }
        let of =
            |places: &Places, name: &str| places.of(name.as_bytes()).map(|(created, _)| created).collect::<Vec<_>>();
        assert_eq!(of(&places, "l"), [9, 10, 12]);
        assert_eq!(places.first_since_ms(b"l"), Some(90), "the ones behind it have come since");
        places.remove(b"l/3", lease(3), 9, 500);
        assert_eq!(places.first_since_ms(b"l"), Some(500));
        places.remove(b"l/1", lease(1), 12, 600);
        assert_eq!(places.first_since_ms(b"l"), Some(500));
        places.add(b"l/1", lease(1), 12, Some(700));
        assert_eq!(of(&places, "l"), [10, 12]);
        assert_eq!(of(&places, "m"), [1]);
        places.remove(b"m/4", lease(4), 1, 800);
        assert!(places.by_name.keys().eq([&Box::from(&b"l"[..])]), "no empty queue is kept");
    }
}
