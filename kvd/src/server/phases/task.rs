//! The task that runs a node: its current phase, and the steps from one phase to the next.

use super::forming::Forming;
use super::halted::Halted;
use super::joining::Joining;
use super::serving::Serving;
use super::shell::Shell;
use crate::node::Recovered;
use crate::server::error::FatalError;
use crate::server::inbox::Inbox;
use crate::storage::snapshot::SnapshotFile;

/// A node without its HTTP server.
#[derive(Debug)]
pub(in crate::server) struct NodeTask {
    shell: Shell,
    inbox: Inbox,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Forming(Box<Forming>),
    Joining(Joining),
    Serving(Box<Serving>),
    Halted(Halted),
}

impl NodeTask {
    /// Creates a node in its first phase. A member has `recovered` its replica from its data; `snapshot` is its newest
    /// one, and `damaged` is the number of snapshots that were found to be damaged. `was_let_in`: see
    /// [`Opened`](crate::data::Opened).
    pub(in crate::server) fn new(
        shell: Shell,
        inbox: Inbox,
        recovered: Option<Recovered>,
        snapshot: Option<SnapshotFile>,
        damaged: u64,
        was_let_in: bool,
    ) -> Self {
        let phase = match recovered {
            Some(recovered) => {
                shell.introduce_as_member(&recovered);
                Phase::Serving(Box::new(Serving::new(&shell, recovered, snapshot, damaged)))
            }
            None if shell.config.join.is_empty() => Phase::Forming(Box::new(Forming::new(&shell, was_let_in))),
            None => Phase::Joining(Joining::new(&shell)),
        };
        Self { shell, inbox, phase }
    }

    /// Runs until the node is told to stop, and returns when its log is closed.
    ///
    /// # Errors
    /// [`FatalError`] as soon as the node cannot go on, without waiting for the log.
    pub(in crate::server) async fn run(self) -> Result<(), FatalError> {
        let Self { mut shell, mut inbox, phase } = self;
        let mut phase = Some(phase);
        while let Some(current) = phase {
            phase = current.run(&mut shell, &mut inbox).await?;
        }
        // The last phase is gone by now, and with it every task that writes or sends a snapshot. So nothing touches the
        // data directory once the log is closed and its lock is free.
        shell.log.close().await;
        Ok(())
    }
}

impl Phase {
    /// Runs to the end of this phase and returns the next one. Returns `None` if the node is to stop.
    async fn run(self, shell: &mut Shell, inbox: &mut Inbox) -> Result<Option<Self>, FatalError> {
        Ok(match self {
            Self::Forming(forming) => forming.run(shell, inbox).await?.map(Box::new).map(Self::Serving),
            Self::Joining(joining) => joining.run(shell, inbox).await?.map(Box::new).map(Self::Serving),
            Self::Serving(serving) => serving.run(shell, inbox).await?.map(Self::Halted),
            Self::Halted(halted) => {
                halted.run(inbox).await?;
                None
            }
        })
    }
}
