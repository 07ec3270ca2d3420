//! Lines that are worth logging once, however often their cause comes up.

use std::collections::BTreeSet;

/// Remembers a bounded number of things that were logged, since who sends nonsense may send it in endless variations.
#[derive(Debug)]
pub struct LogOnce<T> {
    logged: BTreeSet<T>,
    max: usize,
}

impl<T: Ord> LogOnce<T> {
    /// Lets `max` different things be logged.
    pub fn new(max: usize) -> Self {
        Self { logged: BTreeSet::new(), max }
    }

    /// Whether to log this now: it has not been logged yet, and fewer than the maximum have.
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
