//! Observations of clients, and the check whether a correct cluster could have produced them.

use super::clock::Clock;
use super::keys::{KeyNames, seen};
use super::notes::{Life, NodeRead, Notes, Revision};
use crate::linearizability::{Answer, Call, Moment, Operation, Value, check};
use crate::processes::{Cluster, Node};
use kvclient::Item;
use kvclient::api::GetReply;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

/// Observations of all clients.
pub struct History {
    clock: Clock,
    names: KeyNames,
    notes: Notes,
}

impl History {
    pub(super) fn new(clock: Clock, names: KeyNames, notes: Notes) -> Self {
        Self { clock, names, notes }
    }

    /// Returns how many linearizable reads the readers pinned to the node began within this time, and how many of these
    /// the node answered within it.
    pub fn reads_at(&self, node: usize, during: &Range<Moment>) -> (usize, usize) {
        let begun = |read: &&NodeRead| read.node == node && during.contains(&read.invoked);
        let asked = self.notes.node_reads.iter().filter(begun);
        let answered = asked.clone().filter(|read| read.answered && during.contains(&read.returned));
        (asked.count(), answered.count())
    }

    /// Returns the number of linearizable reads by readers pinned to the node that had begun at this moment and had no
    /// answer yet.
    pub fn reads_under_way(&self, node: usize, moment: Moment) -> usize {
        let reads = self.notes.node_reads.iter().filter(|read| read.node == node);
        reads.filter(|read| (read.invoked..read.returned).contains(&moment)).count()
    }

    /// Checks that all observations can be explained, together with the final contents of the nodes, which must be the
    /// same on each. All nodes must be running.
    #[track_caller]
    pub fn check(self, cluster: &Cluster) {
        println!("{self}");
        self.judge(cluster);
    }

    /// Does the same without printing.
    #[track_caller]
    pub fn judge(mut self, cluster: &Cluster) {
        cluster.converge();
        let client = cluster.client();
        for (key, name) in self.names.all() {
            let invoked = self.clock.now();
            let item = client.get(&name).expect("the cluster serves");
            let returned = Some(self.clock.now());
            for node in &cluster.nodes {
                assert_eq!(read_stale(node, &name), item, "{} holds another {name} than the leader", node.name);
            }
            let answer = Some(Answer::Found(item.as_ref().map(seen)));
            self.notes.operations.push(Operation { key, invoked, returned, call: Call::Get, answer });
        }
        if let Err(violation) = check(&self.notes.operations) {
            panic!("{violation}");
        }
        self.check_revisions();
        self.check_stale_reads();
    }

    /// Checks that the revision of the store never went back from one operation to a later one, and that each change
    /// has its own revision.
    fn check_revisions(&self) {
        let mut changes = BTreeSet::new();
        for revision in self.notes.revisions.iter().filter(|revision| revision.changed) {
            assert!(changes.insert(revision.revision), "two changes at one revision: {revision:?}");
        }
        let mut by_return: Vec<&Revision> = self.notes.revisions.iter().collect();
        by_return.sort_by_key(|revision| revision.returned);
        let mut by_invocation = by_return.clone();
        by_invocation.sort_by_key(|revision| revision.invoked);
        let mut over = by_return.into_iter().peekable();
        let mut highest: Option<&Revision> = None;
        for revision in by_invocation {
            while let Some(earlier) = over.next_if(|earlier| earlier.returned < revision.invoked) {
                highest = highest.filter(|highest| highest.revision >= earlier.revision).or(Some(earlier));
            }
            let floor = highest.map_or(0, |highest| highest.revision);
            assert!(revision.revision >= floor, "{revision:?} after {highest:?}");
        }
    }

    /// Checks that stale reads saw a value that a client had written by then, with the revision and version that all
    /// clients saw, and that no node went back within one incarnation.
    fn check_stale_reads(&self) {
        let writes = self.notes.operations.iter().filter_map(|operation| match operation.call {
            Call::Set { value, .. } => Some((value, operation)),
            Call::Get | Call::Delete { .. } => None,
        });
        let writes: BTreeMap<Value, &Operation> = writes.collect();
        let mut items: BTreeMap<Value, &Item> = BTreeMap::new();
        let mut revisions: BTreeMap<Life, u64> = BTreeMap::new();
        let mut last_seen: BTreeMap<(Life, u64), u64> = BTreeMap::new();
        for read in &self.notes.stale_reads {
            if let Some(item) = &read.item {
                let value = seen(item).value;
                let written =
                    writes.get(&value).filter(|write| write.key == read.key && write.invoked <= read.returned);
                assert!(written.is_some(), "nobody had written this by then: {read:?}");
                let first = *items.entry(value).or_insert(item);
                assert_eq!(first, item, "one write, seen in two ways");
            }
            let Some((life, revision)) = read.life else { continue };
            if let (Some(revision), Some(item)) = (revision, &read.item) {
                let floor = revisions.entry(life).or_default();
                assert!(revision >= *floor, "the store went back from revision {floor}: {read:?}");
                *floor = revision;
                let floor = last_seen.entry((life, read.key)).or_default();
                assert!(item.mod_revision >= *floor, "the key went back from revision {floor}: {read:?}");
                *floor = item.mod_revision;
            }
        }
    }
}

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Notes { operations, stale_reads, node_reads, acknowledged, at_one_node, unknown, refused, .. } =
            &self.notes;
        let reads = node_reads.iter().filter(|read| read.answered).count();
        write!(
            f,
            "{} operations: {acknowledged} writes acknowledged ({at_one_node} written at one node), {unknown} unknown, {refused} refused; {reads} of {} reads \
             from one node answered; {} stale reads",
            operations.len(),
            node_reads.len(),
            stale_reads.len()
        )
    }
}

/// Returns the item that a node holds by itself.
fn read_stale(node: &Node, name: &str) -> Option<Item> {
    let reply = node.get(&format!("/get?consistency=stale&key={name}")).expect("it answers");
    match reply.status {
        200 => Some(reply.json::<GetReply>().item),
        404 => None,
        status => panic!("{}: {status} {}", node.name, reply.text()),
    }
}
