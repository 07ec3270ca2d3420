use super::*;
use crate::api::{Range, TxnReply};
use serde_json::json;

/// Returns the outcome of a transaction with this reply.
fn outcome(txn: Txn, reply: serde_json::Value) -> Result<TxnOutcome, String> {
    let reply: TxnReply = serde_json::from_value(reply).unwrap();
    txn.into_api().1(reply)
}

#[test]
fn each_result_is_taken_by_the_handle_of_its_operation() {
    let mut nested = Txn::new();
    nested.when_absent("k");
    let inner = nested.otherwise().get("k");
    let mut txn = Txn::new();
    let branch = txn.then();
    let (listed, set, nested) = (branch.list(Range::All), branch.set("k", "v"), branch.txn(nested));
    let (deleted, read) = (branch.delete("d"), branch.get("g"));
    let item = json!({"key": "k", "value": "v", "create_revision": 4, "mod_revision": 7, "version": 2, "revision": 9});
    let reply = json!({"succeeded": true, "revision": 9, "results": [
        {"items": [], "revision": 9, "count": 5},
        {"revision": 9, "created": true},
        {"succeeded": false, "revision": 9, "results": [item]},
        {"revision": 9, "deleted": 3},
        null,
    ]});
    let TxnOutcome::Then(mut results) = outcome(txn, reply).unwrap() else { panic!("it succeeded") };
    assert_eq!(results.revision(), 9);
    assert_eq!(results.take(read), None);
    assert_eq!(results.take(deleted).deleted, 3);
    assert_eq!((results.take(listed).count, results.take(set).created), (Some(5), true));
    let TxnOutcome::Else(mut results) = results.take(nested) else { panic!("it did not succeed") };
    assert_eq!(results.take(inner).unwrap().mod_revision, 7);
}

#[test]
fn a_reply_of_another_shape_is_refused_as_a_whole() {
    let with = |results| json!({"succeeded": true, "revision": 9, "results": results});
    for (results, complaint) in [
        (json!([]), "number of operations: 1, of results: 0"),
        (json!([null]), "operation 1 is that of another operation"),
        (json!([{"revision": 9, "created": true}, null]), "number of operations: 1, of results: 2"),
    ] {
        let mut txn = Txn::new();
        drop(txn.then().delete("k"));
        let error = outcome(txn, with(results)).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
#[should_panic(expected = "the handle is one of another transaction")]
fn a_handle_of_another_transaction_is_no_handle_of_this_one() {
    let (mut one, mut other) = (Txn::new(), Txn::new());
    drop(one.then().get("k"));
    let handle = other.then().get("k");
    let reply = json!({"succeeded": true, "revision": 9, "results": [null]});
    let Ok(TxnOutcome::Then(mut results)) = outcome(one, reply) else { panic!("it succeeded") };
    results.take(handle);
}
