//! Member changes as they are requested over HTTP: by node name, sent to the leader or to a node believed to be the
//! leader, and retried when an answer is lost. The nodes decide with the server's own code ([`MemberChanges`]).
//!
//! The rules:
//! - A success answer was true, and committed, at some moment between request and answer; so was an answer of
//!   "no such member" or "was removed". A deposed leader may not answer from memory.
//! - A refused change has not happened through this request, and never will.
//! - Only nodes that had the name when the request was first checked are removed or promoted, and a replacement leaves
//!   the number of voters unchanged.
//! - Every request is answered in time.

use super::admissions::ANSWER_TIMEOUT;
use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::{ChangeAsked, Checked, Violation, ensure};
use super::linearizability::Moment;
use super::members::{after, survives};
use super::node::{Input, Node};
use super::world::World;
use kvd::bootstrap::{Answer, JoinNews};
use kvd::node::{ChangeError, MemberChange, MemberChanges};
use kvd::raft::{Configuration, Instant, LogIndex, MemberInfo, NodeId, RoleName, Term};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "Changes on Request";

const MS: Micros = 1_000;

/// Times that an operator repeats a request.
const TRIES_MAX: u32 = 5;

/// Slack within which a node answers after its time limit. Milliseconds of its own clock.
const ANSWER_SLACK_MS: u64 = 100;

/// Identifies one sending of one request.
pub(crate) type ChangeId = u64;

/// An answer, with the request that it answers.
pub(crate) type ChangeAnswer = (ChangeId, Result<(), ChangeError>);

/// An event of such a request.
#[derive(Clone, Debug)]
pub(crate) enum ChangeEvent {
    /// It arrives at a node.
    Arrives(NodeId, ChangeId),
    /// Its answer arrives.
    Answered(ChangeId, Result<(), ChangeError>),
    /// The caller has waited for long enough.
    TimedOut(ChangeId),
    /// The caller repeats the request.
    Again(MemberChange, u32),
}

/// All requests that a caller waits for or that may still take effect, and the configurations committed meanwhile.
#[derive(Debug, Default)]
pub(crate) struct MemberRequests {
    sent: ChangeId,
    open: BTreeMap<ChangeId, Asked>,
    /// The configurations that were in force, each with the moment from which it was.
    history: Vec<(Moment, Configuration)>,
}

#[derive(Debug)]
struct Asked {
    change: MemberChange,
    tries: u32,
    at: Moment,
    /// Time of its arrival, by the clock of the node that it was sent to.
    since: Instant,
    /// Nodes that had the named names when a leader first checked the request: those to become voters, and those to
    /// remove.
    named: Option<(BTreeSet<NodeId>, BTreeSet<NodeId>)>,
    /// Entries by which it has begun, in order.
    begun: Vec<(LogIndex, Term)>,
    /// The caller no longer waits.
    is_given_up: bool,
    /// The node that asks to be admitted, and the number of its question.
    admits: Option<(NodeId, u64)>,
}

fn called(configuration: &Configuration, name: &str) -> BTreeSet<NodeId> {
    configuration.members.iter().filter(|(_, info)| info.name == name).map(|(id, _)| *id).collect()
}

/// Returns the nodes that would vote and those that would be removed.
fn named_in(change: &MemberChange, configuration: &Configuration) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
    let called = |name: &str| called(configuration, name);
    match change {
        MemberChange::Add { .. } | MemberChange::Update { .. } => Default::default(),
        MemberChange::Promote { name } => (called(name), BTreeSet::new()),
        MemberChange::Remove { name, .. } => (BTreeSet::new(), called(name)),
        MemberChange::Replace { old, new } => (called(new), called(old)),
    }
}

/// Returns whether the change is in effect in one of these consecutive configurations.
fn is_so(change: &MemberChange, configurations: &[&Configuration]) -> bool {
    let votes = |configuration: &Configuration, name: &str| {
        called(configuration, name).iter().any(|id| configuration.voters.contains(id))
    };
    let is_gone = |configuration: &Configuration, name: &str| {
        let mut had_it = configurations.iter().flat_map(|before| called(before, name));
        called(configuration, name).is_empty() || had_it.any(|id| !configuration.members.contains_key(&id))
    };
    configurations.iter().any(|configuration| match change {
        MemberChange::Add { node, name, .. } => {
            configuration.members.get(&NodeId(*node)).is_some_and(|info| info.name == *name)
        }
        MemberChange::Promote { name } => votes(configuration, name),
        MemberChange::Update { name, client_url, peer_url } => {
            let is_at = |wanted: &Option<String>, url: &String| wanted.as_ref().is_none_or(|wanted| wanted == url);
            called(configuration, name).iter().any(|id| {
                let info = &configuration.members[id];
                is_at(client_url, &info.client_url) && is_at(peer_url, &info.peer_url)
            })
        }
        MemberChange::Remove { name, .. } => is_gone(configuration, name),
        MemberChange::Replace { old, new } => votes(configuration, new) && is_gone(configuration, old),
    })
}

impl World {
    /// Asks this node for a member change.
    pub(super) fn ask_for(&mut self, to: NodeId, change: MemberChange, tries: u32) {
        let request = self.open_request(to, change, tries, None);
        if !self.network.loses_client_message(to, &mut self.chance) {
            let at = self.now + self.network.delay(&mut self.chance);
            self.queue.schedule(at, Event::Change(ChangeEvent::Arrives(to, request)));
        }
        let patience = self.chance.within(200 * MS..8_000 * MS);
        self.queue.schedule(self.now + patience, Event::Change(ChangeEvent::TimedOut(request)));
    }

    /// Does the same with a request that arrives after this time, for a caller that waits as long as it takes.
    pub(super) fn ask_patiently(&mut self, to: NodeId, change: MemberChange, after: Micros) {
        let request = self.open_request(to, change, TRIES_MAX, None);
        self.queue.schedule(self.now + after, Event::Change(ChangeEvent::Arrives(to, request)));
    }

    /// Asks a node to admit another node.
    pub(super) fn ask_for_admission(&mut self, to: NodeId, change: MemberChange, asker: (NodeId, u64)) {
        let request = self.open_request(to, change, 0, Some(asker));
        let at = self.now + self.network.delay(&mut self.chance);
        self.queue.schedule(at, Event::Change(ChangeEvent::Arrives(to, request)));
        self.queue.schedule(self.now + ANSWER_TIMEOUT, Event::Change(ChangeEvent::TimedOut(request)));
    }

    fn open_request(
        &mut self,
        to: NodeId,
        change: MemberChange,
        tries: u32,
        admits: Option<(NodeId, u64)>,
    ) -> ChangeId {
        self.note_configuration();
        let requests = &mut self.member_requests;
        requests.sent += 1;
        let (request, at) = (requests.sent, self.moment);
        self.trace.note(|| format!("n{} is to be asked for {change:?}, request {request}", to.0));
        let asked =
            Asked { change, tries, at, since: Instant(0), named: None, begun: Vec::new(), is_given_up: false, admits };
        requests.open.insert(request, asked);
        if tries > 0 {
            self.coverage.count(Kind::ChangeRepeated);
        }
        request
    }

    /// Draws a request of the operator.
    pub(super) fn draw_request(&mut self, configuration: &Configuration) -> Option<MemberChange> {
        let name_of = |id: &NodeId| configuration.members[id].name.as_str();
        let all: Vec<&str> = configuration.members.keys().map(name_of).collect();
        let learners: Vec<&str> = configuration.learners.keys().map(name_of).collect();
        let (any, learner) = (self.chance.any_of(&all)?, self.chance.any_of(&learners));
        if let Some(id) = self.chance.any_of(&configuration.removed).filter(|_| self.chance.percent(10)) {
            // Its process may still run, and its operator may know nothing of the removal.
            return Some(addition(&self.nodes[&id], false, false));
        }
        let any = if self.chance.percent(5) { "n99" } else { any };
        let name = any.to_owned();
        Some(match self.chance.within(0..10) {
            0..3 => match learner {
                Some(learner) => MemberChange::Promote { name: learner.to_owned() },
                None if self.member_requests.sent.is_multiple_of(2) => self.move_of(name),
                None => MemberChange::Promote { name },
            },
            3..7 => MemberChange::Remove { name, force: self.chance.percent(15) },
            _ => {
                let new = learner.filter(|_| self.chance.percent(80)).or_else(|| self.chance.any_of(&all))?;
                // HTTP refuses such a request earlier.
                (new != any).then_some(MemberChange::Replace { old: name, new: new.to_owned() })?
            }
        })
    }

    /// Returns the request to record other URLs of a member, which lead to it like its own.
    fn move_of(&self, name: String) -> MemberChange {
        // The member of that name may be another node than the first that had it.
        let members = self.last_configuration().into_iter().flat_map(|configuration| &configuration.members);
        let named = members.filter(|(_, info)| info.name == name).map(|(id, _)| id.0).next();
        let host = named.map_or_else(|| name.clone(), |id| format!("n{id}"));
        let url = format!("http://{host}.u{}", self.member_requests.sent);
        MemberChange::Update { name, client_url: Some(url.clone()), peer_url: Some(url) }
    }

    /// Asks a deposed leader that does not know it yet for a change that is in effect as far as it knows, and no longer
    /// is.
    pub(super) fn ask_the_deposed(&mut self) {
        let Some(deposed) = self.deposed_leader() else { return };
        let (Some(raft), Some(committed)) = (self.nodes[&deposed].raft(), self.last_configuration()) else { return };
        let known = raft.configuration();
        let mut asked = Vec::new();
        for id in known.members.keys().filter(|id| !committed.members.contains_key(id)) {
            asked.push(addition(&self.nodes[id], true, false));
        }
        for (id, MemberInfo { name, .. }) in &committed.members {
            if called(known, name).is_empty() {
                asked.push(MemberChange::Remove { name: name.clone(), force: false });
            } else if known.learners.contains_key(id) != committed.learners.contains_key(id) {
                asked.push(MemberChange::Promote { name: name.clone() });
            }
        }
        let asked: Vec<&MemberChange> = asked.iter().collect();
        if let Some(change) = self.chance.any_of(&asked).cloned() {
            self.coverage.count(Kind::DeposedAsked);
            self.ask_for(deposed, change, 0);
        }
    }

    /// Returns the node that an operator takes for the leader.
    pub(super) fn whom_to_ask(&mut self) -> NodeId {
        let leaders = self.leaders();
        match self.chance.any_of(&leaders) {
            Some(leader) if self.chance.percent(85) => leader,
            _ => self.any_node(),
        }
    }

    pub(super) fn change_event(&mut self, event: ChangeEvent) -> Checked {
        match event {
            ChangeEvent::Arrives(to, request) => self.input(to, Input::AskMembers(request)),
            ChangeEvent::Answered(request, answer) => {
                self.change_answered(request, &answer);
                Ok(())
            }
            ChangeEvent::TimedOut(request) => {
                if let Some(asked) = self.member_requests.open.get_mut(&request)
                    && !asked.is_given_up
                {
                    asked.is_given_up = true;
                    let (change, tries) = (asked.change.clone(), asked.tries);
                    match asked.admits {
                        Some((id, number)) => {
                            let silent = Answer::News(JoinNews::Waits("there is no answer".into()));
                            self.tell_later(id, number, silent, 0);
                        }
                        None => self.again_later(change, tries),
                    }
                }
                Ok(())
            }
            ChangeEvent::Again(change, tries) => {
                if !self.is_calm {
                    let to = self.whom_to_ask();
                    self.ask_for(to, change, tries);
                }
                Ok(())
            }
        }
    }

    fn again_later(&mut self, change: MemberChange, tries: u32) {
        // A joining node retries by itself.
        if tries + 1 < TRIES_MAX && !matches!(change, MemberChange::Add { .. }) {
            let at = self.now + self.chance.within(MS..200 * MS);
            self.queue.schedule(at, Event::Change(ChangeEvent::Again(change, tries + 1)));
        }
    }

    fn change_answered(&mut self, request: ChangeId, answer: &Result<(), ChangeError>) {
        let Some(asked) = self.member_requests.open.get_mut(&request) else { return };
        if std::mem::replace(&mut asked.is_given_up, true) {
            return;
        }
        let (change, tries) = (asked.change.clone(), asked.tries);
        let asks_again = match answer {
            Ok(()) => self.chance.percent(20),
            Err(ChangeError::NotLeader | ChangeError::NoLeader | ChangeError::OutcomeUnknown) => true,
            Err(_) => self.chance.percent(20),
        };
        if asks_again {
            self.again_later(change, tries);
        }
    }

    /// Handles a request that has arrived at a node.
    pub(super) fn members_asked(&mut self, id: NodeId, request: ChangeId) -> Checked {
        let time = self.nodes[&id].time(self.now);
        let timeout_ms = self.plan.request_timeout_ms;
        let Some(asked) = self.member_requests.open.get_mut(&request) else { return Ok(()) };
        asked.since = time;
        let change = asked.change.clone();
        let Some(process) = self.process(id) else { return Ok(()) };
        let raft = process.replica.raft();
        if raft.role() != RoleName::Leader && raft.is_removed() {
            return self.change_ends(id, request, Err(ChangeError::NoLeader));
        }
        match process.member_changes.ask(change, time.plus_ms(timeout_ms), request) {
            Ok(()) => self.after_input(id),
            Err(request) => self.change_ends(id, request, Err(ChangeError::TooMany)),
        }
    }

    /// Begins the changes that can begin, before a node carries out its effects. Returns the requests that have an
    /// answer.
    pub(super) fn go_on_with_changes(&mut self, id: NodeId) -> Result<Vec<ChangeAnswer>, Violation> {
        let (time, lost, is_calm) = (self.nodes[&id].time(self.now), self.lost(), self.is_calm);
        let Some(process) = self.nodes.get_mut(&id).and_then(Node::process_mut) else {
            return Ok(Vec::new());
        };
        let mut changes: MemberChanges<ChangeId> = std::mem::take(&mut process.member_changes);
        if changes.waiting().next().is_none() {
            return Ok(Vec::new());
        }
        let (before, voters_min) = (process.replica.raft().configuration().clone(), self.plan.voters_min());
        let open = &mut self.member_requests.open;
        // Withdraws a change that would leave decisions to lost nodes, or to too few: no sensible operator waits for
        // that.
        let waiting: Vec<ChangeId> = changes.waiting().map(|(request, ..)| *request).collect();
        let harmful = |request: &ChangeId| {
            let change = &open[request].change;
            let (promote, remove) = named_in(change, &before);
            let joins_in_the_end = is_calm && matches!(change, MemberChange::Add { .. });
            let next = after(&before, &promote, &remove);
            !joins_in_the_end && (next.voters.len() < voters_min || !survives(&next, &lost))
        };
        let withdrawn: BTreeSet<ChangeId> = waiting.iter().copied().filter(harmful).collect();
        changes.forget(|request| withdrawn.contains(request) || open[request].is_given_up);
        self.coverage.add(Kind::ChangeWithdrawn, (waiting.len() - changes.waiting().count()) as u64);
        let raft = process.replica.raft();
        let are_looked_at = raft.role() == RoleName::Leader && raft.are_members_settled();
        let order: Vec<ChangeId> = changes.waiting().map(|(request, ..)| *request).collect();
        let is_forced = |request: &ChangeId| matches!(open[request].change, MemberChange::Remove { force: true, .. });
        let asked = if order.iter().any(is_forced) { ChangeAsked::Force } else { ChangeAsked::Change };
        self.invariants.presence.asked(id, asked);
        let transferred_before = raft.transfer_target().is_some();
        let ended = changes.go_on(&mut process.replica, time);
        let raft = process.replica.raft();
        if raft.transfer_target().is_some() && !transferred_before {
            self.transferred.insert(raft.term());
            self.coverage.count(Kind::LeadershipTransferToLeave);
        }
        let next = process.replica.raft().configuration();
        // They are checked in turn, and those after one that begins wait unchecked.
        let begins = |request: &ChangeId| {
            let mut waiting = changes.waiting();
            waiting.any(|(waiting, _, begun)| {
                waiting == request && begun.is_some() && begun != open[request].begun.last().copied()
            })
        };
        let looked_at = order.iter().position(begins).map_or(order.len(), |place| place + 1);
        for request in order[..looked_at].iter().filter(|_| are_looked_at) {
            let asked = open.get_mut(request).expect("an open request");
            asked.named.get_or_insert_with(|| named_in(&asked.change, &before));
        }
        for (request, _, begun) in changes.waiting() {
            let asked = open.get_mut(request).expect("an open request");
            if let Some(place) = begun
                && asked.begun.last() != Some(&place)
            {
                asked.begun.push(place);
                self.coverage.count(Kind::ChangeBegun);
                if asked.begun.len() > 1 {
                    self.coverage.count(Kind::ChangeSuperseded);
                }
                self.trace.note(|| format!("n{} begins request {request} with entry {place:?}", id.0));
                asked.check_begun(*request, &before, next)?;
                if let MemberChange::Add { node, name, .. } = &asked.change {
                    // A member that asks again, from another address, takes no place but its own.
                    for old in called(&before, name).into_iter().filter(|old| old.0 != *node) {
                        self.invariants.presence.check_silent(raft, old)?;
                    }
                }
            }
        }
        process.member_changes = changes;
        Ok(ended)
    }

    /// Checks the answer of a node.
    pub(super) fn change_ends(&mut self, id: NodeId, request: ChangeId, answer: Result<(), ChangeError>) -> Checked {
        self.note_configuration();
        self.trace.note(|| format!("n{} answers request {request}: {answer:?}", id.0));
        let MemberRequests { open, history, .. } = &self.member_requests;
        let Asked { change, at, begun, .. } = &open[&request];
        let from = history.partition_point(|(since, _)| since <= at).saturating_sub(1);
        let in_force: Vec<&Configuration> = history[from..].iter().map(|(_, configuration)| configuration).collect();
        let begun = begun.clone();
        let what = || format!("n{} answers {change:?} with {answer:?}, and in force were {in_force:?}", id.0);
        match &answer {
            Ok(()) => {
                ensure!(NAME, is_so(change, &in_force), "{}", what());
                let kind = if begun.is_empty() { Kind::ChangeDoneAlready } else { Kind::ChangeDone };
                self.coverage.count(kind);
                if matches!(change, MemberChange::Update { .. }) {
                    self.coverage.count(Kind::UrlsRecorded);
                }
            }
            Err(ChangeError::UnknownMember(name)) => {
                let had_it: BTreeSet<NodeId> = in_force.iter().flat_map(|before| called(before, name)).collect();
                let is_unknown = |configuration: &&&Configuration| {
                    called(configuration, name).is_empty()
                        || had_it.iter().any(|id| !configuration.members.contains_key(id))
                };
                ensure!(NAME, in_force.iter().any(|configuration| is_unknown(&configuration)), "{}", what());
                self.coverage.count(Kind::ChangeOfNobody);
            }
            Err(ChangeError::WasRemoved(_)) => {
                let MemberChange::Add { node, .. } = change else { panic!("{}", what()) };
                let was_removed = in_force.iter().any(|configuration| configuration.removed.contains(&NodeId(*node)));
                ensure!(NAME, was_removed, "{}", what());
                self.coverage.count(Kind::RemovedRefused);
            }
            Err(ChangeError::NotLeader | ChangeError::NoLeader) => self.coverage.count(Kind::ChangeElsewhere),
            Err(ChangeError::Refused(_) | ChangeError::TooMany) => self.coverage.count(Kind::RequestRefused),
            Err(ChangeError::OutcomeUnknown) => self.coverage.count(Kind::ChangeUnknown),
        }
        if !matches!(answer, Ok(()) | Err(ChangeError::OutcomeUnknown)) {
            if !begun.is_empty() {
                self.coverage.count(Kind::ChangeSuperseded);
            }
            for place in begun {
                self.invariants.entry_refused(place)?;
            }
        }
        let (asked, lost) =
            (&self.member_requests.open[&request], self.network.loses_client_message(id, &mut self.chance));
        if let Some((asker, number)) = asked.admits.filter(|_| !asked.is_given_up) {
            let works = self.network.works((id, asker), self.now) && self.network.works((asker, id), self.now);
            if works && !lost {
                let answer = self.admission_answer(id, &answer);
                let after = self.network.delay(&mut self.chance);
                self.member_requests.open.get_mut(&request).expect("an open request").is_given_up = true;
                self.tell_later(asker, number, answer, after);
            }
        } else if !lost {
            let at = self.now + self.network.delay(&mut self.chance);
            self.queue.schedule(at, Event::Change(ChangeEvent::Answered(request, answer)));
        }
        Ok(())
    }

    /// Closes the connections of nodes that asked this node to admit them, since its process is gone.
    pub(super) fn close_admissions(&mut self, id: NodeId) {
        let Some(process) = self.nodes[&id].process() else { return };
        let waiting: Vec<ChangeId> = process.member_changes.waiting().map(|(request, ..)| *request).collect();
        for request in waiting {
            let asked = self.member_requests.open.get_mut(&request).expect("an open request");
            if let Some((asker, number)) = asked.admits.filter(|_| !asked.is_given_up) {
                asked.is_given_up = true;
                let closed = Answer::News(JoinNews::Waits("the connection was closed".into()));
                self.tell_later(asker, number, closed, MS);
            }
        }
    }

    /// Notes the configuration in force. Returns whether it has changed.
    pub(super) fn note_configuration(&mut self) -> bool {
        let Some(now) = self.last_configuration() else { return false };
        let history = &self.member_requests.history;
        let is_new = history.last().is_none_or(|(_, last)| last != now);
        if is_new {
            let entry = (self.moment, now.clone());
            self.member_requests.history.push(entry);
        }
        is_new
    }

    /// Returns whether a caller waits for a member change, so that committed configurations have to be noted.
    pub(super) fn are_changes_open(&self) -> bool {
        !self.member_requests.open.is_empty()
    }

    /// Extends the time to answer of a node that was paused: it could not answer meanwhile.
    pub(super) fn forgive_pause(&mut self, id: NodeId) {
        let time = self.nodes[&id].time(self.now);
        let Some(process) = self.nodes[&id].process() else { return };
        for (request, ..) in process.member_changes.waiting() {
            if let Some(asked) = self.member_requests.open.get_mut(request) {
                asked.since = time;
            }
        }
    }

    /// Checks that every caller is answered in time.
    pub(super) fn check_changes_in_time(&self, id: NodeId) -> Checked {
        let time = self.nodes[&id].time(self.now);
        let Some(process) = self.nodes[&id].process().filter(|process| !process.will_carry_out) else { return Ok(()) };
        for (request, ..) in process.member_changes.waiting() {
            let waited = time.ms_since(self.member_requests.open[request].since);
            let allowed = self.plan.request_timeout_ms + ANSWER_SLACK_MS;
            ensure!(
                "Bounded Answers",
                waited <= allowed,
                "n{} has not answered change {request} for {waited} ms",
                id.0
            );
        }
        Ok(())
    }
}

/// Returns the request by which a node asks to become a member.
pub(super) fn addition(node: &Node, learner: bool, returning: bool) -> MemberChange {
    let (MemberInfo { name, client_url, peer_url }, level) = (node.info.clone(), node.level_max.0);
    MemberChange::Add { node: node.id.0, name, client_url, peer_url, learner, returning, level }
}

impl Asked {
    /// Checks a request that has begun by going from one configuration to the next.
    fn check_begun(&self, request: ChangeId, before: &Configuration, next: &Configuration) -> Checked {
        let Self { change, named, .. } = self;
        let what = || format!("request {request}, {change:?} of {named:?}, goes from {before:?} to {next:?}");
        let Some((promote, remove)) = named else {
            return Err(Violation { invariant: NAME, what: what() });
        };
        let gone: BTreeSet<NodeId> = next.removed.iter().filter(|id| !before.removed.contains(id)).copied().collect();
        let new: BTreeSet<NodeId> = next.voters.difference(&before.voters).copied().collect();
        match change {
            MemberChange::Add { .. } => {
                let are_learners = gone.iter().all(|id| before.learners.contains_key(id));
                ensure!(NAME, next.voters == before.voters && are_learners, "{}", what());
            }
            MemberChange::Update { .. } => ensure!(NAME, gone.is_empty() && new.is_empty(), "{}", what()),
            MemberChange::Promote { .. } => ensure!(NAME, gone.is_empty() && new.is_subset(promote), "{}", what()),
            MemberChange::Remove { .. } => ensure!(NAME, gone.is_subset(remove) && new.is_empty(), "{}", what()),
            MemberChange::Replace { .. } => {
                ensure!(NAME, gone.is_subset(remove) && new.is_subset(promote), "{}", what());
                ensure!(NAME, next.voters.len() == before.voters.len(), "{}", what());
            }
        }
        Ok(())
    }
}
