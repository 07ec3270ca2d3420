//! Forming a cluster: dials the configured peers until the founders are known, and begins the log with them. If the
//! cluster exists already and this node has lost its data, it asks to return to it.
//!
//! [`bootstrap`] decides between the two, and which nodes are the founders.

use super::beginning::begin;
use super::refusing::refuse;
use super::serving::Serving;
use super::shell::Shell;
use crate::bootstrap::{self, Beginning, Heard, Wish};
use crate::config::{Config, Peer, StorageKind};
use crate::peer::{ClusterId, Founder, Link, LinkEvent, PeerEvent};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::inbox::{Arrived, Inbox};
use crate::server::join_requests::JoinRequests;
use crate::storage::ClusterIdentity;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Interval at which a node logs that it waits for its peers.
const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// A node that forms a cluster with its peers.
#[derive(Debug)]
pub(super) struct Forming {
    decision: bootstrap::Forming,
    /// Links to the peers, by their names.
    links: BTreeMap<String, Link>,
    /// While a cluster exists that this node was part of: asks it to replace this node's earlier incarnation.
    returning: Option<JoinRequests>,
    /// True if no cluster is founded with this node, once that is logged.
    is_held: bool,
}

/// Outcome of forming.
enum Formed {
    /// These nodes found a new cluster.
    New(Vec<Founder>),
    /// This node is a member of a cluster that existed already.
    Returned(ClusterIdentity),
}

impl Forming {
    /// Starts to dial the peers. `was_let_in`: see [`Opened`](crate::data::Opened).
    pub(super) fn new(shell: &Shell, was_let_in: bool) -> Self {
        let config = &shell.config;
        let names = config.peers.iter().map(|peer| peer.name.clone());
        let decision = bootstrap::Forming::new(shell.hello.borrow().as_founder(), names, lacks(config, was_let_in));
        // Before any other node is told anything else.
        shell.hello.send_if_modified(|hello| decision.introduce(hello));
        let links = config.peers.iter().map(|peer| (peer.name.clone(), dial(shell, peer))).collect();
        Self { decision, links, returning: None, is_held: false }
    }

    /// Runs until this node is part of a cluster and its log has begun. Returns `None` if it is stopped before.
    pub(super) async fn run(mut self, shell: &mut Shell, inbox: &mut Inbox) -> Result<Option<Serving>, FatalError> {
        let Some(formed) = self.form(shell, inbox).await? else { return Ok(None) };
        // What this node knows of a cluster is announced only while it is written down.
        shell.hello.send_if_modified(|hello| self.decision.introduce(hello));
        drop(self);
        let beginning = match formed {
            Formed::New(founders) => founding(&founders),
            Formed::Returned(cluster) => {
                tracing::info!("joined the cluster that {} formed", cluster.first_members.join(", "));
                Beginning::as_joined(cluster)
            }
        };
        let recovered = begin(shell, inbox, beginning).await?;
        Ok(Some(Serving::new(shell, recovered, None, 0)))
    }

    async fn form(&mut self, shell: &Shell, inbox: &mut Inbox) -> Result<Option<Formed>, FatalError> {
        if let Some(founders) = self.decision.founders_if_alone() {
            return Ok(Some(Formed::New(founders)));
        }
        let mut reminders = tokio::time::interval(WAITING_LOGGED_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reminders.reset();
        loop {
            self.follow_decision(shell);
            let arrived = tokio::select! {
                arrived = inbox.next() => arrived?,
                _ = reminders.tick() => {
                    tracing::info!("{}", self.decision.waiting_for());
                    continue;
                }
            };
            let formed = match arrived {
                None => return Ok(None),
                Some(Arrived::Event(event)) => self.take(event),
                Some(Arrived::FromPeer(PeerEvent::Met(hello))) => {
                    if self.decision.dialled_by(&hello) == Heard::News {
                        // The process that introduced itself may be gone by now: only a process that answers counts.
                        self.links.get(&hello.name).into_iter().for_each(Link::redial);
                    }
                    None
                }
                Some(Arrived::FromPeer(PeerEvent::Message(..))) => None,
                Some(Arrived::Request(request)) => {
                    refuse(request);
                    None
                }
            };
            if formed.is_some() {
                return Ok(formed);
            }
        }
    }

    /// Acts on the decision that follows from what is known of the peers by now, and shows it.
    fn follow_decision(&mut self, shell: &Shell) {
        let decision = &mut self.decision;
        shell.hello.send_if_modified(|hello| decision.introduce(hello));
        decision.to_ask_again().iter().filter_map(|name| self.links.get(name)).for_each(Link::redial);
        let was_held = std::mem::replace(&mut self.is_held, decision.is_held() && !decision.is_to_return());
        if self.is_held && !was_held {
            tracing::warn!("{}", decision.waiting_for());
        }
        if !decision.is_to_return() {
            self.returning = None;
        } else if self.returning.is_none() {
            tracing::info!("{}", decision.waiting_for());
            self.returning = Some(shell.ask_to_join(shell.config.peer_urls(), Wish::Return, false));
        }
        shell.publisher.forming(decision.waiting_for());
    }

    fn take(&mut self, event: Event) -> Option<Formed> {
        match event {
            Event::Founder(name, LinkEvent::Met(hello)) => return self.decision.met(&name, &hello).map(Formed::New),
            Event::Founder(name, LinkEvent::Failed(why)) => self.decision.missed(&name, why),
            Event::Join(news) => return self.decision.answered(news).map(Formed::Returned),
            Event::Founder(_, LinkEvent::Lost | LinkEvent::Removed) => {}
            Event::Founder(_, LinkEvent::BulkOpened | LinkEvent::BulkStalled) => {}
            Event::Log(_) | Event::Snapshots(_) | Event::Member(..) | Event::States(_) | Event::Stopping(_) => {}
        }
        None
    }
}

fn founding(founders: &[Founder]) -> Beginning {
    let beginning = Beginning::of_founders(founders);
    let cluster = beginning.cluster();
    let names = cluster.first_members.join(", ");
    tracing::info!("formed a new, empty cluster {} of {names}", ClusterId(cluster.id));
    beginning
}

/// Returns why this node has no data, as a part of a sentence, if it expects to have some.
fn lacks(config: &Config, was_let_in: bool) -> Option<String> {
    if was_let_in {
        let sentence = "this node joined a cluster and was stopped before it recorded which one";
        return Some(sentence.to_owned());
    }
    let why = match config.storage {
        StorageKind::Disk => format!(
            "--expect-data is set, but --data-dir {} is empty: mount the volume with the data there and restart this \
             node",
            config.data_dir.display()
        ),
        StorageKind::Memory => "--expect-data is set, but a node with --storage memory starts empty".to_owned(),
    };
    config.expect_data.then_some(why)
}

fn dial(shell: &Shell, peer: &Peer) -> Link {
    let name = peer.name.clone();
    shell.open_link((&peer.name, &peer.url), None, move |found| Event::Founder(name.clone(), found))
}
