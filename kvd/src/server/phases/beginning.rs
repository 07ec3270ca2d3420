//! The beginning of a log: the end of forming a cluster, and of joining one.
//!
//! The log is begun first, and then the cluster goes into the identity (see [`crate::data`]). After a crash in between the
//! node starts as one that is part of no cluster, under the same id, and forms or joins again.

use super::shell::Shell;
use crate::data::{cluster_of, founding_records, joining_records};
use crate::node::{Recovered, Recovery};
use crate::peer::{ClusterId, Founder, founding_configuration};
use crate::raft::{LogWrite, Record, WriteId};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::inbox::Inbox;
use crate::server::log_writer::LogEvent;
use crate::storage::ClusterIdentity;
use std::sync::Arc;

/// Begins the log of a cluster that these nodes found, this one among them.
pub(super) async fn found(shell: &mut Shell, inbox: &mut Inbox, founders: &[Founder]) -> Result<Recovered, FatalError> {
    let configuration = founding_configuration(founders);
    let cluster = cluster_of(&configuration);
    let names = cluster.first_members.join(", ");
    tracing::info!("founds cluster {}, which is new and empty, of {names}", ClusterId(cluster.id));
    begin(shell, inbox, founding_records(configuration), cluster).await
}

/// Begins the log of a node that has been added to this cluster. The leader dials it from now on, and it dials back; see
/// the guests in [`crate::server`]'s directory.
pub(super) async fn join(
    shell: &mut Shell,
    inbox: &mut Inbox,
    cluster: ClusterIdentity,
) -> Result<Recovered, FatalError> {
    tracing::info!("is a member of the cluster that {} formed", cluster.first_members.join(", "));
    begin(shell, inbox, joining_records(), cluster).await
}

/// Begins the log with these records, and then notes the cluster in the identity.
async fn begin(
    shell: &mut Shell,
    inbox: &mut Inbox,
    records: Vec<Record>,
    cluster: ClusterIdentity,
) -> Result<Recovered, FatalError> {
    let mut recovery = Recovery::default().with_level_max(shell.config.level_max);
    for record in records.clone() {
        let recovered = recovery.record(record, shell.config.raft.cache_bytes_max);
        recovered.expect("what a log begins with is no command");
    }
    shell.log.write(LogWrite { id: WriteId(0), restart: None, records });
    while !matches!(inbox.next_event().await?, Event::Log(LogEvent::Written(_))) {
        // Whatever else happens meanwhile is of no use before there is a log.
    }
    shell.identity.cluster = Some(cluster);
    let saved = shell.save_identity().await;
    saved.map_err(|_| FatalError::Panicked)?.map_err(|cause| shell.disk_failed(cause))?;
    // Both stores are empty, and clients read the one of the shell.
    let recovered = Recovered { store: Arc::clone(&shell.store), ..recovery.finish([]) };
    shell.introduce_as_member(&recovered);
    Ok(recovered)
}
