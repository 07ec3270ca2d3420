//! The body of `/txn`, and its reply.

use super::super::keys::{DeleteReply, GetReply, SetReply};
use super::super::list::ListReply;
use super::super::object::read_from_object;
use super::super::request_id::RequestId;
use super::compare::Compare;
use super::op::{Op, Txn};
use serde::{Deserialize, Serialize};

/// Body of `POST /txn`.
///
/// ```
/// use kvclient::api::{Compare, Op, Test, Txn, TxnRequest};
///
/// let txn = Txn {
///     compares: vec![Compare::of("color", Test::Present)],
///     then: vec![Op::delete("color"), Op::set("colour", "blue")],
///     otherwise: vec![],
/// };
/// let json = r#"{"if":[{"key":"color","present":true}],"then":[{"delete":{"key":"color"}},{"set":{"key":"colour","value":"blue"}}]}"#;
/// assert_eq!(serde_json::to_string(&TxnRequest::new(txn))?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TxnRequest {
    /// The compares, and the operations for either outcome.
    #[serde(flatten)]
    pub txn: Txn,
    /// Makes the transaction apply at most once, even if it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl TxnRequest {
    /// Creates a transaction without a request id.
    ///
    /// ```
    /// use kvclient::api::{Op, Txn, TxnRequest};
    ///
    /// let request = TxnRequest::new(Txn { then: vec![Op::get("color")], ..Txn::default() });
    /// assert_eq!(serde_json::to_string(&request)?, r#"{"then":[{"get":{"key":"color"}}]}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(txn: Txn) -> Self {
        Self { txn, request: None }
    }
}

read_from_object!(
    TxnRequest, "an object with `if`, `then`, `else`",
    bytes {},
    {
        #[serde(rename = "if", default)] compares: Vec<Compare>,
        #[serde(default)] then: Vec<Op>,
        #[serde(rename = "else", default)] otherwise: Vec<Op>,
        #[serde(default)] request: Option<RequestId>
    },
    { Ok(TxnRequest { txn: Txn { compares, then, otherwise }, request }) }
);

/// Reply of `POST /txn`.
///
/// ```
/// use kvclient::api::{OpResult, SetReply, TxnReply};
///
/// let json = r#"{"succeeded":true,"revision":7,"results":[{"revision":7,"created":true},null]}"#;
/// let reply: TxnReply = serde_json::from_str(json)?;
/// assert_eq!(reply.results, [OpResult::Set(SetReply::new(7, true)), OpResult::Get(None)]);
/// assert_eq!(serde_json::to_string(&reply)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnReply {
    /// True if all compares held, so that `then` ran, and not `else`.
    pub succeeded: bool,
    /// Revision of the store after the transaction.
    pub revision: u64,
    /// The result of each operation that ran, in order.
    pub results: Vec<OpResult>,
}

/// Result of one operation of a transaction, shaped like the reply of its own path.
///
/// ```
/// use kvclient::api::{DeleteReply, OpResult};
///
/// let result: OpResult = serde_json::from_str(r#"{"revision":8,"deleted":1}"#)?;
/// assert_eq!(result, OpResult::Delete(DeleteReply::new(8, 1)));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OpResult {
    /// Result of `set`.
    Set(SetReply),
    /// Result of `delete`.
    Delete(DeleteReply),
    /// Result of `txn`.
    Txn(TxnReply),
    /// Result of `get`: null if there was no such key.
    Get(Option<GetReply>),
    /// Result of `list`.
    List(ListReply),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_takes_no_field_that_belongs_to_the_transaction_or_to_a_page() {
        let parse = |json: &str| serde_json::from_str::<TxnRequest>(json).map_err(|cause| cause.to_string());
        for (json, complaint) in [
            (r#"{"then":[{"set":{"key":"k","value":"v","if":{"absent":true}}}]}"#, "unknown field `if`"),
            (
                r#"{"then":[{"set":{"key":"k","value":"v","request":{"client":"c","seq":1}}}]}"#,
                "unknown field `request`",
            ),
            (r#"{"then":[{"set":{"key":"k","value":"v","ttl_ms":1,"lease":"00000000000004d2"}}]}"#, "give one of"),
            (r#"{"then":[{"delete":{"key":"k","if":{"absent":true}}}]}"#, "unknown field `if`"),
            (r#"{"then":[{"delete":{"prefix":""}}]}"#, "say so with"),
            (r#"{"then":[{"get":{"key":"k","revision":7}}]}"#, "unknown field `revision`"),
            (r#"{"then":[{"get":{"key":"k","consistency":"stale"}}]}"#, "unknown field `consistency`"),
            (r#"{"else":[{"list":{"prefix":"k","next":"t"}}]}"#, "unknown field `next`"),
            (r#"{"then":[{"txn":{"then":[],"request":{"client":"c","seq":1}}}]}"#, "unknown field `request`"),
            (r#"{"then":[{"put":{"key":"k"}}]}"#, "unknown operation `put`: give exactly one of set, delete"),
            (r#"{"then":[{}]}"#, "the operation is empty"),
            (r#"{"then":[{"get":{"key":"k"},"list":{}}]}"#, "more than one operation in one object"),
            (r#"{"then":["get"]}"#, "expected an operation object"),
            (r#"{"if":{"key":"k","absent":true}}"#, "expected a sequence"),
            (r#"{"success":[]}"#, "unknown field `success`"),
            (r#"[[],[]]"#, "expected an object with `if`, `then`, `else`"),
        ] {
            let error = parse(json).expect_err(json);
            assert!(error.contains(complaint), "{json}: {error}");
        }
    }

    #[test]
    fn transactions_and_results_come_back_as_they_went() {
        let nested = r#"{"if":[{"prefix":"a","absent":true}],"then":[{"txn":{"if":[{"held":{"name":"n","token":57}}],"then":[{"set":{"key":"k","value_base64":"/w==","ttl_ms":500}}],"else":[{"list":{"limit":5}}]}}],"request":{"client":"c","seq":9}}"#;
        let request: TxnRequest = serde_json::from_str(nested).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), nested);
        let item = r#"{"key":"k","value":"v","create_revision":4,"mod_revision":7,"version":2"#;
        let results = format!(
            r#"{{"succeeded":false,"revision":9,"results":[{{"revision":9,"created":false,"prev":{item}}}}},{{"revision":9,"deleted":2,"items":[{item}}}]}},{item},"revision":9}},null,{{"items":[{item}}}],"revision":9,"more":true}},{{"items":[],"revision":9,"count":5}},{{"succeeded":true,"revision":9,"results":[]}}]}}"#
        );
        let reply: TxnReply = serde_json::from_str(&results).unwrap();
        assert_eq!(serde_json::to_string(&reply).unwrap(), results);
        let kinds = reply.results.iter().map(|result| match result {
            OpResult::Set(_) => "set",
            OpResult::Delete(_) => "delete",
            OpResult::Get(_) => "get",
            OpResult::List(_) => "list",
            OpResult::Txn(_) => "txn",
        });
        assert_eq!(kinds.collect::<Vec<_>>(), ["set", "delete", "get", "get", "list", "list", "txn"]);
    }
}
