//! Expected contents of a node's disk: the sum of all writes that were reported durable.

use kvd::raft::{Entry, HardState, LogBase, LogIndex, LogRestart, LogWrite, Payload, Record, Term};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hash of the whole content of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn of(entry: &Entry) -> Self {
        let place = [entry.index.0.to_le_bytes(), entry.term.0.to_le_bytes(), entry.time.0.to_le_bytes()].concat();
        let seed = xxh3_64_with_seed(&place, 0);
        Self(match &entry.payload {
            Payload::Noop => xxh3_64_with_seed(&[], seed),
            Payload::Command(command) => xxh3_64_with_seed(command, seed ^ 1),
            Payload::Configuration(configuration) => {
                xxh3_64_with_seed(format!("{configuration:?}").as_bytes(), seed ^ 2)
            }
        })
    }
}

/// A log and a hard state. Entries that a snapshot has replaced are kept here like all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) hard_state: HardState,
    /// Term and digest of each entry, from index 1 on.
    pub(crate) entries: Vec<(Term, Digest)>,
    pub(crate) commit: LogIndex,
}

impl Image {
    fn write(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::HardState(hard_state) => self.hard_state = *hard_state,
                Record::Truncate { from } => self.entries.truncate(from.previous().0 as usize),
                Record::Entry(entry) => self.entries.push((entry.term, Digest::of(entry))),
                Record::Commit(index) => self.commit = self.commit.max(*index),
            }
        }
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    /// Term of the entry at `index`, zero at index zero, `None` past the end.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        match index.0.checked_sub(1) {
            None => Some(Term(0)),
            Some(place) => self.entries.get(place as usize).map(|(term, _)| *term),
        }
    }

    /// Returns the image once a snapshot that ends with `last` has become the state (paper Figure 13, steps 6 and 7).
    /// `committed` holds all committed entries that are known, at least up to `last`.
    fn after_snapshot(mut self, last: LogBase, committed: &[(Term, Digest)]) -> Self {
        if self.term_at(last.index) != Some(last.term) {
            self.entries = committed[..last.index.0 as usize].to_vec();
            if self.hard_state.term < last.term {
                self.hard_state = HardState { term: last.term, vote: None };
            }
        }
        self.commit = self.commit.max(last.index);
        self
    }
}

/// Contents of a disk: the newest snapshot, and the log by itself where the two differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskImage {
    /// State that a start would recover.
    log: Image,
    snapshot: LogBase,
    /// Contents of the log by itself, until it has reached the end of the snapshot or restarted after it.
    behind: Option<Image>,
}

impl DiskImage {
    /// Returns the state that a node starts from.
    pub(crate) fn log(&self) -> &Image {
        &self.log
    }

    /// Returns the contents of the log by itself. It may be behind the snapshot, since a node applies entries before
    /// they are durable on its own disk.
    pub(crate) fn written(&self) -> &Image {
        self.behind.as_ref().unwrap_or(&self.log)
    }

    /// Returns the end of the newest durable snapshot.
    pub(crate) fn snapshot(&self) -> LogBase {
        self.snapshot
    }

    /// Handles a write to the log that is now durable.
    pub(crate) fn write(&mut self, write: &LogWrite) {
        if let Some(mut behind) = self.behind.take() {
            apply(&mut behind, write, &self.log.entries);
            self.settle(behind);
        } else if write.restart.is_some() {
            let committed = self.log.entries.clone();
            apply(&mut self.log, write, &committed);
        } else {
            self.log.write(&write.records);
        }
    }

    /// Handles a durable snapshot that ends with `last`. `committed` returns all committed entries, in case the log has
    /// not got that far.
    pub(crate) fn snapshot_written(&mut self, last: LogBase, committed: impl FnOnce() -> Vec<(Term, Digest)>) {
        if last.index <= self.snapshot.index {
            return;
        }
        self.snapshot = last;
        if self.written().term_at(last.index) == Some(last.term) {
            let log = self.behind.take().unwrap_or_else(|| std::mem::take(&mut self.log));
            self.settle(log);
        } else {
            let log = self.behind.take().unwrap_or_else(|| self.log.clone());
            self.log.entries = committed();
            self.settle(log);
        }
    }

    /// Sets the contents of the log by itself. `self.log` holds the contents of the snapshot by then.
    fn settle(&mut self, log: Image) {
        if log.term_at(self.snapshot.index) == Some(self.snapshot.term) {
            self.log = log.after_snapshot(self.snapshot, &[]);
        } else {
            self.log = log.clone().after_snapshot(self.snapshot, &self.log.entries);
            self.behind = Some(log);
        }
    }

    /// Returns the states that a start may find, with a snapshot that ends with `last`: without the write that a crash
    /// interrupted, restarted as that write wanted but without the rest of it, or with all of it.
    fn candidates(&self, unfinished: Option<&LogWrite>, last: LogBase, committed: &[(Term, Digest)]) -> Vec<Image> {
        let told = self.behind.clone().unwrap_or_else(|| self.log.clone());
        let restart = unfinished.filter(|write| write.restart.is_some());
        let restart = restart.map(|write| LogWrite { records: Vec::new(), ..write.clone() });
        let with = |write: &LogWrite| {
            let mut log = told.clone();
            apply(&mut log, write, committed);
            log
        };
        let changed: Vec<Image> = restart.iter().chain(unfinished).map(with).collect();
        std::iter::once(told).chain(changed).map(|log| log.after_snapshot(last, committed)).collect()
    }

    /// Compares what a start has found with the expected states. Returns the image that matches, and whether it
    /// contains the interrupted write; otherwise the expected states.
    pub(crate) fn find(
        &self,
        unfinished: Option<&LogWrite>,
        found: &Found,
        committed: &[(Term, Digest)],
    ) -> Result<(Self, bool), Vec<Image>> {
        let candidates = self.candidates(unfinished, found.snapshot, committed);
        // With an older snapshot, the log may know fewer committed entries than the damaged snapshot did.
        let is_older = found.snapshot.index < self.snapshot.index;
        let commit_fits = |known: LogIndex| found.commit == known || is_older && found.commit < known;
        let fits = |candidate: &Image| found.is(candidate) && commit_fits(candidate.commit);
        match candidates.iter().position(fits) {
            Some(place) => {
                let log = Image { commit: found.commit, ..candidates[place].clone() };
                Ok((Self { log, snapshot: found.snapshot, behind: None }, place > 0))
            }
            None => Err(candidates),
        }
    }
}

fn apply(log: &mut Image, write: &LogWrite, committed: &[(Term, Digest)]) {
    if let Some(LogRestart { base, hard_state }) = write.restart {
        log.entries = committed[..base.index.0 as usize].to_vec();
        log.commit = base.index;
        log.hard_state = hard_state;
    }
    log.write(&write.records);
}

/// State that a start has found on a disk.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) hard_state: HardState,
    /// The first entry of the log.
    pub(crate) first: LogIndex,
    /// Its entries.
    pub(crate) entries: Vec<(Term, Digest)>,
    pub(crate) commit: LogIndex,
    /// End of its snapshot.
    pub(crate) snapshot: LogBase,
}

impl Found {
    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.first.previous().0 + self.entries.len() as u64)
    }

    fn is(&self, image: &Image) -> bool {
        let gone = self.first.previous().0 as usize;
        self.hard_state == image.hard_state && image.entries.get(gone..) == Some(&self.entries[..])
    }
}
