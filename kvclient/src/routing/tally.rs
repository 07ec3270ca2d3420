//! The attempts of one operation, added up: a later attempt cannot take back what an earlier one may have done. "Not
//! applied" in the second answer says nothing about a first request that was sent and never answered.

use super::verdict::{Again, Kind, Reason};
use crate::api::Applied;
use crate::endpoint::Endpoint;
use crate::error::Error;
use std::time::Duration;

/// The attempts of one operation, added up.
#[derive(Debug)]
pub(crate) struct Tally {
    kind: Kind,
    /// Failed attempts so far.
    pub(crate) attempts: u32,
    may_be_applied: bool,
    last: Option<(Reason, String)>,
    /// Advertised URL of a leader that could not be reached there.
    unreached_leader: Option<Endpoint>,
}

impl Tally {
    /// Creates a tally without attempts.
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind, attempts: 0, may_be_applied: false, last: None, unreached_leader: None }
    }

    /// Counts an attempt that may be repeated.
    pub(crate) fn add(&mut self, again: Again) {
        self.attempts = self.attempts.saturating_add(1);
        self.may_be_applied |= again.applied == Applied::Unknown;
        // A node of the cluster that answered is more informative than other failures, whichever came last.
        let answered = |reason| reason > Reason::WrongCluster;
        let outranked = |last: Reason| last > again.reason && !answered(again.reason);
        if !self.last.as_ref().is_some_and(|(last, _)| outranked(*last)) {
            self.last = Some((again.reason, again.detail));
        }
    }

    /// Records that the leader cannot be reached at its advertised URL.
    pub(super) fn leader_unreached(&mut self, advertised: &Endpoint) {
        self.unreached_leader = Some(advertised.clone());
    }

    /// Returns the error when no further attempt is made. `silence` names the nodes that did not answer, and why.
    pub(crate) fn give_up(self, after: Duration, silence: Option<String>) -> Error {
        let (reason, mut detail) = self.last.unwrap_or((Reason::TimeOver, "no time for any attempt".into()));
        if let (Reason::TimeOver | Reason::Unreachable, Some(silence)) = (reason, silence) {
            detail = silence;
        }
        if let Some(advertised) = self.unreached_leader {
            detail += &format!("; the leader advertises {advertised}, which cannot be reached from here");
        }
        let write = self.kind == Kind::Write;
        match reason {
            _ if self.may_be_applied => Error::OutcomeUnknown { after, detail },
            Reason::TimeOver | Reason::Unreachable => Error::Unreachable { after, detail, write },
            Reason::WrongCluster => Error::WrongCluster { after, detail, write },
            Reason::NoLeader => Error::NoLeader { after, detail, write },
            Reason::Overloaded => Error::Overloaded { after, detail, write },
        }
    }

    /// Returns the error when an attempt was refused for good.
    pub(crate) fn refused(self, refusal: Error, after: Duration) -> Error {
        match refusal {
            // Decided by the state machine under this request's id, hence for all attempts.
            Error::ConditionFailed { .. }
            | Error::LeaseNotFound { .. }
            | Error::LeaseExists { .. }
            | Error::LockLost { .. } => refusal,
            refusal if self.may_be_applied => Error::OutcomeUnknown { after, detail: refusal.bare() },
            refusal => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(reason: Reason, applied: Applied) -> Again {
        Again { reason, detail: format!("{reason:?}"), applied, retry_after: None }
    }

    fn tally(attempts: &[(Reason, Applied)]) -> Tally {
        let mut tally = Tally::of(Kind::Write);
        for (reason, applied) in attempts {
            tally.add(again(*reason, *applied));
        }
        tally
    }

    #[test]
    fn one_attempt_in_doubt_leaves_the_whole_write_in_doubt() {
        use Applied::{No, Unknown};
        use Reason::{NoLeader, Overloaded, TimeOver, Unreachable, WrongCluster};
        for (attempts, name) in [
            (vec![], "Unreachable"),
            (vec![(Unreachable, No), (Unreachable, No)], "Unreachable"),
            (vec![(TimeOver, No)], "Unreachable"),
            (vec![(NoLeader, No), (TimeOver, No)], "NoLeader"),
            (vec![(NoLeader, No), (Unreachable, No)], "NoLeader"),
            (vec![(Unreachable, No), (WrongCluster, No)], "WrongCluster"),
            (vec![(WrongCluster, No), (Unreachable, No)], "WrongCluster"),
            (vec![(NoLeader, No), (WrongCluster, No)], "NoLeader"),
            (vec![(WrongCluster, No), (NoLeader, No)], "NoLeader"),
            (vec![(NoLeader, No), (Overloaded, No)], "Overloaded"),
            (vec![(Overloaded, No), (NoLeader, No)], "NoLeader"),
            (vec![(Unreachable, Unknown), (NoLeader, No)], "OutcomeUnknown"),
            (vec![(NoLeader, No), (NoLeader, Unknown), (Unreachable, No), (Overloaded, No)], "OutcomeUnknown"),
        ] {
            let error = tally(&attempts).give_up(Duration::ZERO, None);
            assert!(format!("{error:?}").starts_with(name), "{attempts:?}: {error:?}");
            let doubt = attempts.iter().any(|(_, applied)| *applied == Unknown);
            assert_eq!(error.applied() == Unknown, doubt, "{attempts:?}");
        }
    }

    #[test]
    fn that_the_time_was_over_hides_no_better_reason() {
        let error =
            tally(&[(Reason::Unreachable, Applied::No), (Reason::TimeOver, Applied::No)]).give_up(Duration::ZERO, None);
        assert!(matches!(&error, Error::Unreachable { detail, .. } if detail == "Unreachable"), "{error:?}");
    }

    #[test]
    fn the_error_names_who_was_silent_and_a_leader_that_is_not_where_it_says() {
        let silence = || Some("refused: http://a:1, http://b:1".to_owned());
        let error = tally(&[(Reason::Unreachable, Applied::No)]).give_up(Duration::ZERO, silence());
        assert!(error.to_string().contains("(refused: http://a:1, http://b:1)"), "{error}");
        let mut tally = tally(&[(Reason::NoLeader, Applied::No)]);
        tally.leader_unreached(&Endpoint::parse("http://10.0.0.1:1").unwrap());
        let error = tally.give_up(Duration::ZERO, silence());
        let says = "(NoLeader; the leader advertises http://10.0.0.1:1, which cannot be reached from here)";
        assert!(matches!(error, Error::NoLeader { .. }) && error.to_string().contains(says), "{error}");
    }

    #[test]
    fn a_refusal_after_an_attempt_in_doubt_decides_only_if_the_state_machine_gave_it() {
        let sure = || tally(&[(Reason::NoLeader, Applied::No)]);
        let unsure = || tally(&[(Reason::Unreachable, Applied::Unknown)]);
        let too_large = || Error::TooLarge { message: "1 MiB".into() };
        let failed = || Error::ConditionFailed { current: None };

        assert!(matches!(sure().refused(too_large(), Duration::ZERO), Error::TooLarge { .. }));
        assert!(matches!(unsure().refused(too_large(), Duration::ZERO), Error::OutcomeUnknown { .. }));
        assert!(matches!(sure().refused(failed(), Duration::ZERO), Error::ConditionFailed { .. }));
        assert!(matches!(unsure().refused(failed(), Duration::ZERO), Error::ConditionFailed { .. }));
        let full = Error::StoreFull { message: "1 GiB".into() };
        assert!(matches!(unsure().refused(full, Duration::ZERO), Error::OutcomeUnknown { .. }));
        let gone = Error::LeaseNotFound { message: "it has ended".into() };
        assert!(matches!(unsure().refused(gone, Duration::ZERO), Error::LeaseNotFound { .. }));
    }
}
