//! How an operation finds its way through a cluster that changes.
//!
//! A *write* goes to the leader. Where none is remembered, nodes are asked through `/health` until one
//! names a leader that has not just failed; redirects are followed, within a limit. A *read* goes to the
//! node that served the last one on this lane, then to the others. Between rounds that served nobody there
//! is a wait, and over everything there is one deadline.
//!
//! A node that hangs (its connections stand, and nothing comes) must not use up that deadline: reads and
//! the search for a leader are hedged (see `hedge`), and no attempt takes more than its share of
//! the total. A leader that is silent for far longer than it usually takes may be none any more, so the others
//! are asked soon; and a write whose attempt fell silent is sent again under the same request id, to a new
//! leader or, if for a while nobody knows of one, to the same: whichever copy is applied, it is applied once.
//!
//! A leader may not be reachable at the address that the cluster has for it. Its writes are then given to another node,
//! which sends them on (`relay`).
//!
//! A node of another cluster is nobody's business here: what it answers is not believed, and it is asked last.
//!
//! - `cluster`: what all operations share, with which cluster it is (`identity`), what is known of the nodes (`endpoints`),
//!   and names and connections to borrow (`lane`, `session`)
//! - `reads`, `writes`: the two ways of an operation; `relay`: the way past a leader that is out of reach
//! - `leader_search`, `exchange`: the search for the leader; one question to one node, redirects followed
//! - `verdict`, `tally`: what an answer means, and several of them together
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
pub(crate) use retry::{Backoff, Deadline, Limits};
pub(crate) use tally::Tally;
pub(crate) use verdict::{Kind, Verdict};
