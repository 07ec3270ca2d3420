//! Request bodies, read within limits of size, time and memory.
//!
//! A body whose announced length is too large is refused unread. A body without an announced length (chunked) is cut
//! off where it passes the limit. A body that arrives in one piece, as nearly all do, is used without a copy. A body
//! that arrives in pieces is charged for its bytes, against a budget that all requests share, until its request is
//! answered: many large bodies at once become `overloaded`, and the node never runs out of memory.

use super::error::ApiError;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use kvclient::api::{KEY_BYTES_MAX, TXN_OPERATIONS_MAX};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Memory for bodies that arrive in pieces, over all requests together. Larger if a single body may be larger.
const BUDGET_BYTES: usize = 256 << 20;

/// Most bytes of JSON for one byte of text: `\u0000`.
const JSON_ESCAPE_BYTES_MAX: usize = 6;

/// Room for the braces and field names of one operation of a transaction.
const OPERATION_WORDS_BYTES: usize = 256;

/// Room for braces, field names, a revision, a request id.
const JSON_OVERHEAD_BYTES: usize = 4096;

/// Returns the largest JSON body that a request can need: two values (the new one and the one of `if`) and a key, with
/// every byte escaped. Base64 takes less.
pub(super) fn json_bytes_max(value_bytes_max: usize) -> usize {
    value_bytes_max
        .saturating_mul(2)
        .saturating_add(KEY_BYTES_MAX)
        .saturating_mul(JSON_ESCAPE_BYTES_MAX)
        .saturating_add(JSON_OVERHEAD_BYTES)
}

/// Returns the largest JSON body that a transaction can need: its bytes, every one escaped, and the words around them.
pub(super) fn txn_json_bytes_max(txn_bytes_max: usize) -> usize {
    let words = TXN_OPERATIONS_MAX * OPERATION_WORDS_BYTES;
    txn_bytes_max.saturating_mul(JSON_ESCAPE_BYTES_MAX).saturating_add(words)
}

/// Reads the bodies of one server's requests.
pub(super) struct BodyReader {
    /// One permit for each byte that bodies in pieces may still use.
    budget: Arc<Semaphore>,
    /// Time within which a body must arrive.
    time_max: Duration,
}

/// A body, with its charge against the budget.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Returned once the request has been answered.
    pub(super) charge: Option<OwnedSemaphorePermit>,
}

impl BodyReader {
    /// Returns a reader whose budget has room for at least one body of `body_bytes_max`.
    pub(super) fn new(body_bytes_max: usize, time_max: Duration) -> Self {
        let budget = BUDGET_BYTES.max(body_bytes_max).min(Semaphore::MAX_PERMITS);
        Self { budget: Arc::new(Semaphore::new(budget)), time_max }
    }

    /// Reads a body. `length` is its length if the client announced one; `by` is the time by which it must arrive, if
    /// the request sets one.
    ///
    /// # Errors
    /// [`ApiError`] for a body beyond `bytes_max`, unread if `length` already exceeds it; for a body that does not
    /// arrive in time, or breaks off; and if the budget is spent.
    pub(super) async fn read<B: Buf, E>(
        &self,
        pieces: impl Stream<Item = Result<B, E>>,
        length: Option<u64>,
        bytes_max: usize,
        by: Option<Instant>,
    ) -> Result<Body, ApiError> {
        if length.is_some_and(|length| length > bytes_max as u64) {
            return Err(ApiError::body_too_large(bytes_max));
        }
        let deadline = Instant::now() + self.time_max;
        let deadline = by.map_or(deadline, |by| by.min(deadline));
        let reading = self.collect(pieces, length, bytes_max);
        timeout_at(deadline, reading).await.unwrap_or(Err(ApiError::body_too_slow()))
    }

    async fn collect<B: Buf, E>(
        &self,
        pieces: impl Stream<Item = Result<B, E>>,
        length: Option<u64>,
        bytes_max: usize,
    ) -> Result<Body, ApiError> {
        let mut pieces = pin!(pieces);
        let Some(first) = pieces.next().await.transpose().map_err(broken_off)? else {
            return Ok(Body { bytes: Bytes::new(), charge: None });
        };
        if length == Some(first.remaining() as u64) {
            return Ok(Body { bytes: take(first), charge: None });
        }
        let mut bytes = BytesMut::new();
        let mut charge: Option<OwnedSemaphorePermit> = None;
        let mut next = Some(first);
        while let Some(piece) = next {
            // The order matters: memory is taken only for bytes that are allowed and charged.
            if bytes.len() + piece.remaining() > bytes_max {
                return Err(ApiError::body_too_large(bytes_max));
            }
            let paid = self.charge(piece.remaining())?;
            match &mut charge {
                Some(charge) => charge.merge(paid),
                None => charge = Some(paid),
            }
            bytes.extend_from_slice(&take(piece));
            next = pieces.next().await.transpose().map_err(broken_off)?;
        }
        Ok(Body { bytes: bytes.freeze(), charge })
    }

    fn charge(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.budget).try_acquire_many_owned(permits).map_err(|_| ApiError::bodies_too_many())
    }
}

/// Returns the bytes of one piece. The server's pieces are one slice each, so nothing is copied.
fn take(mut piece: impl Buf) -> Bytes {
    piece.copy_to_bytes(piece.remaining())
}

fn broken_off<E>(_: E) -> ApiError {
    ApiError::invalid("the body is incomplete: send it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    const AMPLE_TIME: Duration = Duration::from_secs(3600);

    async fn read(reader: &BodyReader, pieces: &[&'static str], length: Option<u64>) -> Result<Body, ApiError> {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes()))).collect();
        reader.read(stream::iter(pieces), length, 8, None).await
    }

    #[tokio::test]
    async fn a_body_comes_whole_up_to_the_limit_and_not_beyond() {
        let reader = BodyReader::new(8, AMPLE_TIME);
        for (pieces, length, expected) in [
            (&[][..], None, Some("")),
            (&[], Some(0), Some("")),
            (&["12345678"], Some(8), Some("12345678")),
            (&["1234", "5678"], Some(8), Some("12345678")),
            (&["1234", "5678"], None, Some("12345678")),
            (&["1234", "5678", "9"], None, None),
            (&["123456789"], None, None),
            (&[], Some(9), None),
            (&[], Some(u64::MAX), None),
        ] {
            let bytes = read(&reader, pieces, length).await.map(|body| body.bytes);
            let expected = expected.map(Bytes::from).ok_or(ApiError::body_too_large(8));
            assert_eq!(bytes, expected, "{pieces:?} {length:?}");
        }
    }

    #[tokio::test]
    async fn bodies_in_pieces_are_charged_until_they_are_dropped() {
        let reader = BodyReader { budget: Arc::new(Semaphore::new(12)), time_max: AMPLE_TIME };
        let held = read(&reader, &["1234", "5678"], Some(8)).await;
        assert!(held.is_ok());
        assert_eq!(read(&reader, &["1234", "5678"], Some(8)).await.err(), Some(ApiError::bodies_too_many()));
        assert!(read(&reader, &["12345678"], Some(8)).await.is_ok(), "one piece costs nothing");
        drop(held);
        assert!(read(&reader, &["1234", "5678"], Some(8)).await.is_ok());
        assert_eq!(reader.budget.available_permits(), 12, "nothing leaks, from failures neither");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let endless = stream::pending::<Result<Bytes, Infallible>>;
        let reader = BodyReader::new(8, Duration::from_millis(1));
        let late = Instant::now() + AMPLE_TIME;
        for by in [None, Some(late)] {
            assert_eq!(reader.read(endless(), None, 8, by).await.err(), Some(ApiError::body_too_slow()));
        }
        let reader = BodyReader::new(8, AMPLE_TIME);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(reader.read(endless(), None, 8, Some(soon)).await.err(), Some(ApiError::body_too_slow()));
    }

    #[test]
    fn the_largest_json_body_has_room_for_the_most_wasteful_request() {
        use kvclient::api::{CLIENT_NAME_CHARS_MAX, Condition, RequestId, SetRequest};
        let value = vec![0u8; 1000];
        let request = SetRequest {
            condition: Some(Condition::Value(value.clone())),
            prev: true,
            request: Some(RequestId { client: "\0".repeat(CLIENT_NAME_CHARS_MAX), seq: u64::MAX }),
            ..SetRequest::new("\0".repeat(KEY_BYTES_MAX), value)
        };
        let json = serde_json::to_vec(&request).unwrap();
        assert!(json.len() <= json_bytes_max(1000), "{} > {}", json.len(), json_bytes_max(1000));
    }
}
