//! The log as consensus sees it: the term at each index, the durable, commit and applied indexes, and the most recent
//! entries.
//!
//! Terms are kept for the whole log, as runs, since a log has few of them. Entries are kept in memory from the first
//! one that still has to be applied or written, plus a bounded cache before it for followers that are a little behind;
//! the caller reads older ones back from disk. Entries up to and including the base exist only in a snapshot (paper
//! §7). They are committed, so they are the same on every node.
//!
//! ```text
//!   base            cached_from            applied   commit   last
//! gone |  on disk only     |  cache, evictable  |   never evicted  |
//! ```

use super::entry::Entry;
use super::types::{ClusterTime, LogBase, LogIndex, Term};
use crate::mutants::{self, Mutant};
use std::collections::VecDeque;

/// The log of one node.
#[derive(Debug, Default)]
pub struct Log {
    /// The last entry that was compacted.
    base: LogBase,
    /// First index and term of each run of equal terms after the base, ascending in both.
    term_runs: Vec<(LogIndex, Term)>,
    last_index: LogIndex,
    last_time: ClusterTime,
    /// The newest entries, without gaps, up to `last_index`.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// Bytes of the entries after `applied_index`.
    unapplied_bytes: usize,
    durable_index: LogIndex,
    commit_index: LogIndex,
    applied_index: LogIndex,
    applied_time: ClusterTime,
}

impl Log {
    /// Returns an empty log after a durable snapshot that contains everything up to `base` and whose last entry has
    /// this time.
    pub fn after_snapshot(base: LogBase, time: ClusterTime) -> Self {
        let index = base.index;
        Self {
            base,
            last_index: index,
            last_time: time,
            durable_index: index,
            commit_index: index,
            applied_index: index,
            applied_time: time,
            ..Self::default()
        }
    }

    /// Adds the terms of entries from before the snapshot that the log still has, as the first index and term of each
    /// run. The term of the entry before the first one is unknown, so the first one becomes the base.
    #[must_use]
    pub fn with_terms_before(mut self, runs: impl IntoIterator<Item = (LogIndex, Term)>) -> Self {
        let end = self.base;
        let before: Vec<_> = runs.into_iter().take_while(|(first, _)| *first <= end.index).collect();
        if let Some((index, term)) = before.first() {
            self.base = LogBase { index: *index, term: *term };
            let after = std::mem::replace(&mut self.term_runs, before);
            // The entries after the snapshot may continue the same term.
            let last_term = self.last_term();
            self.term_runs.extend(after.into_iter().skip_while(|(_, term)| *term == last_term));
            self.drop_runs_before_base();
        }
        assert!(self.term_at(end.index) == Some(end.term), "entry {end} is of another term in the log");
        self
    }

    /// Returns the last entry that was compacted; nothing is known of the entries before it.
    pub fn base(&self) -> LogBase {
        self.base
    }

    /// Index of the last entry; that of the base in an empty log.
    pub fn last_index(&self) -> LogIndex {
        self.last_index
    }

    /// Term of the last entry; that of the base in an empty log.
    pub fn last_term(&self) -> Term {
        self.term_runs.last().map_or(self.base.term, |(_, term)| *term)
    }

    /// Cluster time of the last entry; that of the base in an empty log. The time of an entry that was cut off says
    /// nothing here: another leader had stamped it.
    pub fn last_time(&self) -> ClusterTime {
        self.last_time
    }

    /// Returns the index up to which the log is on this node's disk.
    pub fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    /// Returns the index up to which entries are known to be committed.
    pub fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// Returns the index up to which [`Log::take_committed`] or a snapshot has passed entries on to be applied.
    pub fn applied_index(&self) -> LogIndex {
        self.applied_index
    }

    /// Cluster time of the newest applied entry.
    pub fn applied_time(&self) -> ClusterTime {
        self.applied_time
    }

    /// Index of the oldest entry in memory; one past the last when there is none.
    fn cached_from(&self) -> LogIndex {
        LogIndex(self.last_index.0 + 1 - self.cache.len() as u64)
    }

    /// Term of the entry at `index`, zero at index zero, `None` past the end and before the base.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index > self.last_index || index < self.base.index {
            return None;
        }
        let run = self.term_runs.partition_point(|(first, _)| *first <= index);
        Some(run.checked_sub(1).map_or(self.base.term, |run| self.term_runs[run].1))
    }

    /// Returns true if the entry at `index` has this term; the position before the first entry always matches.
    pub fn matches(&self, index: LogIndex, term: Term) -> bool {
        self.term_at(index) == Some(term)
    }

    /// Returns the highest index at or below `index` whose term is at most `term`, and its term.
    ///
    /// If two logs disagree, both sides use this to step down by whole terms, so that they find the place where they
    /// agree in about one round trip per term that differs (paper §5.3, end). Returns zero if that place would lie
    /// before the base.
    pub fn last_at_or_below(&self, index: LogIndex, term: Term) -> (LogIndex, Term) {
        let mut index = index.min(self.last_index);
        if index < self.base.index {
            return (LogIndex(0), Term(0));
        }
        let runs = self.term_runs.partition_point(|(first, _)| *first <= index);
        for (first, run_term) in self.term_runs[..runs].iter().rev() {
            if *run_term <= term {
                return (index, *run_term);
            }
            index = first.previous();
        }
        if self.base.term <= term { (self.base.index, self.base.term) } else { (LogIndex(0), Term(0)) }
    }

    /// Returns true if a log that ends in (`last_index`, `last_term`) is at least as up to date as this one (paper
    /// §5.4.1): later term, or same term and no shorter.
    pub fn is_up_to_date(&self, last_index: LogIndex, last_term: Term) -> bool {
        (last_term, last_index) >= (self.last_term(), self.last_index)
    }

    /// Appends one entry to the end.
    pub fn append(&mut self, entry: Entry) {
        assert!(entry.index == self.last_index.next(), "entry {} after {}", entry.index, self.last_index);
        assert!(entry.term >= self.last_term(), "term {} after {}", entry.term, self.last_term());
        if entry.term > self.last_term() || self.term_runs.is_empty() {
            self.term_runs.push((entry.index, entry.term));
        }
        self.last_index = entry.index;
        self.last_time = self.last_time.max(entry.time);
        self.cache_bytes += entry.size_bytes();
        self.unapplied_bytes += entry.size_bytes();
        self.cache.push_back(entry);
    }

    /// Drops all entries from `from` on: they conflict with the leader's (paper §5.3).
    pub fn truncate(&mut self, from: LogIndex) {
        let committed = self.commit_index;
        let is_allowed = from > committed || mutants::is_on(Mutant::TruncateCommitted);
        assert!(is_allowed, "truncation from {from} would drop committed entries up to {committed}");
        if from > self.last_index {
            return;
        }
        for _ in from.0..=self.last_index.0 {
            // Uncommitted entries are never evicted, so all of these are cached.
            let entry = self.cache.pop_back().expect("uncommitted entries stay in memory");
            self.cache_bytes -= entry.size_bytes();
            self.unapplied_bytes = self.unapplied_bytes.saturating_sub(entry.size_bytes());
        }
        self.last_index = from.previous();
        if !mutants::is_on(Mutant::CutTimeKept) {
            // What is no longer in memory is applied, so without entries in memory the last one is the last applied.
            self.last_time = self.cache.back().map_or(self.applied_time, |last| last.time);
        }
        self.durable_index = self.durable_index.min(self.last_index);
        self.term_runs.truncate(self.term_runs.partition_point(|(first, _)| *first < from));
    }

    /// Records that everything up to `index` is on disk.
    pub fn set_durable(&mut self, index: LogIndex) {
        assert!(index <= self.last_index, "durable {index} beyond the end {}", self.last_index);
        self.durable_index = self.durable_index.max(index);
    }

    /// Raises the commit index to `index`. It never goes back.
    pub fn commit(&mut self, index: LogIndex) {
        assert!(index <= self.last_index, "commit index {index} beyond the end {}", self.last_index);
        self.commit_index = self.commit_index.max(index);
    }

    /// Returns true if committed entries wait to be applied.
    pub fn has_unapplied(&self) -> bool {
        self.applied_index < self.commit_index
    }

    /// Returns the next committed entries to apply, in log order: about `bytes_max` bytes of them, but at least one if
    /// there is any. They count as applied from here on.
    pub fn take_committed(&mut self, bytes_max: usize) -> Vec<Entry> {
        let entries: Vec<Entry> = self.committed(bytes_max).cloned().collect();
        self.unapplied_bytes -= entries.iter().map(Entry::size_bytes).sum::<usize>();
        if let Some(last) = entries.last() {
            (self.applied_index, self.applied_time) = (last.index, self.applied_time.max(last.time));
        }
        entries
    }

    /// Returns the entries that [`Log::take_committed`] would.
    pub fn committed(&self, bytes_max: usize) -> impl Iterator<Item = &Entry> {
        let from = self.applied_index.next();
        let committed = (from <= self.commit_index).then(|| self.cached(from, self.commit_index));
        within(committed.into_iter().flatten(), bytes_max)
    }

    /// Returns entries from `from` on: about `bytes_max` bytes of them, but at least one if there is any. `None` if
    /// they are no longer in memory and have to be read from disk.
    pub fn entries_from(&self, from: LogIndex, bytes_max: usize) -> Option<Vec<Entry>> {
        if from < self.cached_from() {
            return None;
        }
        Some(within(self.cached(from, self.last_index), bytes_max).cloned().collect())
    }

    /// Returns true if all entries from `index` on are in memory.
    pub fn is_in_memory(&self, index: LogIndex) -> bool {
        index >= self.cached_from()
    }

    /// Entries `from..=to`, all of them in memory.
    fn cached(&self, from: LogIndex, to: LogIndex) -> impl Iterator<Item = &Entry> {
        assert!(from >= self.cached_from(), "entry {from} is no longer in memory, from {}", self.cached_from());
        let offset = (from.0 - self.cached_from().0) as usize;
        let length = (to.0 + 1).saturating_sub(from.0) as usize;
        self.cache.iter().skip(offset).take(length)
    }

    /// Records that a snapshot that ends with entry `index`, of this time, has become the state: all entries up to
    /// there are committed and count as applied.
    pub fn install(&mut self, index: LogIndex, time: ClusterTime) {
        self.commit(index);
        assert!(index > self.applied_index, "a snapshot up to {index}, with {} applied", self.applied_index);
        (self.applied_index, self.applied_time) = (index, time);
        let unapplied = self.cache.iter().filter(|entry| entry.index > index);
        self.unapplied_bytes = unapplied.map(Entry::size_bytes).sum();
    }

    /// Moves the base up to `index`: everything up to there is in a durable snapshot and will be deleted from disk.
    pub fn compact(&mut self, index: LogIndex) {
        let (applied, durable) = (self.applied_index, self.durable_index);
        assert!(index <= applied && index <= durable, "compaction up to {index}, applied {applied}, durable {durable}");
        let Some(term) = self.term_at(index) else { return };
        self.base = LogBase { index, term };
        self.drop_runs_before_base();
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            if let Some(entry) = self.cache.pop_front() {
                self.cache_bytes -= entry.size_bytes();
            }
        }
    }

    /// Drops runs that begin at or before the base; the rest of the base's own run begins after it.
    fn drop_runs_before_base(&mut self) {
        let LogBase { index, term } = self.base;
        let gone = self.term_runs.partition_point(|(first, _)| *first <= index);
        self.term_runs.drain(..gone);
        let next = index.next();
        let next_run = self.term_runs.first().map(|(first, _)| *first);
        // The base's run continues after it, unless another run begins there or the log ends.
        if next <= self.last_index && next_run != Some(next) {
            self.term_runs.insert(0, (next, term));
        }
    }

    /// Bytes of the entries in memory. After [`Log::evict`] at most its limit, unless entries beyond that have yet to
    /// be applied or to reach the disk.
    pub fn memory_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// Bytes of the entries that have yet to be passed on to be applied.
    pub fn unapplied_bytes(&self) -> usize {
        self.unapplied_bytes
    }

    /// Forgets the oldest entries that are both applied and durable while more than `bytes_max`
    /// bytes are in memory.
    pub fn evict(&mut self, bytes_max: usize) {
        let done = self.applied_index.min(self.durable_index);
        while self.cache_bytes > bytes_max && self.cache.front().is_some_and(|entry| entry.index <= done) {
            if let Some(entry) = self.cache.pop_front() {
                self.cache_bytes -= entry.size_bytes();
            }
        }
    }
}

/// Returns the first of these entries, about `bytes_max` bytes of them but at least one.
fn within<'a>(entries: impl Iterator<Item = &'a Entry>, bytes_max: usize) -> impl Iterator<Item = &'a Entry> {
    let mut bytes = 0;
    entries.take_while(move |entry| {
        let first = bytes == 0;
        bytes += entry.size_bytes();
        first || bytes <= bytes_max
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Payload;

    /// Returns a log whose entries have these terms, from index 1 on.
    fn log(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for term in terms {
            let index = log.last_index().next();
            log.append(Entry { index, term: Term(*term), time: ClusterTime(index.0), payload: Payload::Noop });
        }
        log
    }

    #[test]
    fn terms_are_found_at_every_index() {
        let log = log(&[1, 1, 3, 3, 3, 7]);
        let terms: Vec<_> = (0..8).map(|index| log.term_at(LogIndex(index)).map(|term| term.0)).collect();
        assert_eq!(terms, [Some(0), Some(1), Some(1), Some(3), Some(3), Some(3), Some(7), None]);
        assert!(log.matches(LogIndex(0), Term(0)));
        assert!(!log.matches(LogIndex(7), Term(0)), "what is missing matches nothing");
    }

    #[test]
    fn stepping_down_by_terms_finds_the_highest_candidate() {
        let log = log(&[1, 1, 3, 3, 3, 7]);
        for (index, term, expected) in [
            (6, 7, (6, 7)),
            (6, 6, (5, 3)),
            (9, 5, (5, 3)),
            (4, 3, (4, 3)),
            (4, 2, (2, 1)),
            (4, 0, (0, 0)),
            (0, 9, (0, 0)),
        ] {
            let (found_index, found_term) = log.last_at_or_below(LogIndex(index), Term(term));
            assert_eq!((found_index.0, found_term.0), expected, "at or below {index} of term {term}");
        }
    }

    #[test]
    fn up_to_date_compares_terms_before_lengths() {
        let log = log(&[1, 1, 3]);
        for (index, term, expected) in [(3, 3, true), (2, 3, false), (9, 2, false), (1, 4, true)] {
            assert_eq!(log.is_up_to_date(LogIndex(index), Term(term)), expected, "{index} of term {term}");
        }
    }

    #[test]
    fn truncation_takes_back_what_was_durable() {
        let mut log = log(&[1, 1, 2, 2]);
        log.set_durable(LogIndex(4));
        log.commit(LogIndex(2));
        log.truncate(LogIndex(3));
        assert_eq!((log.last_index(), log.last_term(), log.durable_index()), (LogIndex(2), Term(1), LogIndex(2)));
        assert_eq!(log.term_at(LogIndex(3)), None);
        assert_eq!(log.last_time(), ClusterTime(2), "that of the entry which is the last now");
        // The same if that entry has left memory.
        log.append(Entry { index: LogIndex(3), term: Term(3), time: ClusterTime(9), payload: Payload::Noop });
        log.take_committed(usize::MAX);
        log.evict(0);
        log.truncate(LogIndex(3));
        assert_eq!((log.memory_bytes(), log.last_time()), (0, ClusterTime(2)));
    }

    #[test]
    #[should_panic(expected = "would drop committed entries")]
    fn committed_entries_are_never_truncated() {
        let mut log = log(&[1, 1]);
        log.commit(LogIndex(2));
        log.truncate(LogIndex(2));
    }

    #[test]
    fn committed_entries_are_handed_over_in_pages_and_once() {
        let mut log = log(&[1, 1, 1, 1, 1]);
        log.commit(LogIndex(4));
        let mut seen = Vec::new();
        while log.has_unapplied() {
            let page = log.take_committed(3 * 32);
            assert!((1..=3).contains(&page.len()));
            seen.extend(page.iter().map(|entry| entry.index.0));
        }
        assert_eq!(seen, [1, 2, 3, 4]);
        assert_eq!(log.unapplied_bytes(), log.cache.back().expect("entry 5").size_bytes());
        log.truncate(LogIndex(5));
        assert_eq!(log.unapplied_bytes(), 0);
        assert!(log.take_committed(1).is_empty());
    }

    #[test]
    fn only_what_is_applied_and_durable_leaves_memory() {
        let mut log = log(&[1, 1, 1, 1, 1, 1]);
        log.commit(LogIndex(5));
        log.take_committed(4 * 32);
        log.set_durable(LogIndex(2));
        log.evict(0);
        assert_eq!(log.entries_from(LogIndex(2), usize::MAX), None, "entry 2 is applied and durable");
        let kept: Vec<_> = log.entries_from(LogIndex(3), usize::MAX).unwrap().iter().map(|e| e.index.0).collect();
        assert_eq!(kept, [3, 4, 5, 6], "entry 3 is not durable yet, entry 5 not applied");
        assert_eq!(log.term_at(LogIndex(1)), Some(Term(1)), "terms outlast entries");
    }

    #[test]
    fn a_page_of_entries_has_at_least_one() {
        let log = log(&[1, 1, 1]);
        assert_eq!(log.entries_from(LogIndex(2), 1).unwrap().len(), 1);
        assert_eq!(log.entries_from(LogIndex(1), 64).unwrap().len(), 2);
        assert_eq!(log.entries_from(LogIndex(4), 64).unwrap().len(), 0);
    }

    fn base(index: u64, term: u64) -> LogBase {
        LogBase { index: LogIndex(index), term: Term(term) }
    }

    fn terms(log: &Log) -> Vec<Option<u64>> {
        (0..9).map(|index| log.term_at(LogIndex(index)).map(|term| term.0)).collect()
    }

    #[test]
    fn what_is_compacted_is_gone_and_the_rest_is_not() {
        let all = log(&[1, 1, 3, 3, 3, 7]);
        for gone in 1..=6 {
            let mut log = log(&[1, 1, 3, 3, 3, 7]);
            log.set_durable(LogIndex(6));
            log.commit(LogIndex(6));
            log.take_committed(usize::MAX);
            log.compact(LogIndex(gone));
            log.compact(LogIndex(gone - 1));
            assert_eq!(log.base().index, LogIndex(gone), "the base never goes back");
            for index in 0..9 {
                let expected = all.term_at(LogIndex(index)).filter(|_| index >= gone);
                assert_eq!(log.term_at(LogIndex(index)), expected, "{index} with {gone} gone");
                let (found, term) = all.last_at_or_below(LogIndex(6), Term(index));
                let expected = if found.0 >= gone { (found, term) } else { (LogIndex(0), Term(0)) };
                assert_eq!(log.last_at_or_below(LogIndex(6), Term(index)), expected, "of {index} with {gone} gone");
            }
            assert_eq!((log.last_index(), log.last_term()), (LogIndex(6), Term(7)));
            assert_eq!(log.entries_from(LogIndex(gone + 1), usize::MAX).unwrap().len() as u64, 6 - gone);
            log.append(Entry { index: LogIndex(7), term: Term(7), time: ClusterTime(9), payload: Payload::Noop });
            assert_eq!(log.last_at_or_below(LogIndex(7), Term(7)), (LogIndex(7), Term(7)));
        }
    }

    #[test]
    #[should_panic(expected = "compaction up to 2, applied 1")]
    fn only_what_is_applied_can_be_compacted() {
        let mut log = log(&[1, 1]);
        log.set_durable(LogIndex(2));
        log.commit(LogIndex(1));
        log.take_committed(usize::MAX);
        log.compact(LogIndex(2));
    }

    #[test]
    fn a_log_begins_after_a_snapshot() {
        let mut log = Log::after_snapshot(base(5, 2), ClusterTime(40));
        assert_eq!((log.last_index(), log.last_term(), log.last_time()), (LogIndex(5), Term(2), ClusterTime(40)));
        assert_eq!(
            (log.durable_index(), log.commit_index(), log.applied_index()),
            (LogIndex(5), LogIndex(5), LogIndex(5))
        );
        assert_eq!(terms(&log), [None, None, None, None, None, Some(2), None, None, None]);
        log.append(Entry { index: LogIndex(6), term: Term(2), time: ClusterTime(41), payload: Payload::Noop });
        assert_eq!(log.last_at_or_below(LogIndex(6), Term(2)), (LogIndex(6), Term(2)));
        log.truncate(LogIndex(6));
        assert_eq!((log.last_index(), log.last_term()), (LogIndex(5), Term(2)));
    }

    #[test]
    fn a_log_may_have_entries_from_before_its_snapshot() {
        let after = || Log::after_snapshot(base(5, 3), ClusterTime(40));
        let runs =
            |runs: &[(u64, u64)]| runs.iter().map(|(index, term)| (LogIndex(*index), Term(*term))).collect::<Vec<_>>();
        let log = after().with_terms_before(runs(&[(2, 1), (4, 3)]));
        assert_eq!(terms(&log), [None, None, Some(1), Some(1), Some(3), Some(3), None, None, None]);
        assert_eq!(log.base(), base(2, 1), "of what is before it nothing is known");
        let log = after().with_terms_before(runs(&[(2, 3), (7, 4)]));
        assert_eq!(terms(&log), [None, None, Some(3), Some(3), Some(3), Some(3), None, None, None]);
        assert_eq!(after().with_terms_before(runs(&[(6, 3)])).base(), base(5, 3));
        assert_eq!(after().with_terms_before(runs(&[(5, 3)])).base(), base(5, 3));
        let mut log = after();
        for (index, term) in [(6, 3), (7, 4)] {
            log.append(Entry {
                index: LogIndex(index),
                term: Term(term),
                time: ClusterTime(41),
                payload: Payload::Noop,
            });
        }
        let log = log.with_terms_before(runs(&[(2, 1), (4, 3)]));
        assert_eq!(terms(&log), [None, None, Some(1), Some(1), Some(3), Some(3), Some(3), Some(4), None]);
        assert_eq!(log.last_at_or_below(LogIndex(7), Term(3)), (LogIndex(6), Term(3)));
    }
}
