//! Transactions of three operations: two writes and a read, under a condition that holds.

use crate::Scale;
use crate::clients::send_for;
use crate::cluster::Steady;
use kvclient::api::Test;
use kvclient::{Txn, TxnOutcome};

const CLIENTS: usize = 64;
const VALUE_BYTES: usize = 100;

/// Keys that each client writes in turn.
const KEYS: usize = 100;

pub(crate) fn measure(scale: Scale) {
    let cluster = Steady::start();
    let client = cluster.client();
    let value = "v".repeat(VALUE_BYTES);
    client.set("txn/open", "yes").expect("a majority is there");
    let (client, value) = (&client, &value);
    let txns = send_for(scale.lasts, CLIENTS, |number| {
        let mut count = 0;
        move || {
            let key = count % KEYS;
            count += 1;
            let (one, other) = (format!("txn/{number:02}/{key:03}/one"), format!("txn/{number:02}/{key:03}/other"));
            let mut txn = Txn::new();
            txn.when("txn/open", Test::Present);
            drop(txn.then().set(one.as_str(), value.as_str()));
            drop(txn.then().set(other, value.as_str()));
            let read = txn.then().get(one);
            let TxnOutcome::Then(mut done) = client.commit(txn).expect("a majority is there") else {
                panic!("the condition holds")
            };
            assert_eq!(done.take(read).expect("it was just written").value, value.as_bytes());
        }
    });
    println!("transactions of three operations, values of {VALUE_BYTES} bytes");
    println!("{:>7} {:>8} {:>10} {:>10}", "clients", "txns/s", "median", "99 %");
    println!("{CLIENTS:>7} {:>8.0} {:>7.2} ms {:>7.2} ms", txns.per_second(), txns.ms(0.5), txns.ms(0.99));
    cluster.check_leader();
}
