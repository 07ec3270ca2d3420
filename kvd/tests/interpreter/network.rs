//! The messages in flight between nodes, and the links that are cut.

use kvd::raft::{Message, NodeId};
use std::collections::BTreeSet;
use testkit::notation::{Name, kind};

/// A message in flight.
#[derive(Clone)]
pub(crate) struct Envelope {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) message: Message,
}

/// Messages in flight, in the order in which they were sent.
#[derive(Default)]
pub(crate) struct Network {
    on_their_way: Vec<Envelope>,
    set_aside: Vec<Envelope>,
    /// Links that lose everything, from sender to receiver.
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// Selects the messages of a command: those that match all of it, the oldest first.
#[derive(Default)]
pub(crate) struct Selection<'a> {
    /// To one of these nodes; to any node if empty.
    pub(crate) to: &'a [Name],
    pub(crate) from: Option<Name>,
    /// Kind of the message; see [`kind`].
    pub(crate) kind: Option<&'a str>,
    /// At most this many.
    pub(crate) count: Option<usize>,
}

impl Selection<'_> {
    fn fits(&self, envelope: &Envelope) -> bool {
        (self.to.is_empty() || self.to.contains(&Name(envelope.to)))
            && self.from.is_none_or(|from| from.0 == envelope.from)
            && self.kind.is_none_or(|wanted| kind(&envelope.message) == wanted)
    }
}

impl Network {
    /// Sends a message. Returns whether it is in flight, rather than lost on a link that is cut.
    pub(crate) fn send(&mut self, envelope: Envelope) -> bool {
        let arrives = !self.cut.contains(&(envelope.from, envelope.to));
        if arrives {
            self.on_their_way.push(envelope);
        }
        arrives
    }

    pub(crate) fn on_their_way(&self) -> &[Envelope] {
        &self.on_their_way
    }

    /// Takes messages off the network.
    pub(crate) fn take(&mut self, selection: &Selection<'_>) -> Vec<Envelope> {
        let mut left = selection.count.unwrap_or(usize::MAX);
        let wanted = |envelope: &mut Envelope| {
            let take = left > 0 && selection.fits(envelope);
            left -= usize::from(take);
            take
        };
        self.on_their_way.extract_if(.., wanted).collect()
    }

    /// Appends a copy of each of them to the messages in flight.
    pub(crate) fn duplicate(&mut self, selection: &Selection<'_>) -> Vec<Envelope> {
        let fitting = self.on_their_way.iter().filter(|envelope| selection.fits(envelope));
        let copies: Vec<Envelope> = fitting.take(selection.count.unwrap_or(usize::MAX)).cloned().collect();
        self.on_their_way.extend(copies.iter().cloned());
        copies
    }

    /// Delays messages until [`Network::put_back`].
    pub(crate) fn set_aside(&mut self, selection: &Selection<'_>) -> Vec<Envelope> {
        let taken = self.take(selection);
        self.set_aside.extend(taken.iter().cloned());
        taken
    }

    /// Returns all delayed messages to the network, behind those in flight.
    pub(crate) fn put_back(&mut self) {
        self.on_their_way.append(&mut self.set_aside);
    }

    /// From now on everything from `from` to `to` is lost, including messages in flight.
    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
        self.on_their_way.retain(|envelope| (envelope.from, envelope.to) != (from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
