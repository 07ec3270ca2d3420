//! Lines that are logged once, however often their cause occurs.

use std::collections::BTreeSet;

/// Remembers a bounded number of logged values, since a misbehaving sender may vary its nonsense endlessly.
#[derive(Debug)]
pub struct LogOnce<T> {
    logged: BTreeSet<T>,
    max: usize,
}

impl<T: Ord> LogOnce<T> {
    /// Allows `max` different values to be logged.
    pub fn new(max: usize) -> Self {
        Self { logged: BTreeSet::new(), max }
    }

    /// Returns whether to log this now: it has not been logged yet, and fewer than the maximum have.
    pub fn is_due(&mut self, what: T) -> bool {
        self.logged.len() < self.max && self.logged.insert(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_due_once_and_no_more_than_the_maximum_are() {
        let mut once = LogOnce::new(2);
        let due: Vec<&str> = ["a", "b", "a", "c", "b"].into_iter().filter(|what| once.is_due(*what)).collect();
        assert_eq!(due, ["a", "b"]);
    }
}
