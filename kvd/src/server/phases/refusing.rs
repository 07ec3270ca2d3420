//! Answers for clients while this node has no replica to ask.

use crate::http::{BackupError, NotTransferred, Request};
use crate::node::{ChangeError, ReadError, WriteError};

/// Refuses a request, as a node outside any cluster does.
pub(super) fn refuse(request: Request) {
    // If the receiver is gone, nobody waits for the answer.
    match request {
        Request::Write { reply, .. } => drop(reply.send(Err(WriteError::NoLeader))),
        Request::Read { reply, .. } => drop(reply.send(Err(ReadError::NoLeader))),
        Request::LeadershipTransfer { reply, .. } => drop(reply.send(Err(NotTransferred::NoLeader))),
        Request::Backup { reply } => drop(reply.send(Err(BackupError::Forming))),
        Request::ChangeMembers { reply, .. } => drop(reply.send(Err(ChangeError::NoLeader))),
    }
}
