//! How kvctl ends: one line on standard error, and an exit code that a script can act upon.

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
    3  key not found
    4  condition failed; nothing was changed
    5  no leader, no quorum, or nobody of the cluster reachable; nothing was changed
    6  outcome unknown: the write may or may not have been applied
  130  interrupted

With `--output json` an error is one line of JSON on standard error as well, with a code that says more.";

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; also when the reader of the output had seen enough and closed the pipe.
    Done = 0,
    /// Any other error.
    Failed = 1,
    /// The command line makes no sense. Nothing was sent.
    Usage = 2,
    /// There is no such key.
    KeyNotFound = 3,
    /// The condition of a write did not hold. Nothing was changed.
    ConditionFailed = 4,
    /// No leader, no quorum, or nobody of the cluster answers. Nothing was changed.
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

/// What a command found that is neither an error of the client nor of the system, and what it says of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such key.
    KeyNotFound(String),
    /// The cluster serves nobody, for this reason.
    Unavailable(String),
    /// A signal came before the end.
    Interrupted(String),
    /// Anything else; the sentence says what to do.
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeyNotFound(why) | Self::Unavailable(why) | Self::Interrupted(why) | Self::Other(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Failure {}

/// A command line that makes no sense.
pub(crate) const USAGE: Complaint = Complaint { code: "usage", applied: Some(Applied::No), exit: 2, current: None };

/// A signal that ended a write whose answer was still to come.
pub(crate) const INTERRUPTED: Complaint = Complaint { code: "interrupted", applied: None, exit: 130, current: None };

/// Says in one line on standard error what went wrong and what to do. A closed pipe goes without saying.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    let exit = of(error);
    if exit != Exit::Done {
        output::complain_of(complaint(error, exit), &format!("{error:#}{}", advice(error)));
    }
    exit
}

/// The error for programs.
fn complaint(error: &anyhow::Error, exit: Exit) -> Complaint {
    let complaint = Complaint { exit: exit as u8, ..Complaint::default() };
    if let Some(failure) = error.downcast_ref::<Failure>() {
        let code = match failure {
            Failure::KeyNotFound(_) => "key_not_found",
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

/// The name of an error among figures, and for programs: that of the API where it has one.
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
        Error::TransferFailed { .. } => "transfer_failed",
        Error::MemberNotFound { .. } => "member_not_found",
        Error::ChangeRefused { .. } => "change_refused",
        Error::Forbidden { .. } => "forbidden",
        Error::Configuration { .. } => "configuration",
        Error::Unexpected { .. } => "unexpected",
        _ => "other",
    }
}

/// What someone at a terminal can do that the client, which knows nothing of flags, does not say.
fn advice(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref() {
        Some(kvclient::Error::Unreachable { .. }) => " (set --endpoints; `kvd dev` starts a test cluster)",
        _ => "",
    }
}

/// The exit code that a command ends with.
pub(crate) fn of_result(ended: &anyhow::Result<()>) -> Exit {
    ended.as_ref().map_or_else(of, |()| Exit::Done)
}

/// The exit code that an error stands for.
fn of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::KeyNotFound(_) => Exit::KeyNotFound,
            Failure::Unavailable(_) => Exit::Unavailable,
            Failure::Interrupted(_) => Exit::Interrupted,
            Failure::Other(_) => Exit::Failed,
        };
    }
    if let Some(error) = error.downcast_ref::<kvclient::Error>() {
        return match error {
            kvclient::Error::ConditionFailed { .. } => Exit::ConditionFailed,
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
