//! Watching who leads, across the death of any node.
//!
//! One node is listened to at a time (`GET /leader/watch`). When it says that it knows no leader, ends
//! the stream, or says nothing for longer than its comment lines are apart, a survey asks the others
//! (hedged, as reads are) by listening to each for its first event, which tells what it knows; the
//! one listened to goes on being heard meanwhile. The first that names a leader is listened to from then
//! on. Only when none does has the cluster no leader, so a single node that is cut off causes no false
//! alarm. Times are those at which events arrived, however long a survey had to wait for silent nodes.
//!
//! `sight` decides what is news. A node that is behind names an older leader with an older term, and is not believed. Nor
//! is a node of another cluster: terms go back where all data was wiped or restored, but then it is another cluster.
//!
//! - `watch`: the iterator, which goes from node to node
//! - `survey`: all nodes, asked at once
//! - `listening`: the stream of one node
//! - `sight`: what is news; `change`: how it is told

mod change;
mod listening;
mod sight;
mod survey;
mod watch;

pub use change::LeaderChange;
pub use watch::LeaderWatch;
