//! Requests that reach a node from outside, and its answers.

use super::client::{AttemptId, Reply};
use super::coverage::Kind;
use super::events::{Ask, Event};
use super::invariants::{Answers, Checked, Invariants, Violation, cluster_time, ensure};
use super::network::Envelope;
use super::node::{Asked, Input};
use super::queries::{Answered, Query};
use super::world::World;
use kvd::kv::Outcome;
use kvd::node::{ReadError, WriteError};
use kvd::peer;
use kvd::raft::{ClusterTime, NodeId, RoleName};

/// Slack within which a node answers after its time limit: timers are checked only at intervals. Milliseconds of its
/// own clock.
const ANSWER_SLACK_MS: u64 = 100;

impl World {
    pub(super) fn arrive(&mut self, envelope: &Envelope) -> Checked {
        let Envelope { from, to, frame, garbled } = envelope;
        if !self.network.works((*from, *to), self.now) {
            self.coverage.count(Kind::MessageLost);
            return Ok(());
        }
        if self.is_removed_for(*to, *from) {
            self.tell_removed(*from);
            return Ok(());
        }
        match peer::decode(frame) {
            Ok(message) => {
                ensure!("Checked Frames", !garbled, "a garbled frame from n{} is read as {message:?}", from.0);
                self.trace.message("  arrives: ", *from, *to, &message);
                // Two frames with the same checksum have the same content.
                let checksum = frame[1..5].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                self.trace.mix_all(&[from.0, message.term.0, checksum]);
                if self.network.is_loose() {
                    // There are no streams, at the start of which nodes announce the levels that they know.
                    self.is_told(*to, *from);
                }
                self.input(*to, Input::Message(*from, message))
            }
            Err(error) => {
                ensure!("Sensible Messages", garbled, "a frame from n{} is not read: {error}", from.0);
                Ok(())
            }
        }
    }

    /// Refuses the connection of a node that is no longer a member, and tells it why.
    pub(super) fn tell_removed(&mut self, id: NodeId) {
        if let Some(process) = self.nodes[&id].process() {
            let life = process.life;
            self.coverage.count(Kind::ToldRemoved);
            self.queue.schedule(self.now + self.network.delay(&mut self.chance), Event::ToldRemoved(id, life));
        }
    }

    /// Returns whether one node knows for certain that another is no longer a member.
    pub(super) fn is_removed_for(&self, id: NodeId, other: NodeId) -> bool {
        let raft = self.nodes[&id].raft();
        raft.is_some_and(|raft| raft.are_members_settled() && raft.configuration().removed.contains(&other))
    }

    pub(super) fn request(&mut self, to: NodeId, attempt: AttemptId, ask: Ask) -> Checked {
        if self.nodes[&to].process().is_some() {
            return self.input(to, Input::Request(attempt, ask));
        }
        if let Ask::Write(command) = &ask
            && let Some(request) = &command.request
        {
            self.invariants.answers.refused(request)?;
        }
        self.reply_later(attempt, Reply::Refused);
        Ok(())
    }

    /// Takes a request that has its answer: each gets exactly one.
    pub(super) fn take_asked(&mut self, id: NodeId, attempt: AttemptId) -> Result<Asked, Violation> {
        let asked = self.process(id).and_then(|process| process.asked.remove(&attempt));
        let twice = || Violation {
            invariant: "Honest Answers",
            what: format!("n{} answers request {attempt}, which it was not asked, or has answered", id.0),
        };
        asked.ok_or_else(twice)
    }

    pub(super) fn write_ends(
        &mut self,
        id: NodeId,
        attempt: AttemptId,
        result: Result<Outcome, WriteError>,
    ) -> Checked {
        let Asked { ask, place, .. } = self.take_asked(id, attempt)?;
        let Ask::Write(command) = ask else { unreachable!("a write was asked for") };
        let request = command.request.as_ref();
        let index = place.map(|(index, _)| index);
        match &result {
            Ok(outcome) => {
                let Invariants { answers, locks, model, .. } = &mut self.invariants;
                locks.acknowledged(&command, outcome, index, model)?;
                match request {
                    Some(request) => {
                        answers.acknowledged(request, outcome, model)?;
                        if answers.is_repeated(request) {
                            self.coverage.count(Kind::RepeatAnswered);
                        }
                    }
                    None => Answers::acknowledged_unnamed(&command.operation, index, outcome, model)?,
                }
            }
            Err(WriteError::OutcomeUnknown) => {}
            Err(refused) => {
                match refused {
                    WriteError::Superseded => self.coverage.count(Kind::Superseded),
                    WriteError::TransferringLeadership => self.coverage.count(Kind::WriteDuringLeadershipTransfer),
                    _ => {}
                }
                if let Some(request) = request {
                    self.invariants.answers.refused(request)?;
                }
                if let Some(place) = place {
                    self.invariants.entry_refused(place)?;
                }
            }
        }
        self.trace.note(|| format!("n{} answers {command:?}: {result:?}", id.0));
        self.reply_later(attempt, Reply::Written(result, index));
        Ok(())
    }

    pub(super) fn read_ends(
        &mut self,
        id: NodeId,
        attempt: AttemptId,
        result: Result<Option<ClusterTime>, ReadError>,
    ) -> Checked {
        let Asked { ask, floor, floor_time, .. } = self.take_asked(id, attempt)?;
        let Ask::Read(query) = ask else { unreachable!("a read was asked for") };
        let result = match result {
            Ok(time) => {
                cluster_time::check_read(id, time, floor_time)?;
                let leads = self.nodes[&id].role() == Some(RoleName::Leader);
                if leads && self.leaders().len() > 1 {
                    self.coverage.count(Kind::ReadWhileTwoLead);
                }
                self.coverage.count(if leads { Kind::LeaderRead } else { Kind::FollowerRead });
                let Some(answered) = self.ask_store(id, &query) else { return Ok(()) };
                self.invariants.reads.linearizable(id, &answered, floor, &self.invariants.model)?;
                Ok(Box::new(answered))
            }
            Err(error) => Err(error),
        };
        self.trace.note(|| format!("n{} answers {query:?}: {result:?}", id.0));
        self.reply_later(attempt, Reply::Read(result));
        Ok(())
    }

    /// Reads the store of a node.
    fn ask_store(&self, id: NodeId, query: &Query) -> Option<Answered> {
        let replica = &self.nodes[&id].process()?.replica;
        let store = replica.store().read().expect("nothing panics while it holds the store");
        Some(Answered {
            query: query.clone(),
            answer: query.ask(&store),
            revision: store.revision(),
            applied: replica.raft().log().applied_index(),
            oldest: store.oldest_change(),
        })
    }

    pub(super) fn stale_read(&mut self, id: NodeId, attempt: AttemptId) -> Checked {
        let Ask::StaleRead(query) = self.take_asked(id, attempt)?.ask else {
            unreachable!("a stale read was asked for")
        };
        let Some(process) = self.nodes[&id].process() else { return Ok(()) };
        let life = process.life;
        let revision = process.replica.store().read().expect("nothing panics while it holds the store").revision();
        if query.at().is_some_and(|at| at > revision) {
            // The server would wait until it has got there.
            self.reply_later(attempt, Reply::Read(Err(ReadError::NoLeader)));
            return Ok(());
        }
        let Some(answered) = self.ask_store(id, &query) else { return Ok(()) };
        let Invariants { reads, model, .. } = &mut self.invariants;
        reads.stale((id, life), &answered, model)?;
        self.coverage.count(Kind::StaleRead);
        self.reply_later(attempt, Reply::Read(Ok(Box::new(answered))));
        Ok(())
    }

    /// Checks that every request is answered in time, whatever its outcome.
    pub(super) fn check_answers_in_time(&mut self, id: NodeId) -> Checked {
        let node = &self.nodes[&id];
        let time = node.time(self.now);
        let Some(process) = node.process() else { return Ok(()) };
        // A deferred effect may hold an answer.
        if process.will_carry_out {
            return Ok(());
        }
        if let Some((attempt, Asked { since, .. })) = process.asked.first_key_value() {
            let waited = time.ms_since(*since);
            let allowed = self.plan.request_timeout_ms + ANSWER_SLACK_MS;
            ensure!("Bounded Answers", waited <= allowed, "n{} has not answered {attempt} for {waited} ms", id.0);
        }
        Ok(())
    }
}
