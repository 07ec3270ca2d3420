//! The search for an order in which the operations of one key give the answers that were given.

use super::key_history::{Item, KeyHistory, Optional, State};
use super::operation::{Moment, Value};
use super::taken::Taken;
use std::collections::{BTreeMap, HashMap};

/// Different end states of the longest orders that a violation reports.
const STATES_MAX: usize = 5;

/// Configurations after which the search gives up. Histories that have an explanation take few more configurations than
/// they have operations; to be sure that there is none can take longer than is practical.
const CONFIGURATIONS_MAX: usize = 2_000_000;

/// The next operation of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A required one, by its number.
    Required(usize),
    /// The next one of these optional ones.
    Optional(usize),
}

/// Reason why an operation cannot come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// In this state its answer would differ.
    Answer,
    /// It would end the value that this operation saw, which has not been taken yet.
    EndsValueSeenBy(usize),
    /// It would write a version other than the one that this operation saw.
    VersionSeenBy(usize),
    /// It would write the version that this operation must write, which has not been taken yet.
    TakesVersionOf(usize),
}

/// End of the longest orders.
#[derive(Debug)]
pub(super) struct DeadEnd {
    /// One of them: the source of each operation, and the state that it leads to.
    pub(super) order: Vec<(usize, State)>,
    /// The end states of all orders of this length.
    pub(super) states: Vec<State>,
    /// Operations that would have to come next, and why they cannot.
    pub(super) blocked: Vec<(usize, Obstacle)>,
    /// Required operations that it takes.
    pub(super) taken: usize,
    /// True if the search gave up before it had tried everything.
    pub(super) gave_up: bool,
}

/// Number of optional operations used: kind and number, ordered by kind, only kinds in use.
type Used = Vec<(usize, usize)>;

/// A configuration to return to, with the steps that have not been tried there.
struct Fork {
    order_length: usize,
    state: State,
    used: Used,
    /// The next one last.
    choices: Vec<(Step, State)>,
}

/// Constraints on the next step.
struct Promises {
    /// Operations that saw the present value and are not taken yet; two of them are enough.
    seen_by: Vec<usize>,
    /// Operations that must write these versions before the key is deleted.
    versions: Vec<(u64, usize)>,
}

/// A search: the order so far, and the steps that were tried.
pub(super) struct Search<'a> {
    history: &'a KeyHistory,
    order: Vec<(Step, State)>,
    state: State,
    taken: Taken,
    used: Used,
    /// The required operations that are not taken.
    waiting: Waiting,
    /// For each configuration, the least use of optional operations with which it was entered.
    entered: HashMap<(Taken, State), Vec<Used>>,
    longest: Option<DeadEnd>,
}

impl<'a> Search<'a> {
    pub(super) fn new(history: &'a KeyHistory) -> Self {
        Self {
            history,
            order: Vec::new(),
            state: None,
            taken: Taken::default(),
            used: Used::new(),
            waiting: Waiting::all(history.required.len()),
            entered: HashMap::new(),
            longest: None,
        }
    }

    /// Searches until an order has all required operations, or none can have them.
    pub(super) fn run(mut self) -> Result<(), DeadEnd> {
        let mut forks: Vec<Fork> = Vec::new();
        let calls = |optional: &Optional| optional.calls.len();
        let optional: usize = self.history.optional.iter().map(calls).sum();
        let straight_ahead = self.history.required.len() + optional;
        // After this many steps an order is complete or has met a dead end, so there is something to report.
        for _ in 0..straight_ahead + CONFIGURATIONS_MAX {
            self.take_what_changes_nothing();
            if self.waiting.is_empty() {
                return Ok(());
            }
            let mut choices = if self.enter() { self.choices() } else { Vec::new() };
            let (step, next) = loop {
                if let Some(choice) = choices.pop() {
                    break choice;
                }
                self.note_dead_end();
                match forks.pop() {
                    Some(fork) => choices = self.step_back(fork),
                    None => return Err(self.dead_end(false)),
                }
            };
            let (order_length, state, used) = (self.order.len(), self.state, self.used.clone());
            forks.push(Fork { order_length, state, used, choices });
            self.take(step, next);
        }
        Err(self.dead_end(true))
    }

    fn dead_end(self, gave_up: bool) -> DeadEnd {
        let longest = self.longest.expect("a search that fails has met a dead end");
        DeadEnd { gave_up, ..longest }
    }

    /// Takes all operations that fit and do not change the state. Any order that has such an operation at a later place
    /// remains valid with the operation here, so there is no need to come back to this.
    fn take_what_changes_nothing(&mut self) {
        while let Some(number) = self.first_that_changes_nothing() {
            self.take(Step::Required(number), self.state);
        }
    }

    fn first_that_changes_nothing(&self) -> Option<usize> {
        self.candidates().find(|number| self.history.required[*number].shape.step(self.state) == Some(self.state))
    }

    /// Returns the operations that may come next, since no operation that is not taken ended before they were invoked.
    fn candidates(&self) -> impl Iterator<Item = usize> {
        let mut earliest_return = Moment::MAX;
        self.waiting.iter().take_while(move |number| {
            let required = &self.history.required[*number];
            // Operations after it were invoked later, so they returned later than it was invoked.
            earliest_return = earliest_return.min(required.returned);
            required.invoked <= earliest_return
        })
    }

    /// Notes that the present configuration is entered; returns false if nothing new can result from it.
    fn enter(&mut self) -> bool {
        let others = self.entered.entry((self.taken.clone(), self.state)).or_default();
        let history = self.history;
        if others.iter().any(|other| leaves_as_much(history, other, &self.used)) {
            return false;
        }
        others.retain(|other| !leaves_as_much(history, &self.used, other));
        others.push(self.used.clone());
        true
    }

    /// Returns the possible next steps, with the state that each leads to; the step to try first is last.
    fn choices(&self) -> Vec<(Step, State)> {
        let mut candidates: Vec<usize> = self.candidates().collect();
        let returned = |number: &usize| self.history.required[*number].returned;
        let earliest_return = candidates.iter().map(returned).min().expect("something waits");
        // First those with a known place: at any other place they would not fit.
        candidates.sort_by_key(|number| (self.history.required[*number].version.is_none(), returned(number)));
        let promises = self.promises();

        let mut choices = Vec::new();
        let mut shapes = Vec::new();
        for number in candidates {
            let shape = self.history.required[number].shape;
            if let Ok(next) = self.follow(Step::Required(number), &promises)
                && !shapes.contains(&shape)
            {
                shapes.push(shape);
                choices.push((Step::Required(number), next));
            }
        }
        // Last, so that an operation whose effect was never seen is used only where the answers need it. Of several
        // with the same effect here, the one that is possible more rarely is used first.
        let optional = &self.history.optional;
        let is_there = |kind: &usize| optional[*kind].is_called(self.used_of(*kind), earliest_return);
        let mut kinds: Vec<usize> = (0..optional.len()).filter(is_there).collect();
        kinds.sort_by_key(|kind| optional[*kind].shape.reach());
        let mut states = vec![self.state];
        for kind in kinds {
            if let Ok(next) = self.follow(Step::Optional(kind), &promises)
                && !states.contains(&next)
            {
                states.push(next);
                choices.push((Step::Optional(kind), next));
            }
        }
        choices.reverse();
        choices
    }

    /// Returns the constraints on the next step.
    fn promises(&self) -> Promises {
        let seen_by = self.value().map_or(&[][..], |value| self.history.seen_by(value)).iter().rev();
        // The latest first: it is the one most likely not to be taken yet.
        let seen_by = seen_by.copied().filter(|number| !self.taken.contains(*number)).take(2).collect();
        let mut versions = Vec::new();
        for number in self.candidates() {
            if let Some((version, _)) = self.history.required[number].version
                && !self.may_be_deleted_before(number)
            {
                versions.push((version, number));
            }
        }
        Promises { seen_by, versions }
    }

    /// Returns whether a delete may still come before this operation.
    fn may_be_deleted_before(&self, number: usize) -> bool {
        let deadline = self.history.required[number].returned;
        let mut waiting = self.waiting.iter().take_while(|other| self.history.required[*other].invoked <= deadline);
        let mut optional = self.history.optional.iter().enumerate();
        waiting.any(|other| self.history.required[other].shape.deletes())
            || optional.any(|(kind, other)| other.shape.deletes() && other.is_called(self.used_of(kind), deadline))
    }

    /// Returns the state that a step leads to.
    fn follow(&self, step: Step, promises: &Promises) -> Result<State, Obstacle> {
        let (shape, version) = match step {
            Step::Required(number) => (self.history.required[number].shape, self.history.required[number].version),
            Step::Optional(kind) => (self.history.optional[kind].shape, None),
        };
        let next = shape.step(self.state).ok_or(Obstacle::Answer)?;
        if next == self.state {
            return Ok(next);
        }
        if let (Some(item), Some((version, number))) = (next, version)
            && item.version != version
        {
            return Err(Obstacle::VersionSeenBy(number));
        }
        if let Some(number) = promises.seen_by.iter().find(|number| Step::Required(**number) != step) {
            return Err(Obstacle::EndsValueSeenBy(*number));
        }
        if let Some(item) = next {
            let passed =
                |(version, number): &&(u64, usize)| *version <= item.version && Step::Required(*number) != step;
            if let Some((_, number)) = promises.versions.iter().find(passed) {
                return Err(Obstacle::TakesVersionOf(*number));
            }
        }
        Ok(next)
    }

    fn value(&self) -> Option<Value> {
        self.state.and_then(|Item { value, .. }| value)
    }

    fn used_of(&self, kind: usize) -> usize {
        used_of(&self.used, kind)
    }

    fn take(&mut self, step: Step, next: State) {
        match step {
            Step::Required(number) => {
                self.taken.insert(number);
                self.waiting.remove(number);
            }
            Step::Optional(kind) => match self.used.binary_search_by_key(&kind, |(kind, _)| *kind) {
                Ok(at) => self.used[at].1 += 1,
                Err(at) => self.used.insert(at, (kind, 1)),
            },
        }
        if let Some(ended) = self.value()
            && next != self.state
        {
            // The value never returns, so operations that depend on it can never be used again, however many are left.
            self.used.retain(|(kind, _)| self.history.optional[*kind].shape.depends_on() != Some(ended));
        }
        self.state = next;
        self.order.push((step, next));
    }

    /// Goes back to a fork; returns the steps that have not been tried there.
    fn step_back(&mut self, fork: Fork) -> Vec<(Step, State)> {
        for (step, _) in self.order.drain(fork.order_length..).rev() {
            if let Step::Required(number) = step {
                self.taken.remove(number);
                self.waiting.put_back(number);
            }
        }
        self.state = fork.state;
        self.used = fork.used;
        fork.choices
    }

    /// Remembers the present order, which cannot be continued, if none is longer.
    fn note_dead_end(&mut self) {
        let taken = self.history.required.len() - self.waiting.len;
        match &mut self.longest {
            Some(longest) if longest.taken > taken => {}
            Some(longest) if longest.taken == taken => {
                if longest.states.len() < STATES_MAX && !longest.states.contains(&self.state) {
                    longest.states.push(self.state);
                }
            }
            _ => {
                let promises = self.promises();
                let blocked = self.candidates().map(|number| {
                    // If it could follow, an order that takes it would have ended later than this one.
                    let obstacle = self.follow(Step::Required(number), &promises).expect_err("a dead end");
                    (self.history.required[number].source, obstacle)
                });
                let (blocked, order) = (blocked.collect(), self.sources());
                self.longest = Some(DeadEnd { order, states: vec![self.state], blocked, taken, gave_up: false });
            }
        }
    }

    /// Returns the present order by the sources of its operations.
    fn sources(&self) -> Vec<(usize, State)> {
        let mut used = vec![0; self.history.optional.len()];
        let mut source = |step: Step| match step {
            Step::Required(number) => self.history.required[number].source,
            Step::Optional(kind) => {
                used[kind] += 1;
                self.history.optional[kind].calls[used[kind] - 1].1
            }
        };
        self.order.iter().map(|(step, state)| (source(*step), *state)).collect()
    }
}

fn used_of(used: &Used, kind: usize) -> usize {
    used.binary_search_by_key(&kind, |(kind, _)| *kind).map_or(0, |at| used[at].1)
}

/// Returns whether the optional operations that `one` leaves allow everything that those left by `other` allow.
fn leaves_as_much(history: &KeyHistory, one: &Used, other: &Used) -> bool {
    let mut substitutes: BTreeMap<usize, usize> = BTreeMap::new();
    for (kind, used) in one {
        let lacking = used.saturating_sub(used_of(other, *kind));
        match history.optional[*kind].substitute {
            _ if lacking == 0 => {}
            Some(substitute) => *substitutes.entry(substitute).or_default() += lacking,
            None => return false,
        }
    }
    substitutes.iter().all(|(kind, needed)| used_of(one, *kind) + needed <= used_of(other, *kind))
}

/// Numbers in a row from which any can be removed, and reinserted in the opposite order.
struct Waiting {
    /// For each number, the next one that is present; the last entry is the head and the end.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Number of those that are present.
    len: usize,
}

impl Waiting {
    fn all(count: usize) -> Self {
        let next = (1..=count).chain([0]).collect();
        let previous = [count].into_iter().chain(0..count).collect();
        Self { next, previous, len: count }
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let head = self.next.len() - 1;
        std::iter::successors(Some(self.next[head]), move |number| Some(self.next[*number]))
            .take_while(move |number| *number != head)
    }

    fn remove(&mut self, number: usize) {
        let (previous, next) = (self.previous[number], self.next[number]);
        self.next[previous] = next;
        self.previous[next] = previous;
        self.len -= 1;
    }

    fn put_back(&mut self, number: usize) {
        let (previous, next) = (self.previous[number], self.next[number]);
        self.next[previous] = number;
        self.previous[next] = number;
        self.len += 1;
    }
}
