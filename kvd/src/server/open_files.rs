//! Division of the limit on open files and connections among the parts of a node.
//!
//! Clients come last. However many clients are connected and idle, the log must be able to open its next segment,
//! snapshots must be written, sent and received, and this node and the other nodes must be able to dial each other. So
//! that share is set aside, and the limit on client connections is made of the rest.

use crate::http::ConnectionLimits;

/// The shares of a node's limit on open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenFiles {
    /// Maximum number of client connections that are served, with those of streams and waits.
    pub(super) connections_max: usize,
    /// Maximum number of streams and waits.
    pub(super) streams_max: usize,
    /// Further connections: they are told that there are too many, or belong to other nodes.
    pub(super) crowded_max: usize,
    /// Maximum number of client requests forwarded to a leader at the same time, each over a connection of its own.
    pub(super) forwarded_max: usize,
    /// The rest: log, snapshots, backups, and the streams between nodes.
    reserved: usize,
}

impl OpenFiles {
    /// Divides a limit of `open_files`, where at most so many streams and waits are wanted. They leave a quarter of the
    /// connections to requests that are answered at once.
    pub(super) fn divide(open_files: u64, streams_wanted: usize) -> Self {
        let all = usize::try_from(open_files).unwrap_or(usize::MAX);
        let reserved = (all / 4).clamp(48, 512);
        let crowded_max = (all / 16).clamp(4, 64);
        let forwarded_max = (all / 8).clamp(4, 256);
        // Connections that became idle at a change of leader lead to the old leader.
        let to_leaders = 2 * forwarded_max;
        let rest = all.saturating_sub(reserved + crowded_max + to_leaders);
        let wanted = ConnectionLimits::default().connections_max.saturating_add(streams_wanted);
        let connections_max = rest.clamp(1, wanted);
        let streams_max = streams_wanted.min(connections_max / 4 * 3);
        Self { connections_max, streams_max, crowded_max, forwarded_max, reserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OPEN_FILES_MAX, OPEN_FILES_MIN};
    use crate::http::STREAMS_MAX_DEFAULT;

    #[test]
    fn what_the_node_itself_needs_is_set_aside_whatever_the_limit() {
        for open_files in (OPEN_FILES_MIN..2048).chain([OPEN_FILES_MAX, u64::MAX]) {
            let divided = OpenFiles::divide(open_files, STREAMS_MAX_DEFAULT);
            let OpenFiles { connections_max, streams_max, crowded_max, forwarded_max, reserved } = divided;
            let all = (connections_max + crowded_max + 2 * forwarded_max + reserved) as u64;
            assert!(all <= open_files, "{all} of {open_files}");
            assert!(reserved >= 48 && connections_max >= 8, "{reserved} and {connections_max} of {open_files}");
            assert!(connections_max - streams_max >= 2, "{streams_max} of {connections_max}");
        }
        let usual = OpenFiles::divide(OPEN_FILES_MAX, STREAMS_MAX_DEFAULT);
        assert_eq!((usual.connections_max, usual.streams_max), (14_096, 10_000));
        assert_eq!((usual.crowded_max, usual.forwarded_max), (64, 256));
        assert_eq!(OpenFiles::divide(OPEN_FILES_MAX, 0).connections_max, 4096);
        let low = OpenFiles::divide(128, STREAMS_MAX_DEFAULT);
        assert_eq!(low.streams_max, 30);
        assert_eq!((low.connections_max, low.crowded_max, low.forwarded_max, low.reserved), (40, 8, 16, 48));
    }
}
