//! Watchers: clients that follow all changes in some ranges, on whatever node they reach, and go on where they were.
//!
//! A watcher is a position, the revision that it is to be told next, and some ranges. It is told everything up to the
//! revision of its node, a few revisions at a time, as the server does. If its node dies, hangs or is out of reach, it
//! goes on at another one, which may be behind it, may have begun from a snapshot, or may never have had the past.
//!
//! The log says what a watcher must be told: each change in its ranges, with the item before and after, in order, none
//! twice and none left out. Only a node that no longer keeps the next change may say so, and then the watcher begins
//! anew with the items as they are. What a node may forget: what it was told to, what its own limits do not allow, and
//! what did not come with a snapshot.
//!
//! All randomness here comes from a separate generator.

use super::chance::Chance;
use super::coverage::Kind;
use super::events::{Event, Life, Micros};
use super::invariants::{Checked, ensure};
use super::model::Model;
use super::world::World;
use bytes::Bytes;
use kvd::kv::{ChangePlace, Forgotten, HistoryLimits, Item, KeyRange, Restoring, Revision, Store, StoreLimits};
use kvd::raft::NodeId;
use std::collections::BTreeMap;
use std::ops::Bound;

const NAME: &str = "Watches";

const MS: Micros = 1_000;

/// Separates the draws for watchers from all other draws.
const SALT: u64 = 0x0b5e_12ed;

/// Index of a watcher in the list of watchers.
pub(crate) type WatcherId = usize;

/// All watchers, with their generator.
#[derive(Debug)]
pub(crate) struct Watchers {
    chance: Chance,
    all: Vec<Watcher>,
    /// Limits on the history that each node keeps.
    limits: BTreeMap<NodeId, HistoryLimits>,
    /// The oldest revision that each process knew when it began from a snapshot, or from the whole log.
    begun_with: BTreeMap<(NodeId, Life), Revision>,
}

/// A watcher.
#[derive(Debug)]
struct Watcher {
    ranges: Vec<KeyRange>,
    /// The cluster that its position belongs to; zero before it has one.
    cluster: u64,
    /// The revision that it is to be told next.
    next: Revision,
    /// Node to which it is connected.
    at: Option<(NodeId, Life)>,
    /// Snapshots that had been installed there when it was told something last.
    installed: u64,
    /// Mean time between two looks. Microseconds.
    every: Micros,
}

/// A change as a watcher is told it: revision, key, item before and after.
type Told = (Revision, Bytes, Option<Item>, Option<Item>);

impl Watchers {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ SALT);
        let count = chance.one_of(&[0, 1, 2, 4]);
        let all = (0..count).map(|_| Watcher::draw(&mut chance)).collect();
        Self { chance, all, limits: BTreeMap::new(), begun_with: BTreeMap::new() }
    }

    /// Returns how much history a node keeps.
    pub(crate) fn limits_of(&mut self, id: NodeId) -> StoreLimits {
        let chance = &mut self.chance;
        let history = *self.limits.entry(id).or_insert_with(|| {
            let usual = HistoryLimits::default();
            let bytes_max = chance.one_of(&[0, 500, 5_000, usual.bytes_max, usual.bytes_max]);
            let age_ms_max = chance.one_of(&[300, 3_000, usual.age_ms_max, usual.age_ms_max, usual.age_ms_max]);
            // Runs here delete few keys at once. So some nodes keep even those as a block.
            let run_versions_min = [1, 2, usual.run_versions_min][(id.0 % 3) as usize];
            HistoryLimits { bytes_max, age_ms_max, run_versions_min }
        });
        StoreLimits { history, ..StoreLimits::default() }
    }

    fn keeps_everything(&self, id: NodeId) -> bool {
        let usual = HistoryLimits::default();
        self.limits
            .get(&id)
            .is_none_or(|limits| (limits.bytes_max, limits.age_ms_max) == (usual.bytes_max, usual.age_ms_max))
    }
}

impl Watcher {
    fn draw(chance: &mut Chance) -> Self {
        let key = |chance: &mut Chance| Bytes::from(format!("k{}", chance.within(0..7)));
        let ranges = match chance.within(0..5) {
            0 => vec![KeyRange::of_key(&key(chance)), KeyRange::of_prefix(b"l0/")],
            1 => vec![KeyRange::of_key(&key(chance)), KeyRange { from: key(chance), to: Some("k5".into()) }],
            2 => vec![KeyRange::of_prefix(b"k")],
            _ => vec![KeyRange::ALL],
        };
        let every = chance.one_of(&[5 * MS, 50 * MS, 50 * MS, 600 * MS]);
        Self { ranges, cluster: 0, next: 2, at: None, installed: 0, every }
    }
}

impl World {
    pub(crate) fn watch_all_later(&mut self) {
        for id in 0..self.watchers.all.len() {
            self.watch_later(id);
        }
    }

    fn watch_later(&mut self, id: WatcherId) {
        let Watchers { chance, all, .. } = &mut self.watchers;
        let at = self.now + 1 + chance.exponential(all[id].every);
        self.queue.schedule(at, Event::WatcherTurn(id));
    }

    /// Notes what a process knows of the past when it begins, or when it has installed a snapshot.
    pub(super) fn past_begins(&mut self, id: NodeId) {
        let Some(process) = self.nodes[&id].process() else { return };
        let store = process.replica.store().read().expect("nothing panics while it holds the store");
        let (life, oldest) = (process.life, store.oldest_change());
        drop(store);
        self.watchers.begun_with.insert((id, life), oldest);
    }

    /// Lets a watcher hear from its node, or go to another one.
    pub(super) fn watcher_turn(&mut self, id: WatcherId) -> Checked {
        self.watch_later(id);
        let there = self.watchers.all[id].at;
        let is_there = |world: &Self, (node, life): (NodeId, Life)| {
            world.is_life(node, life) && !world.stands_still(node) && !world.network.is_hidden(node)
        };
        let stays = there.is_some_and(|there| is_there(self, there)) && !self.watchers.chance.percent(3);
        if !stays {
            let all = self.all_nodes();
            let node = self.watchers.chance.one_of(&all);
            let life = self.nodes[&node].process().map(|process| process.life);
            self.watchers.all[id].at = life.map(|life| (node, life)).filter(|there| is_there(self, *there));
            if self.watchers.all[id].at.is_none() {
                return Ok(());
            }
            self.coverage.count(Kind::WatchElsewhere);
        }
        let Some((node, life)) = self.watchers.all[id].at else { return Ok(()) };
        let at_once = self.watchers.chance.one_of(&[1, 3, 100]);
        let Self { watchers, nodes, invariants, coverage, .. } = self;
        let keeps_everything = watchers.keeps_everything(node);
        let begun_with = watchers.begun_with.get(&(node, life)).copied();
        let watcher = &mut watchers.all[id];
        let Some(process) = nodes[&node].process() else { return Ok(()) };
        let cluster = process.cluster.id;
        ensure!(NAME, [0, cluster].contains(&watcher.cluster), "n{} is of another cluster than before", node.0);
        watcher.cluster = cluster;
        let store = process.replica.store().read().expect("nothing panics while it holds the store");
        let newest = store.revision();
        if watcher.next > newest + 1 {
            coverage.count(Kind::WatchAhead);
            watcher.at = None;
            return Ok(());
        }
        let next = watcher.next;
        match told(&store, watcher, at_once) {
            Ok((changes, last)) => {
                let expected = expected(&invariants.model, &watcher.ranges, next, last);
                ensure!(
                    NAME,
                    changes == expected,
                    "n{} tells of {next} to {last}: {changes:?}, and what happened is {expected:?}",
                    node.0
                );
                coverage.add(Kind::WatchChange, changes.len() as u64);
                let is_past_of_snapshot = begun_with.is_some_and(|begun| begun > 2) && next <= last;
                if is_past_of_snapshot && watcher.installed < life {
                    coverage.count(Kind::WatchAfterSnapshot);
                }
                watcher.installed = life;
                watcher.next = last + 1;
            }
            Err(Forgotten { oldest }) => {
                let model = &invariants.model;
                let may_be = next < oldest && oldest <= newest + 1;
                ensure!(NAME, may_be, "n{} has forgotten {next}, and knows from {oldest} on to {newest}", node.0);
                let had = begun_with.unwrap_or(2).max(model.compacted());
                ensure!(
                    NAME,
                    !keeps_everything || oldest <= had,
                    "n{} has forgotten {next}, and knew everything from {had} on, with room for more",
                    node.0
                );
                coverage.count(Kind::WatchCompacted);
                let found = items_in(&store, &watcher.ranges);
                let expected = model.items_at(newest, &watcher.ranges);
                ensure!(
                    NAME,
                    found == expected,
                    "n{} begins anew at {newest} with {found:?}, not {expected:?}",
                    node.0
                );
                watcher.next = newest + 1;
            }
        }
        Ok(())
    }

    /// Makes the state of a node that of a new cluster, in a copy, as `kvd restore` does, and checks that nobody takes
    /// the past of the old cluster for the future of the new one: no position of a watcher goes on there, all revisions
    /// are beyond those of the old cluster, and the time of each lease begins anew.
    pub(super) fn check_refounding(&mut self) -> Checked {
        let settled: Vec<NodeId> = self.healthy().map(|node| node.id).collect();
        let Some(id) = self.watchers.chance.any_of(&settled) else { return Ok(()) };
        let Some(copy) = self.copy_store(id)? else { return Ok(()) };
        let model = &self.invariants.model;
        let before = model.revision();
        let mut refounded = copy;
        let time_ms = self.nodes[&id].process().map_or(0, |process| process.replica.raft().log().last_time().0);
        refounded.refound(time_ms);
        ensure!(
            NAME,
            refounded.revision() > before && refounded.revision() % (1 << 40) == 0,
            "a new cluster is made at {}, from an old one at {before}",
            refounded.revision()
        );
        for position in self.watchers.all.iter().map(|watcher| watcher.next).chain([before + 1]) {
            let goes_on = refounded.changes(ChangePlace::before(position)).is_ok();
            ensure!(NAME, !goes_on, "a watcher of the old cluster goes on at {position} in a new one");
        }
        let items: Vec<_> = items_in(&refounded, &[KeyRange::ALL]);
        let expected = model.items_at(before, &[KeyRange::ALL]);
        ensure!(NAME, items == expected, "a new cluster begins with {items:?}, made from {expected:?}");
        let now_ms = refounded.time_ms().max(time_ms);
        for (id, lease) in model.present_leases() {
            let found = refounded.lease(*id, None).map(|(lease, _)| lease.ends_ms);
            let expected = Some(now_ms + lease.ttl_ms);
            ensure!(NAME, found == expected, "lease {id} ends at {found:?} in a new cluster, not at {expected:?}");
        }
        self.coverage.count(Kind::Refounded);
        Ok(())
    }

    /// Copies the store of a node as a backup does, without the history.
    fn copy_store(&self, id: NodeId) -> Result<Option<Store>, super::invariants::Violation> {
        let Some(process) = self.nodes[&id].process() else { return Ok(None) };
        let mut store = process.replica.store().write().expect("nothing panics while it holds the store");
        let Ok(summary) = store.begin_snapshot() else { return Ok(None) };
        let mut restoring =
            Restoring::new(summary).map(|restoring| restoring.with_session_limits(self.plan.session_limits));
        while let Ok(Some(piece)) = store.snapshot_piece(4_000) {
            restoring = restoring.and_then(|mut restoring| restoring.piece(&piece).map(|()| restoring));
        }
        drop(store.end_snapshot());
        let copy = restoring.and_then(Restoring::finish);
        ensure!(NAME, copy.is_ok(), "the copy of the state of n{} is {:?}", id.0, copy.err());
        Ok(copy.ok())
    }
}

/// Returns the changes in the ranges of a watcher from its position on, of so many revisions at most, and the last
/// revision of them.
fn told(store: &Store, watcher: &Watcher, revisions_max: usize) -> Result<(Vec<Told>, Revision), Forgotten> {
    let (mut told, mut revisions, mut last) = (Vec::new(), 0, store.revision());
    let mut previous = None;
    for change in store.changes(ChangePlace::before(watcher.next))? {
        if previous != Some(change.revision) {
            if revisions == revisions_max {
                last = change.revision - 1;
                break;
            }
            (previous, revisions) = (Some(change.revision), revisions + 1);
        }
        if watcher.ranges.iter().any(|range| range.contains(change.key)) {
            let (before, after) = (change.before.map(|item| item.to_item()), change.after.map(|item| item.to_item()));
            told.push((change.revision, Bytes::copy_from_slice(change.key), before, after));
        }
    }
    // The order of keys within a revision means nothing.
    told.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    Ok((told, last))
}

fn expected(model: &Model, ranges: &[KeyRange], first: Revision, last: Revision) -> Vec<Told> {
    let changes = (first..=last).flat_map(|revision| {
        model
            .changes_at(revision, ranges)
            .map(move |(key, before, after)| (revision, key.clone(), before.cloned(), after.cloned()))
    });
    changes.collect()
}

fn items_in(store: &Store, ranges: &[KeyRange]) -> Vec<(Bytes, Item)> {
    let all = store.range_from(Bound::Unbounded).filter(|(key, _)| ranges.iter().any(|range| range.contains(key)));
    all.map(|(key, item)| (Bytes::copy_from_slice(key), item.to_item())).collect()
}
