//! The mark of an import: a key that records its progress.

use super::hash::Fnv;
use kvclient::api::{Compare, Op, Relation, SetOp, Test};
use kvclient::{Client, Error, Key};

/// Time after its last write at which a mark ends. Milliseconds.
const KEPT_MS: u64 = 24 * 3600 * 1000;

/// Progress of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// This many lines are imported.
    Lines(u64),
    /// The whole file is imported.
    All,
}

impl Done {
    pub(super) fn lines(self) -> u64 {
        match self {
            Self::Lines(lines) => lines,
            Self::All => u64::MAX,
        }
    }

    fn to_value(self) -> String {
        match self {
            Self::Lines(lines) => lines.to_string(),
            Self::All => "all".to_owned(),
        }
    }

    fn of_value(value: &[u8]) -> Option<Self> {
        match std::str::from_utf8(value).ok()? {
            "all" => Some(Self::All),
            number => number.parse().ok().map(Self::Lines),
        }
    }
}

/// The mark of one import.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    key: String,
}

impl Mark {
    /// Returns the mark of the file with this hash; without one, a mark that no other run has.
    pub(super) fn of(hash: Option<u64>, prefix: &Key) -> Self {
        let name = match hash {
            Some(hash) => format!("{hash:016x}"),
            None => format!("stdin-{:016x}", rand::random::<u64>()),
        };
        // The same file with another prefix is another import.
        let prefix = match prefix.as_bytes() {
            [] => String::new(),
            prefix => format!("-{:016x}", Fnv::of(prefix)),
        };
        Self { key: format!("kvctl/import/{name}{prefix}") }
    }

    /// Reads the progress of an earlier run.
    pub(super) fn read(&self, client: &Client) -> Result<Done, Error> {
        let item = client.get(&self.key)?;
        Ok(item.and_then(|item| Done::of_value(&item.value)).unwrap_or(Done::Lines(0)))
    }

    /// Removes the mark.
    pub(super) fn remove(&self, client: &Client) -> Result<(), Error> {
        client.delete(&self.key).map(drop)
    }

    /// Returns the write of the mark.
    pub(super) fn op(&self, done: Done) -> Op {
        Op::Set(SetOp { ttl_ms: Some(KEPT_MS), ..SetOp::new(&self.key, done.to_value()) })
    }

    /// Returns the compare that holds if the import has made this progress.
    pub(super) fn compare(&self, done: Done) -> Compare {
        match done {
            Done::Lines(0) => Compare::of(&self.key, Test::Absent),
            done => Compare::of(&self.key, Test::Value(Relation::Equal(done.to_value().into_bytes()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_belongs_to_a_file_and_a_prefix() {
        let (app, all) = (Key::from("app/"), Key::default());
        assert_eq!(Mark::of(Some(7), &all).key, "kvctl/import/0000000000000007");
        assert_ne!(Mark::of(Some(7), &app), Mark::of(Some(7), &all));
        assert_ne!(Mark::of(None, &all), Mark::of(None, &all));
        for done in [Done::Lines(0), Done::Lines(12), Done::All] {
            assert_eq!(Done::of_value(done.to_value().as_bytes()), Some(done));
        }
    }
}
