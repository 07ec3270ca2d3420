//! Asking to join a cluster: the next node to ask, and the meaning of the answers.
//!
//! The known nodes of the cluster are asked one after the other, repeatedly, with pauses between the rounds. A node
//! that does not lead names the leader, which is asked in its place. The request states the desired result, so it may
//! be repeated: by a node whose answer was lost, or which was killed before it had written the answer down.
//!
//! A node that is a member and has heard nothing from its cluster yet keeps asking: it may be removed before it ever
//! receives entries, and no node would dial it to say so.

use crate::storage::ClusterIdentity;

/// Shortest pause between two rounds of requests: doubled up to the longest. Milliseconds.
const PAUSE_MIN_MS: u64 = 100;
const PAUSE_MAX_MS: u64 = 2_000;

/// Most leaders asked in the place of one node. Two are usual while the leader changes.
const REDIRECTS_MAX: usize = 4;

/// The kind of membership that a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To become a member.
    Join,
    /// To become a member by replacing an earlier incarnation, and not otherwise.
    Return,
}

/// State or result of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinNews {
    /// Not yet, since the cluster refuses it; with the reason, as a sentence.
    Waits(String),
    /// Not yet, since no node knows a leader; with a sentence that says so.
    Leaderless(String),
    /// Not yet, since a node does not answer; with a sentence that names it.
    Silent(String),
    /// The node is a member of this cluster.
    Joined(ClusterIdentity),
    /// The node was a member once and has been removed.
    Removed(String),
    /// The node wants to replace a member of its name, and there is none.
    Unknown(String),
}

impl JoinNews {
    /// Returns true if another node may know better.
    fn is_open(&self) -> bool {
        match self {
            Self::Waits(_) | Self::Leaderless(_) | Self::Silent(_) => true,
            Self::Joined(_) | Self::Removed(_) | Self::Unknown(_) => false,
        }
    }

    /// Returns how informative the news is for the operator. The result of a round is its most informative answer: the
    /// leader's refusal must not be hidden by a node that is asked later and has no leader.
    fn rank(&self) -> u8 {
        match self {
            Self::Silent(_) => 0,
            Self::Leaderless(_) => 1,
            Self::Waits(_) => 2,
            Self::Joined(_) | Self::Removed(_) | Self::Unknown(_) => 3,
        }
    }
}

/// The answer of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Another node leads; ask it at this URL.
    Leader(String),
    /// The node's news, or the news that it does not answer.
    News(JoinNews),
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the node at this URL, and pass its answer to [`Asking::answered`].
    Ask(String),
    /// Report the result of the round to the node.
    Report(JoinNews),
    /// Wait for about this many milliseconds, with jitter.
    Pause {
        /// Milliseconds.
        ms: u64,
    },
    /// Nothing: the node is a member and knows it.
    End,
}

/// The requests of one node, from the first to the last.
#[derive(Debug)]
pub struct Asking {
    urls: Vec<String>,
    is_member: bool,
    stage: Stage,
    /// The most informative answer of this round.
    round: Option<JoinNews>,
    pause_ms: u64,
}

#[derive(Debug)]
enum Stage {
    Pauses,
    /// Asks `leader`, which the node at this position in the URLs named as the last of `redirects`, or else asks that
    /// node.
    Asks {
        place: usize,
        leader: Option<String>,
        redirects: usize,
    },
    Reports(JoinNews),
    Ended,
}

impl Stage {
    fn asks(place: usize) -> Self {
        Self::Asks { place, leader: None, redirects: 0 }
    }
}

impl Asking {
    /// Asks at `urls` until the node is a member. If it `is_member` already, as far as it knows, pauses first and keeps
    /// asking.
    pub fn new(urls: Vec<String>, is_member: bool) -> Self {
        let stage = if is_member { Stage::Pauses } else { Stage::asks(0) };
        Self { urls, is_member, stage, round: None, pause_ms: PAUSE_MIN_MS }
    }

    /// Returns the current step, which is finished when this is called again.
    pub fn step(&mut self) -> Step {
        match &self.stage {
            Stage::Pauses => {
                let ms = self.pause_ms;
                self.pause_ms = (2 * ms).min(PAUSE_MAX_MS);
                self.stage = Stage::asks(0);
                Step::Pause { ms }
            }
            Stage::Asks { place, leader, .. } => match leader.as_ref().or_else(|| self.urls.get(*place)) {
                Some(url) => Step::Ask(url.clone()),
                None => self.report(JoinNews::Waits("there is no node to ask".into())),
            },
            Stage::Reports(news) => {
                let news = news.clone();
                self.report(news)
            }
            Stage::Ended => Step::End,
        }
    }

    fn report(&mut self, news: JoinNews) -> Step {
        let is_last = matches!(news, JoinNews::Joined(_)) && !self.is_member;
        self.stage = if is_last { Stage::Ended } else { Stage::Pauses };
        Step::Report(news)
    }

    /// Takes the answer of the node that was to be asked.
    pub fn answered(&mut self, answer: Answer) {
        let Stage::Asks { place, leader, redirects } = &mut self.stage else { return };
        let news = match answer {
            Answer::Leader(url) if *redirects < REDIRECTS_MAX => {
                *leader = Some(url);
                *redirects += 1;
                return;
            }
            Answer::Leader(_) => {
                let asked = &self.urls[*place];
                JoinNews::Waits(format!("{asked} redirects in circles: the leader is changing"))
            }
            Answer::News(news) => news,
        };
        let next = *place + 1;
        let goes_on = news.is_open() && next < self.urls.len();
        let news = match self.round.take() {
            Some(earlier) if earlier.rank() > news.rank() => earlier,
            _ => news,
        };
        self.stage = if goes_on {
            self.round = Some(news);
            Stage::asks(next)
        } else {
            Stage::Reports(news)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: [&str; 2] = ["http://a", "http://b"];

    fn asking(is_member: bool) -> Asking {
        Asking::new(URLS.map(str::to_owned).to_vec(), is_member)
    }

    fn asks(url: &str) -> Step {
        Step::Ask(url.to_owned())
    }

    fn leader(url: &str) -> Answer {
        Answer::Leader(url.to_owned())
    }

    fn waits(why: &str) -> JoinNews {
        JoinNews::Waits(why.to_owned())
    }

    fn joined() -> JoinNews {
        JoinNews::Joined(ClusterIdentity { id: 7, first_members: vec!["n1".into()] })
    }

    #[test]
    fn a_refusal_is_hidden_by_nobody_who_is_asked_later() {
        let leaderless = || JoinNews::Leaderless("who leads?".into());
        let silent = || JoinNews::Silent("nobody there".into());
        for (first, second, told) in [
            (waits("too old"), leaderless(), waits("too old")),
            (waits("too old"), silent(), waits("too old")),
            (leaderless(), silent(), leaderless()),
            (silent(), leaderless(), leaderless()),
            (waits("not now"), waits("not ever"), waits("not ever")),
        ] {
            let mut asking = asking(false);
            for (url, answer) in [("http://a", first), ("http://b", second)] {
                assert_eq!(asking.step(), asks(url));
                asking.answered(Answer::News(answer));
            }
            assert_eq!((asking.step(), asking.step()), (Step::Report(told), Step::Pause { ms: 100 }));
            // The next round remembers nothing of it.
            for url in ["http://a", "http://b"] {
                assert_eq!(asking.step(), asks(url));
                asking.answered(Answer::News(silent()));
            }
            assert_eq!(asking.step(), Step::Report(silent()));
        }
    }

    #[test]
    fn one_node_after_the_other_is_asked_until_one_lets_it_in() {
        let mut asking = asking(false);
        for ms in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            assert_eq!(asking.step(), asks("http://a"));
            asking.answered(Answer::News(JoinNews::Leaderless("who leads?".into())));
            assert_eq!(asking.step(), asks("http://b"));
            asking.answered(Answer::News(waits("not now")));
            assert_eq!((asking.step(), asking.step()), (Step::Report(waits("not now")), Step::Pause { ms }));
        }
        assert_eq!(asking.step(), asks("http://a"));
        asking.answered(Answer::News(joined()));
        assert_eq!((asking.step(), asking.step()), (Step::Report(joined()), Step::End));
    }

    #[test]
    fn the_leader_is_asked_in_the_place_of_whoever_names_it() {
        let mut asking = asking(false);
        assert_eq!(asking.step(), asks("http://a"));
        asking.answered(leader("http://c"));
        assert_eq!(asking.step(), asks("http://c"));
        asking.answered(Answer::News(waits("it has gone")));
        assert_eq!(asking.step(), asks("http://b"), "not the leader of another");
        for _ in 0..REDIRECTS_MAX {
            asking.answered(leader("http://d"));
            assert_eq!(asking.step(), asks("http://d"));
        }
        asking.answered(leader("http://d"));
        let circles = waits("http://b redirects in circles: the leader is changing");
        assert_eq!(asking.step(), Step::Report(circles));
    }

    #[test]
    fn what_the_cluster_has_decided_no_other_node_is_asked_about() {
        for news in [JoinNews::Removed("you left".into()), JoinNews::Unknown("who is that?".into())] {
            let mut asking = asking(false);
            assert_eq!(asking.step(), asks("http://a"));
            asking.answered(Answer::News(news.clone()));
            assert_eq!(asking.step(), Step::Report(news));
            assert_eq!((asking.step(), asking.step()), (Step::Pause { ms: 100 }, asks("http://a")), "it may change");
        }
    }

    #[test]
    fn a_member_pauses_first_and_asks_on() {
        let mut asking = asking(true);
        for ms in [100, 200, 400] {
            assert_eq!((asking.step(), asking.step()), (Step::Pause { ms }, asks("http://a")));
            asking.answered(Answer::News(joined()));
            assert_eq!(asking.step(), Step::Report(joined()));
        }
    }

    #[test]
    fn where_there_is_nobody_to_ask_it_says_so() {
        let mut asking = Asking::new(Vec::new(), false);
        assert_eq!(asking.step(), Step::Report(waits("there is no node to ask")));
        assert_eq!(asking.step(), Step::Pause { ms: 100 });
    }
}
