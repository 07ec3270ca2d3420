//! The end of forming a cluster, and of joining one: writes a member's first files. [`crate::bootstrap`] decides what
//! they are, their order, and when other nodes are told.

use super::shell::Shell;
use crate::bootstrap::{Beginning, ToWrite};
use crate::config::Config;
use crate::node::Recovered;
use crate::raft::{LogWrite, Record, WriteId};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::inbox::Inbox;
use crate::server::log_writer::LogEvent;
use std::sync::Arc;

/// Makes this node a member of its cluster.
pub(super) async fn begin(
    shell: &mut Shell,
    inbox: &mut Inbox,
    mut beginning: Beginning,
) -> Result<Recovered, FatalError> {
    while let Some(to_write) = beginning.next_write() {
        match to_write {
            ToWrite::Log(records) => begin_log(shell, inbox, records).await?,
            ToWrite::Identity(cluster) => {
                shell.identity.cluster = Some(cluster);
                let saved = shell.save_identity().await;
                saved.map_err(|_| FatalError::Panicked)?.map_err(|cause| shell.disk_failed(cause))?;
            }
        }
    }
    shell.hello.send_if_modified(|hello| beginning.introduce(hello));
    shell.publisher.cluster(beginning.cluster());
    // Clients read the shell's store.
    let Config { level_max, ref raft, .. } = shell.config;
    Ok(beginning.recovered(Arc::clone(&shell.store), level_max, raft.cache_bytes_max))
}

/// Begins the log, and waits until its first records are durable.
async fn begin_log(shell: &Shell, inbox: &mut Inbox, records: Vec<Record>) -> Result<(), FatalError> {
    shell.log.write(LogWrite { id: WriteId(0), restart: None, records });
    while !matches!(inbox.next_event().await?, Event::Log(LogEvent::Written(_))) {
        // Other events are of no use before there is a log.
    }
    Ok(())
}
