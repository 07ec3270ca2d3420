//! Admission to a cluster. Nodes that join or return ask members, one after the other, as in [`kvd::bootstrap`], and
//! the members decide with the server's own code.

use super::coverage::Kind;
use super::entrants::{EntrantEvent, Phase};
use super::events::{Event, Life, Micros};
use super::invariants::Checked;
use super::member_requests::addition;
use super::node::Input;
use super::world::World;
use kvd::bootstrap::{Answer, Asking, JoinNews, Step, Wish};
use kvd::node::ChangeError;
use kvd::raft::{Configuration, NodeId};
use std::collections::BTreeMap;

const MS: Micros = 1_000;

/// Timeout for connecting, and for an answer, as in the server. Microseconds.
const CONNECT_TIMEOUT: Micros = 3_000 * MS;
pub(super) const ANSWER_TIMEOUT: Micros = 8_000 * MS;

/// Maximum number of members that a joining node is told of.
const TOLD_OF_MAX: usize = 3;

/// All nodes that ask to be admitted.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    begun: u64,
    askers: BTreeMap<NodeId, Asker>,
}

#[derive(Debug)]
struct Asker {
    number: u64,
    life: Life,
    asking: Asking,
    wish: Wish,
}

impl World {
    /// Starts asking at these URLs.
    pub(super) fn ask_cluster(&mut self, id: NodeId, urls: Vec<String>, wish: Wish, is_member: bool) -> Checked {
        let Some((life, _)) = self.nodes[&id].running() else { return Ok(()) };
        self.admissions.begun += 1;
        let asker = Asker { number: self.admissions.begun, life, asking: Asking::new(urls, is_member), wish };
        self.admissions.askers.insert(id, asker);
        self.ask_on(id)
    }

    pub(super) fn stop_asking(&mut self, id: NodeId) {
        self.admissions.askers.remove(&id);
    }

    pub(super) fn is_asking(&self, id: NodeId) -> bool {
        self.admissions.askers.contains_key(&id)
    }

    /// Returns the incarnation in which a node asks, if it still does.
    pub(super) fn asker(&self, id: NodeId, number: u64) -> Option<Life> {
        self.admissions.askers.get(&id).filter(|asker| asker.number == number).map(|asker| asker.life)
    }

    /// Runs the node's admission until it has to wait for something.
    pub(super) fn ask_on(&mut self, id: NodeId) -> Checked {
        while let Some(asker) = self.admissions.askers.get_mut(&id) {
            let number = asker.number;
            match asker.asking.step() {
                Step::Ask(url) => {
                    self.ask_member(id, number, &url);
                    return Ok(());
                }
                Step::Pause { ms } => {
                    let at = self.now + self.chance.within(ms * MS / 2..ms * MS + 1);
                    self.queue.schedule(at, Event::Entrant(EntrantEvent::Asks(id, number)));
                    return Ok(());
                }
                Step::Report(news) => self.admission_news(id, news)?,
                Step::End => self.stop_asking(id),
            }
        }
        Ok(())
    }

    pub(super) fn told_by_cluster(&mut self, id: NodeId, answer: Answer) -> Checked {
        let Some(asker) = self.admissions.askers.get_mut(&id) else { return Ok(()) };
        self.coverage.count(match &answer {
            Answer::Leader(_) => Kind::SentToLeader,
            Answer::News(JoinNews::Leaderless(_)) => Kind::AskedWithoutLeader,
            Answer::News(_) => Kind::AdmissionAnswered,
        });
        self.trace.note(|| format!("n{} is told: {answer:?}", id.0));
        asker.asking.answered(answer);
        self.ask_on(id)
    }

    /// Handles the outcome of a round of questions.
    fn admission_news(&mut self, id: NodeId, news: JoinNews) -> Checked {
        let Some(entrant) = self.entrant(id) else {
            if matches!(news, JoinNews::Removed(_)) {
                self.coverage.count(Kind::RemovedBeforeFed);
                self.stop_asking(id);
                return self.input(id, Input::ToldRemoved);
            }
            return Ok(());
        };
        let is_refused = matches!(news, JoinNews::Waits(_));
        let cluster = match (&mut entrant.phase, news) {
            (Phase::Forming(meeting), news) => meeting.forming.answered(news),
            (Phase::Joining, JoinNews::Joined(cluster)) => Some(cluster),
            (Phase::Joining | Phase::Beginning { .. }, _) => None,
        };
        match cluster {
            Some(cluster) => self.let_in(id, cluster),
            None if is_refused => self.upgrade_entrant(id),
            None => Ok(()),
        }
    }

    /// Asks the node that listens at a URL.
    fn ask_member(&mut self, id: NodeId, number: u64, url: &str) {
        let to = self.node_at(url);
        let silent = Answer::News(JoinNews::Silent(format!("{url} does not answer")));
        let works = self.network.works((id, to), self.now) && self.network.works((to, id), self.now);
        let is_lost = !works || self.network.is_off(to) || self.network.loses_client_message(to, &mut self.chance);
        if is_lost {
            return self.tell_later(id, number, silent, CONNECT_TIMEOUT);
        }
        let round_trip = 2 * self.network.delay(&mut self.chance);
        if self.nodes[&to].running().is_none() {
            return self.tell_later(id, number, silent, round_trip);
        }
        if self.nodes[&to].entrant().is_some() {
            let leaderless = JoinNews::Leaderless(format!("{url} has yet to form a cluster"));
            return self.tell_later(id, number, Answer::News(leaderless), round_trip);
        }
        let (wish, node) = (self.admissions.askers[&id].wish, &self.nodes[&id]);
        let change = addition(node, node.stays_learner(), wish == Wish::Return);
        self.ask_for_admission(to, change, (id, number));
    }

    pub(super) fn tell_later(&mut self, id: NodeId, number: u64, answer: Answer, after: Micros) {
        self.queue.schedule(self.now + after, Event::Entrant(EntrantEvent::Told(id, number, answer)));
    }

    /// Answer of a member to a node that asks to be admitted, given the result of the change.
    pub(super) fn admission_answer(&self, member: NodeId, result: &Result<(), ChangeError>) -> Answer {
        let Some(process) = self.nodes[&member].process() else {
            return Answer::News(JoinNews::Waits("its process is gone".into()));
        };
        let raft = process.replica.raft();
        let leader = raft.leader().and_then(|leader| raft.configuration().members.get(&leader));
        match (result, leader) {
            (Ok(()), _) => Answer::News(JoinNews::Joined(process.cluster.clone())),
            (Err(ChangeError::NotLeader), Some(leader)) => Answer::Leader(leader.client_url.clone()),
            (Err(ChangeError::NotLeader | ChangeError::NoLeader), _) => {
                Answer::News(JoinNews::Leaderless("no leader is known".into()))
            }
            (Err(ChangeError::WasRemoved(_)), _) => Answer::News(JoinNews::Removed("it was removed".into())),
            (Err(ChangeError::UnknownMember(_)), _) => Answer::News(JoinNews::Unknown("it is no member".into())),
            (Err(refused), _) => Answer::News(JoinNews::Waits(format!("{refused:?}"))),
        }
    }

    /// Draws the URLs of a few members for a node that will join.
    pub(super) fn draw_join_urls(&mut self) -> Vec<String> {
        let configuration = self.last_configuration().cloned().unwrap_or_default();
        let mut urls = self.urls_of(&configuration, |_| true);
        self.chance.shuffle(&mut urls);
        urls.truncate(self.chance.within(1..TOLD_OF_MAX as u64 + 1) as usize);
        urls
    }

    /// Returns the URLs of these members.
    pub(super) fn urls_of(&self, configuration: &Configuration, is_told_of: impl Fn(NodeId) -> bool) -> Vec<String> {
        let members = configuration.members.iter().filter(|(id, _)| is_told_of(**id));
        members.map(|(_, info)| info.client_url.clone()).collect()
    }

    /// Lets a member that has received nothing from its cluster yet ask whether it is still wanted.
    pub(super) fn ask_whether_still_wanted(&mut self, id: NodeId) -> Checked {
        let node = &self.nodes[&id];
        if node.raft().is_none_or(|raft| *raft.configuration() != Configuration::default()) {
            return Ok(());
        }
        let (urls, wish) = match node.join_urls.is_empty() {
            true => (self.founder_names().iter().map(|name| format!("http://{name}")).collect(), Wish::Return),
            false => (node.join_urls.clone(), Wish::Join),
        };
        self.ask_cluster(id, urls, wish, true)
    }

    /// Stops asking once the member has received something.
    pub(super) fn stop_asking_if_fed(&mut self, id: NodeId) {
        let is_fed = |raft: &kvd::raft::Raft| *raft.configuration() != Configuration::default();
        if self.is_asking(id) && self.nodes[&id].raft().is_some_and(is_fed) {
            self.stop_asking(id);
        }
    }
}
