//! Watching the leader, across the failure of any node.
//!
//! The watch listens to one node at a time (`GET /leader/watch`). If that node reports that it knows no leader, ends
//! the stream, or is silent for longer than the interval of its comment lines, a survey asks the other nodes (hedged,
//! as reads are). It listens to each for its first event, which tells what the node knows, and keeps listening to the
//! first node meanwhile. The watch then listens to the first node that names a leader. The cluster counts as leaderless
//! only if no node names a leader, so a single node that is cut off causes no false alarm. Reported times are those at
//! which events arrived, however long a survey had to wait for silent nodes.
//!
//! `sight` decides what is news. A node that is behind names an older leader with an older term, and is not believed.
//! Neither is a node of another cluster. Terms go back if all data was wiped or restored, but that makes it another
//! cluster.
//!
//! - `watch`: the iterator, which moves from node to node
//! - `survey`: all nodes, asked at once
//! - `listening`: the stream of one node
//! - `sight`: what is news; `change`: how it is reported

mod change;
mod listening;
mod sight;
mod survey;
mod watch;

pub use change::LeaderChange;
pub use watch::LeaderWatch;
