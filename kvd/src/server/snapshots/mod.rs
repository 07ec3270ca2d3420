//! Snapshots of a running node: taken on a thread of their own while the node keeps running, sent to followers that
//! need them, received from leaders, and given to clients as backups. The log is truncated behind them.
//!
//! - `keeping`: [`Snapshots`], which belongs to the task that runs the node, decides when any of this is done
//! - `taking` writes a snapshot
//! - `sending` and `receiving` are the two ends of `POST /raft/snapshot`
//! - `backups` answers `GET /snapshot`
//! - `event`: the reports of all of these
//! - `lost_log`: log that can no longer be read, until a snapshot has replaced it
//! - `paced` reads files for `sending` and `backups`, and `stall` limits how long a transfer may stand still

mod backups;
mod event;
mod keeping;
mod lost_log;
mod paced;
mod receiving;
mod sending;
mod stall;
mod taking;
#[cfg(test)]
mod testing;

pub(super) use event::{BackupReply, SnapshotEvent};
pub(super) use keeping::Snapshots;
pub(super) use receiving::route;
