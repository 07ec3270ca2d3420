//! Routing of an operation through a changing cluster.
//!
//! A *write* goes to the leader. If none is remembered, nodes are asked through `/health` until one names a leader that
//! has not just failed; redirects are followed, within a limit. A *read* goes to the node that served the last one on
//! this lane, then to the others. Between rounds without success there is a wait, and one deadline limits everything.
//!
//! A node that hangs (its connections stay open, and nothing arrives) must not use up that deadline: reads and the
//! search for a leader are hedged (see `hedge`), and no attempt takes more than its share of the total. A leader that
//! is silent for far longer than usual may have lost its leadership, so the other nodes are asked soon. A write whose
//! attempt fell silent is sent again under the same request id, to a new leader or, if for a while no node knows one,
//! to the same leader: whichever copy is applied, the write is applied once.
//!
//! A leader may not be reachable at the address that the cluster has for it. Its writes then go to another node, which
//! forwards them (`relay`).
//!
//! A node of another cluster is irrelevant here: its answers are not believed, and it is asked last.
//!
//! - `cluster`: state that all operations share: the cluster's `identity`, the known nodes (`endpoints`), and names and
//!   connections to borrow (`lane`, `session`)
//! - `reads`, `writes`: the two kinds of operations; `relay`: the way around a leader that cannot be reached
//! - `leader_search`, `exchange`: the search for the leader; one request to one node, with redirects followed
//! - `verdict`, `tally`: the meaning of one answer, and of several together
//! - `retry`, `hedge`: how long to wait, and asking a second node meanwhile

mod cluster;
mod endpoints;
mod exchange;
mod hedge;
mod identity;
mod lane;
mod leader_search;
mod reads;
mod relay;
mod retry;
mod session;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;
mod writes;

pub(crate) use cluster::Cluster;
pub(crate) use hedge::Hedge;
pub(crate) use identity::Identity;
pub(crate) use lane::Lanes;
pub(crate) use reads::Question;
pub(crate) use retry::{Backoff, Deadline, Limits};
pub(crate) use tally::Tally;
pub(crate) use verdict::{Again, Answer, Kind, Reason, Verdict};
