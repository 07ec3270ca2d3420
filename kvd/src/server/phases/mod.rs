//! The phases of a node, from its start to its end.
//!
//! ```text
//! empty data directory, --peers or neither:  forming --+
//!                                                       +--> serving --> halted
//! empty data directory, --join:              joining --+        ^
//! data directory of a member:  ---------------------------------+
//! ```
//!
//! Each phase is a type that owns what it alone needs, takes what arrives in its own loop, and returns the next phase.
//! What all of them need is in [`Shell`]. A node that forms finds out who founds its cluster, or that there is a cluster
//! already; one that joins asks to be added. Both end by beginning a log (`beginning`). A node that serves runs the
//! replica. A node that halts has found that its data differs from the others', and refuses everything.

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
