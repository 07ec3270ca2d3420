//! Asking several nodes for the same thing without waiting for a silent one to give up.
//!
//! The next node is asked as soon as one has given an unhelpful answer, or has been silent for [`HEDGE_AFTER`] (hedged
//! requests: Dean and Barroso, "The Tail at Scale"). This is only for requests that change nothing: a read may be
//! carried out twice. A write is not sent to two nodes at the same time. Its request id would make that safe, but there
//! is only one leader to send it to.
//!
//! Each node is asked on a thread of its own, which ends by itself within the time limit of its attempt; nobody waits
//! for the losers. A caller that asks first on its own thread and hedges only after silence pays for threads only then.

use crate::endpoint::Endpoint;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Silence after which the next node is asked: far longer than a healthy node takes to answer on a busy machine, far
/// shorter than a caller would want to wait for a hung one.
pub(crate) const HEDGE_AFTER: Duration = Duration::from_millis(150);

/// Iterator over the nodes' answers, in order of arrival. It ends when all have answered or the time is over.
pub(crate) struct Hedge<T, N> {
    next: N,
    asked: Vec<Endpoint>,
    ask: Arc<dyn Fn(&Endpoint) -> T + Send + Sync>,
    sender: Sender<T>,
    answers: Receiver<T>,
    under_way: usize,
    until: Instant,
}

impl<T: Send + 'static, N: FnMut(&[Endpoint]) -> Option<Endpoint>> Hedge<T, N> {
    /// Asks the node that `next` returns for the nodes asked before, and so on until it returns none. `asked` are the
    /// nodes that were already asked by other means.
    pub(crate) fn new(
        asked: Vec<Endpoint>,
        next: N,
        until: Instant,
        ask: impl Fn(&Endpoint) -> T + Send + Sync + 'static,
    ) -> Self {
        let (sender, answers) = channel();
        Self { next, asked, ask: Arc::new(ask), sender, answers, under_way: 0, until }
    }

    /// Adds one more answer from elsewhere.
    pub(crate) fn beside(&mut self, answer: impl FnOnce() -> T + Send + 'static) {
        self.spawn(answer);
    }

    /// Returns whether there is no other node to ask.
    pub(crate) fn all_asked(&mut self) -> bool {
        (self.next)(&self.asked).is_none()
    }

    /// Returns how many of the nodes asked have yet to answer.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Asks one more node. Returns `false` if there is none.
    fn ask_next(&mut self) -> bool {
        let Some(node) = (self.next)(&self.asked) else { return false };
        self.asked.push(node.clone());
        let ask = Arc::clone(&self.ask);
        self.spawn(move || ask(&node));
        true
    }

    fn spawn(&mut self, answer: impl FnOnce() -> T + Send + 'static) {
        let sender = self.sender.clone();
        // If nobody waits any more, the answer is not needed.
        let work = move || drop(sender.send(answer()));
        // If the system has no thread left, this node goes unasked, as if it had failed.
        if thread::Builder::new().name("kvclient-ask".into()).spawn(work).is_ok() {
            self.under_way += 1;
        }
    }
}

impl<T: Send + 'static, N: FnMut(&[Endpoint]) -> Option<Endpoint>> Iterator for Hedge<T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        // If the caller asks again, the last answer did not help.
        let mut more = self.ask_next();
        while more && self.under_way == 0 {
            more = self.ask_next();
        }
        while self.under_way > 0 {
            let left = self.until.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(if more { left.min(HEDGE_AFTER) } else { left }) {
                Ok(answer) => {
                    self.under_way -= 1;
                    return Some(answer);
                }
                Err(RecvTimeoutError::Timeout) if more && left > HEDGE_AFTER => more = self.ask_next(),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::PATIENCE;
    use std::sync::Mutex;

    fn nodes() -> Vec<Endpoint> {
        (1..=3).map(|port| Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap()).collect()
    }

    /// Returns the nodes in turn.
    fn in_turn(asked: &[Endpoint]) -> Option<Endpoint> {
        nodes().into_iter().find(|node| !asked.contains(node))
    }

    #[test]
    fn one_that_answers_is_the_only_one_asked() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let ask = move |node: &Endpoint| seen.lock().unwrap().push(node.clone());
        let mut hedge = Hedge::new(Vec::new(), in_turn, Instant::now() + PATIENCE, ask);
        assert_eq!(hedge.next(), Some(()));
        assert_eq!(*asked.lock().unwrap(), nodes()[..1]);
        assert_eq!(hedge.count(), 2, "whoever is not helped hears the others, each once");
        assert_eq!(*asked.lock().unwrap(), nodes());
    }

    #[test]
    fn the_next_is_asked_when_one_is_silent_and_a_late_answer_counts() {
        let (speak, spoken) = channel::<()>();
        let spoken = Mutex::new(Some(spoken));
        let silent = nodes()[0].clone();
        let ask = move |node: &Endpoint| {
            if *node == silent {
                let _ = spoken.lock().unwrap().take().unwrap().recv();
            }
            node.clone()
        };
        let started = Instant::now();
        let mut hedge = Hedge::new(Vec::new(), in_turn, started + PATIENCE, ask);
        assert_eq!(hedge.next(), Some(nodes()[1].clone()));
        assert!(started.elapsed() >= HEDGE_AFTER);
        assert_eq!(hedge.next(), Some(nodes()[2].clone()));
        speak.send(()).unwrap();
        assert_eq!(hedge.next(), Some(nodes()[0].clone()));
        assert_eq!(hedge.next(), None);
    }

    #[test]
    fn it_is_over_when_the_time_is() {
        let (keep, silence) = channel::<()>();
        let silence = Mutex::new(silence);
        let started = Instant::now();
        let limit = HEDGE_AFTER / 2;
        let mut hedge =
            Hedge::new(Vec::new(), in_turn, started + limit, move |_| silence.lock().unwrap().recv().is_err());
        assert_eq!(hedge.next(), None);
        assert!(started.elapsed() >= limit && started.elapsed() < PATIENCE);
        drop(keep);
    }

    #[test]
    fn an_answer_from_elsewhere_counts_as_well() {
        let mut hedge = Hedge::new(Vec::new(), |_: &[Endpoint]| None, Instant::now() + PATIENCE, |_| 1);
        hedge.beside(|| 2);
        assert_eq!(hedge.next(), Some(2));
        assert_eq!(hedge.next(), None);
    }
}
