//! The phases of a node, from its start to its end.
//!
//! ```text
//! empty data directory, --peers or neither:  forming --+
//!                                                       +--> serving --> halted
//! empty data directory, --join:              joining --+        ^
//! data directory of a member:  ---------------------------------+
//! ```
//!
//! Each phase is a type that owns the state that only it needs, takes arrivals in its own loop, and returns the next
//! phase. State that all phases need is in [`Shell`]. A node that forms finds out which nodes found its cluster, or
//! that the cluster exists already. A node that joins asks to be added. Both end by beginning a log (`beginning`). A
//! node that serves runs the replica. A node that halts has found that its data differs from the other nodes', and
//! refuses everything.

mod beginning;
mod forming;
mod halted;
mod joining;
mod refusing;
mod serving;
mod shell;
mod task;

pub(super) use shell::Shell;
pub(super) use task::NodeTask;
