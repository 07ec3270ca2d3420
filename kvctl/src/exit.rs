//! The end of a run of kvctl: one line on standard error, and an exit code for scripts.

use crate::output::{self, Complaint};
use kvclient::api::Applied;
use std::io;
use std::process::ExitCode;

/// The exit codes, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done
    1  any other error
    2  invalid usage
    3  key, or lease, not found
    4  condition failed, or another holds the lock; nothing was changed
    5  no leader, no quorum, or nobody of the cluster reachable; nothing was changed
    6  outcome unknown: the write may or may not have been applied
  130  interrupted

With `--output json` an error is one line of JSON on standard error as well, with a code that says more.";

/// Exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; also if the reader of the output had seen enough and closed the pipe.
    Done = 0,
    /// Any other error.
    Failed = 1,
    /// Invalid usage. Nothing was sent.
    Usage = 2,
    /// There is no such key, or no such lease.
    KeyNotFound = 3,
    /// The condition of a write did not hold, or another client holds the lock. Nothing was changed.
    ConditionFailed = 4,
    /// No leader, no quorum, or no node of the cluster answers. Nothing was changed.
    Unavailable = 5,
    /// The answer to a write was lost: it may have been applied.
    OutcomeUnknown = 6,
    /// Stopped by SIGINT or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure found by a command that is neither an error of the client nor of the system, and its message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such key.
    KeyNotFound(String),
    /// There is no such lease.
    LeaseNotFound(String),
    /// The cluster cannot serve, for this reason.
    Unavailable(String),
    /// A signal arrived before the end.
    Interrupted(String),
    /// Anything else; the sentence says what to do.
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeyNotFound(why)
            | Self::LeaseNotFound(why)
            | Self::Unavailable(why)
            | Self::Interrupted(why)
            | Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

/// Invalid usage.
pub(crate) const USAGE: Complaint = Complaint { code: "usage", applied: Some(Applied::No), exit: 2, current: None };

/// A signal ended a write that had not been answered yet.
pub(crate) const INTERRUPTED: Complaint = Complaint { code: "interrupted", applied: None, exit: 130, current: None };

/// Reports in one line on standard error what went wrong and what to do. A closed pipe is not reported.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    let exit = of(error);
    if exit != Exit::Done {
        output::complain_of(complaint(error, exit), &format!("{error:#}{}", advice(error)));
    }
    exit
}

/// Returns the error in the form for programs.
fn complaint(error: &anyhow::Error, exit: Exit) -> Complaint {
    let complaint = Complaint { exit: exit as u8, ..Complaint::default() };
    if let Some(failure) = error.downcast_ref::<Failure>() {
        let code = match failure {
            Failure::KeyNotFound(_) => "key_not_found",
            Failure::LeaseNotFound(_) => "lease_not_found",
            Failure::Unavailable(_) => "unavailable",
            Failure::Interrupted(_) => "interrupted",
            Failure::Other(_) => "failed",
        };
        return Complaint { code, ..complaint };
    }
    match error.downcast_ref::<kvclient::Error>() {
        Some(error) => {
            let current = match error {
                kvclient::Error::ConditionFailed { current } => Some(current.clone()),
                _ => None,
            };
            Complaint { code: code(error), applied: Some(error.applied()), current, ..complaint }
        }
        None => Complaint { code: "failed", ..complaint },
    }
}

/// Returns the name of an error in figures and for programs: that of the API if it has one.
pub(crate) fn code(error: &kvclient::Error) -> &'static str {
    use kvclient::Error;
    match error {
        Error::ConditionFailed { .. } => "condition_failed",
        Error::NoLeader { .. } => "no_leader",
        Error::Unreachable { .. } => "unreachable",
        Error::WrongCluster { .. } => "wrong_cluster",
        Error::OutcomeUnknown { .. } => "outcome_unknown",
        Error::InvalidRequest { .. } => "invalid_request",
        Error::TooLarge { .. } => "too_large",
        Error::Overloaded { .. } => "overloaded",
        Error::SnapshotBroken { .. } => "snapshot_broken",
        Error::Output { .. } => "output",
        Error::StaleRequest { .. } => "stale_request",
        Error::ReplyNotKept { .. } => "reply_not_kept",
        Error::StoreFull { .. } => "store_full",
        Error::Compacted { .. } => "compacted",
        Error::FutureRevision { .. } => "future_revision",
        Error::LeaseNotFound { .. } => "lease_not_found",
        Error::LeaseExists { .. } => "lease_exists",
        Error::LockHeld { .. } => "lock_held",
        Error::LockLost { .. } => "lock_lost",
        Error::ListBroken { .. } => "list_broken",
        Error::TransferFailed { .. } => "transfer_failed",
        Error::MemberNotFound { .. } => "member_not_found",
        Error::ChangeRefused { .. } => "change_refused",
        Error::Forbidden { .. } => "forbidden",
        Error::Configuration { .. } => "configuration",
        Error::Unexpected { .. } => "unexpected",
        _ => "other",
    }
}

/// Returns advice for a user of kvctl that the client cannot give, since it does not know the flags.
fn advice(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref() {
        Some(kvclient::Error::Unreachable { .. }) => " (set --endpoints; `kvd dev` starts a test cluster)",
        _ => "",
    }
}

/// Returns the exit code of a finished command.
pub(crate) fn of_result(ended: &anyhow::Result<()>) -> Exit {
    ended.as_ref().map_or_else(of, |()| Exit::Done)
}

/// Returns the exit code for an error.
fn of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::KeyNotFound(_) | Failure::LeaseNotFound(_) => Exit::KeyNotFound,
            Failure::Unavailable(_) => Exit::Unavailable,
            Failure::Interrupted(_) => Exit::Interrupted,
            Failure::Other(_) => Exit::Failed,
        };
    }
    if let Some(error) = error.downcast_ref::<kvclient::Error>() {
        return match error {
            kvclient::Error::ConditionFailed { .. } | kvclient::Error::LockHeld { .. } => Exit::ConditionFailed,
            kvclient::Error::LeaseNotFound { .. } => Exit::KeyNotFound,
            kvclient::Error::NoLeader { .. }
            | kvclient::Error::Unreachable { .. }
            | kvclient::Error::WrongCluster { .. } => Exit::Unavailable,
            kvclient::Error::OutcomeUnknown { .. } => Exit::OutcomeUnknown,
            kvclient::Error::Configuration { .. } => Exit::Usage,
            error if error.applied() == Applied::Unknown => Exit::OutcomeUnknown,
            _ => Exit::Failed,
        };
    }
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        _ => Exit::Failed,
    }
}
