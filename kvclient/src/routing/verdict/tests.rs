use super::*;
use crate::api::NodeUrl;

fn endpoint() -> Endpoint {
    Endpoint::parse("http://127.0.0.1:8081").unwrap()
}

/// Returns a node's error reply, with the status and the promise that go with its code.
fn error(code: ErrorCode) -> Reply {
    let may_have = matches!(code, ErrorCode::Timeout | ErrorCode::StaleRequest);
    let applied = if may_have { Applied::Unknown } else { Applied::No };
    error_applied(code, applied)
}

fn error_applied(code: ErrorCode, applied: Applied) -> Reply {
    let leader =
        (code == ErrorCode::NotLeader).then(|| NodeUrl { id: "node2".into(), url: "http://127.0.0.1:8082".into() });
    let current = (code == ErrorCode::ConditionFailed).then_some(None);
    let oldest_revision = (code == ErrorCode::Compacted).then_some(7);
    let error = ErrorBody { leader, current, oldest_revision, ..ErrorBody::new(code, "why", applied) };
    let body = serde_json::to_vec(&ErrorReply { error }).unwrap();
    Reply { status: code.status(), body, ..Reply::default() }
}

fn bare(status: u16) -> Reply {
    Reply { status, body: b"<html>".to_vec(), ..Reply::default() }
}

/// Returns the verdict in one word, and whether the request may be applied.
fn summary(verdict: &Verdict) -> (&'static str, Applied) {
    match verdict {
        Verdict::Done(_) => ("done", Applied::No),
        Verdict::Missing { .. } => ("missing", Applied::No),
        Verdict::Redirect(_) => ("redirect", Applied::No),
        Verdict::Refused(error) => {
            let name = match error {
                Error::ConditionFailed { .. } => "condition failed",
                Error::InvalidRequest { .. } => "invalid",
                Error::TooLarge { .. } => "too large",
                Error::Forbidden { .. } => "forbidden",
                Error::StaleRequest { .. } => "stale",
                Error::Compacted { oldest_revision: Some(7), .. } => "compacted",
                Error::FutureRevision { .. } => "future revision",
                Error::LeaseNotFound { .. } => "no lease",
                Error::LeaseExists { .. } => "lease exists",
                Error::LockHeld { .. } => "lock held",
                Error::LockLost { .. } => "lock lost",
                Error::StoreFull { .. } => "full",
                Error::Unexpected { .. } => "unexpected",
                other => panic!("no refusal: {other}"),
            };
            (name, error.applied())
        }
        Verdict::Again(again) => {
            let name = match again.reason {
                Reason::TimeOver => "again, time over",
                Reason::Unreachable => "again, unreachable",
                Reason::WrongCluster => "again, wrong cluster",
                Reason::NoLeader => "again, no leader",
                Reason::Overloaded => "again, overloaded",
            };
            (name, again.applied)
        }
    }
}

#[test]
fn every_answer_has_its_meaning() {
    use Applied::{No, Unknown};
    let broken = || Err(Failure::Broken("reset".into()));
    let silent = || Err(Failure::Silent(Duration::from_secs(2)));
    let not_sent = || Err(Failure::NotSent("refused".into()));
    type Case = (&'static str, fn() -> Result<Reply, Failure>, (&'static str, Applied), (&'static str, Applied));
    #[rustfmt::skip]
    let cases: [Case; 33] = [
        // answer                                                              as a write                      as a read
        ("200",               || Ok(Reply { status: 200, ..Reply::default() }), ("done", No),                   ("done", No)),
        ("not_leader",        || Ok(error(ErrorCode::NotLeader)),              ("redirect", No),               ("redirect", No)),
        ("invalid_request",   || Ok(error(ErrorCode::InvalidRequest)),         ("invalid", No),                ("invalid", No)),
        ("unsupported_enc.",  || Ok(error(ErrorCode::UnsupportedEncoding)),    ("invalid", No),                ("invalid", No)),
        ("forbidden_origin",  || Ok(error(ErrorCode::ForbiddenOrigin)),        ("forbidden", No),              ("forbidden", No)),
        ("key_not_found",     || Ok(error(ErrorCode::KeyNotFound)),            ("unexpected", No),             ("missing", No)),
        ("not_found",         || Ok(error(ErrorCode::NotFound)),               ("unexpected", No),             ("unexpected", No)),
        ("method_not_allowed",|| Ok(error(ErrorCode::MethodNotAllowed)),       ("unexpected", No),             ("unexpected", No)),
        ("stale_request",     || Ok(error(ErrorCode::StaleRequest)),           ("stale", Unknown),             ("stale", Unknown)),
        ("condition_failed",  || Ok(error(ErrorCode::ConditionFailed)),        ("condition failed", No),       ("condition failed", No)),
        ("too_large",         || Ok(error(ErrorCode::TooLarge)),               ("too large", No),              ("too large", No)),
        ("compacted",         || Ok(error(ErrorCode::Compacted)),              ("compacted", No),              ("compacted", No)),
        ("future_revision",   || Ok(error(ErrorCode::FutureRevision)),         ("future revision", No),        ("future revision", No)),
        ("lease_not_found",   || Ok(error(ErrorCode::LeaseNotFound)),          ("no lease", No),               ("no lease", No)),
        ("lease_exists",      || Ok(error(ErrorCode::LeaseExists)),            ("lease exists", No),           ("lease exists", No)),
        ("lock_held",         || Ok(error(ErrorCode::LockHeld)),               ("lock held", No),              ("lock held", No)),
        ("lock_lost",         || Ok(error(ErrorCode::LockLost)),               ("lock lost", No),              ("lock lost", No)),
        ("store_full",        || Ok(error(ErrorCode::StoreFull)),              ("full", No),                   ("full", No)),
        ("overloaded",        || Ok(error(ErrorCode::Overloaded)),             ("again, overloaded", No),      ("again, overloaded", No)),
        ("no_leader",         || Ok(error(ErrorCode::NoLeader)),               ("again, no leader", No),       ("again, no leader", No)),
        ("not_ready",         || Ok(error(ErrorCode::NotReady)),               ("again, no leader", No),       ("again, no leader", No)),
        ("too_stale",         || Ok(error(ErrorCode::TooStale)),               ("again, no leader", No),       ("again, no leader", No)),
        ("timeout",           || Ok(error(ErrorCode::Timeout)),                ("again, no leader", Unknown),  ("again, no leader", No)),
        ("a newer code",      || Ok(error(ErrorCode::Unknown)),                ("again, unreachable", No),     ("again, unreachable", No)),
        ("too_large, unsure", || Ok(error_applied(ErrorCode::TooLarge, Applied::Unknown)), ("again, unreachable", Unknown), ("too large", No)),
        ("no_leader, unsure", || Ok(error_applied(ErrorCode::NoLeader, Applied::Unknown)), ("again, no leader", Unknown), ("again, no leader", No)),
        ("bare 502",          || Ok(bare(502)),                                ("again, unreachable", Unknown), ("again, unreachable", No)),
        ("bare 404",          || Ok(bare(404)),                                ("unexpected", Unknown),        ("unexpected", No)),
        ("bare 204",          || Ok(bare(204)),                                ("unexpected", Unknown),        ("unexpected", No)),
        ("bare 307",          || Ok(bare(307)),                                ("again, no leader", No),       ("again, no leader", No)),
        ("connection broke",  || Err(Failure::Broken("reset".into())),         ("again, unreachable", Unknown), ("again, unreachable", No)),
        ("silence",           || Err(Failure::Silent(Duration::from_secs(2))), ("again, unreachable", Unknown), ("again, unreachable", No)),
        ("not connected",     || Err(Failure::NotSent("refused".into())),      ("again, unreachable", No),     ("again, unreachable", No)),
    ];
    for (answer, result, as_write, as_read) in cases {
        assert_eq!(summary(&judge(Kind::Write, &endpoint(), result())), as_write, "{answer}, as a write");
        assert_eq!(summary(&judge(Kind::Read, &endpoint(), result())), as_read, "{answer}, as a read");
    }
    // The message distinguishes the failures as well.
    for (result, says) in [(broken(), "reset"), (silent(), "no answer within 2.0s"), (not_sent(), "refused")] {
        let Verdict::Again(again) = judge(Kind::Read, &endpoint(), result) else { panic!("worth another attempt") };
        assert!(again.detail.contains(says), "{}", again.detail);
        assert!(again.detail.contains("127.0.0.1:8081"), "{}", again.detail);
    }
}

#[test]
fn a_redirect_names_the_leader_in_its_body_or_in_its_location() {
    let target = |reply| match judge(Kind::Write, &endpoint(), Ok(reply)) {
        Verdict::Redirect(target) => Some(target.to_string()),
        Verdict::Again(_) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(error(ErrorCode::NotLeader)).as_deref(), Some("http://127.0.0.1:8082"));
    let location = Some("http://127.0.0.1:8083/set?key=k".into());
    assert_eq!(target(Reply { location, ..bare(307) }).as_deref(), Some("http://127.0.0.1:8083"));
    let location = Some("https://elsewhere/set".into());
    assert_eq!(target(Reply { location, ..bare(307) }), None, "only to where this client can go");
}
