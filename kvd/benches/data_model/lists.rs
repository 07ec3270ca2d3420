//! Lists of 1,000 keys, as one page each, at the leader and at a follower.

use crate::Scale;
use crate::clients::send_for;
use crate::cluster::Steady;
use crate::fill::fill;
use kvclient::api::ListReply;
use testkit::Connection;

const KEYS: usize = 1_000;
const VALUE_BYTES: usize = 100;
const CLIENTS: [usize; 2] = [1, 8];

const LIST: &str = "GET /list?prefix=list/&limit=1000";

pub(crate) fn measure(scale: Scale) {
    let cluster = Steady::start();
    fill(&cluster.client(), KEYS, |number| format!("list/{number:07}"), VALUE_BYTES);
    let page = list(&mut Connection::open(&cluster.leader().url()).expect("it listens"));
    let ListReply { items, more, .. } = serde_json::from_slice(&page).expect("a list");
    assert!(items.len() == KEYS && !more, "{} items, more: {more}", items.len());

    println!("lists of {KEYS} keys with values of {VALUE_BYTES} bytes, linearizable, {} bytes of JSON", page.len());
    println!("{:>7}  {:<13} {:>8} {:>8} {:>10} {:>10}", "clients", "", "lists/s", "MB/s", "median", "99 %");
    for clients in CLIENTS {
        for (place, node) in [("at the leader", cluster.leader()), ("at a follower", cluster.follower())] {
            let lists = send_for(scale.lasts, clients, |_| {
                let mut connection = Connection::open(&node.url()).expect("it listens");
                // Nobody writes, so every list is the same.
                let page = &page;
                move || assert!(list(&mut connection) == *page, "a list is not like the first")
            });
            let (rate, mb) = (lists.per_second(), page.len() as f64 / 1e6);
            println!(
                "{clients:>7}  {place:<13} {rate:>8.0} {:>8.0} {:>7.2} ms {:>7.2} ms",
                rate * mb,
                lists.ms(0.5),
                lists.ms(0.99)
            );
        }
    }
    cluster.check_leader();
}

fn list(connection: &mut Connection) -> Vec<u8> {
    connection.send(LIST, &[], b"").expect("it is sent");
    let reply = connection.receive().expect("it answers");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.body
}
