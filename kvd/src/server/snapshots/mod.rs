//! Snapshots of a running node: taken on a thread of their own while the node goes on, sent to followers that need
//! them, received from leaders, and given to clients as backups. The log goes behind them.
//!
//! - `keeping`: [`Snapshots`], which belongs to the task that runs the node, decides when any of this is done
//! - `taking` writes a snapshot
//! - `sending` and `receiving` are the two ends of `POST /raft/snapshot`
//! - `backups` answers `GET /snapshot`
//! - `event`: what all of these report
//! - `lost_log`: log that cannot be read any more, until a snapshot has taken its place
//! - `paced` reads files for both who give one away, and `stall` is the limit on transfers that stand still

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
