//! `POST /leader/transfer`: another node is to lead.
//!
//! The answer comes once it is known what became of it, which takes as long as an election timeout at most where there
//! is a quorum. To ask again does no harm: who leads already has nothing to hand over, and says so with the same reply.

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::gateway::NotHandedOver;
use super::keys::{Upload, from_json, target};
use super::reply;
use bytes::Buf;
use futures_util::Stream;
use kvclient::api::TransferRequest;
use warp::reply::Response;

/// Largest body, in bytes: far more than a name takes.
const BODY_BYTES_MAX: usize = 4 << 10;

/// Hands over, and answers with the new leader.
pub(super) async fn transfer<B: Buf>(
    context: &Context,
    upload: Upload<impl Stream<Item = Result<B, warp::Error>>>,
) -> Result<Response, ApiError> {
    let (Body { bytes, charge: _held }, query) = upload.into_body(context, BODY_BYTES_MAX).await?;
    let TransferRequest { to } =
        if bytes.is_empty() { TransferRequest::default() } else { from_json(&bytes, r#"{"to":"node2"}"#)? };
    match context.hand_over(to.clone()).await? {
        Ok(leader) => Ok(reply::ok(&leader)),
        Err(NotHandedOver::NotLeader) => Err(context.redirect(|| target("/leader/transfer", &query))),
        Err(failure) => Err(refusal(context, to.as_deref().unwrap_or_default(), failure)),
    }
}

/// What is said of a hand-over `to` a node that came to nothing.
fn refusal(context: &Context, to: &str, failure: NotHandedOver) -> ApiError {
    match failure {
        NotHandedOver::NotLeader | NotHandedOver::NoLeader => context.no_leader(),
        NotHandedOver::UnknownMember => {
            let names = context.member_names();
            ApiError::invalid(format!("`{to}` is no member of this cluster: name one of {names}"))
        }
        NotHandedOver::NotVoter => {
            ApiError::invalid(format!("{to} does not vote, so it cannot lead: name one of the voters"))
        }
        NotHandedOver::NoTarget => ApiError::NotHandedOver(
            "no other voter has been heard lately, so nobody can take over, and this node goes on: see `GET /members` \
             and start one"
                .into(),
        ),
        NotHandedOver::UnderWay { to } => ApiError::NotHandedOver(format!(
            "leadership is being handed over to {to} already: wait for that, then ask again"
        )),
        NotHandedOver::GivenUp { to, leader } => ApiError::NotHandedOver(format!(
            "{to} did not take over within an election timeout, and {leader} still leads: see that {to} runs and keeps \
             up, then ask again"
        )),
        NotHandedOver::OtherElected { leader } => ApiError::NotHandedOver(format!(
            "{leader} was elected before the hand-over was done, and leads now: ask again if that will not do"
        )),
        NotHandedOver::LeaderUnknown => ApiError::OutcomeUnknown(
            "this node leads no more, and has heard of no leader since: see `GET /leader` of the other nodes",
        ),
    }
}
