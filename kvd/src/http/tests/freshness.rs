//! `max_stale_ms`: greatest age of the state that a stale read is served from.

use super::server::Server;
use crate::http::Request;
use crate::node::ReadError;
use kvclient::api::{Applied, ErrorCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TOO_STALE: (u16, ErrorCode, Applied) = (503, ErrorCode::TooStale, Applied::No);

/// A follower whose leader answers while the switch is on, and how often the leader was asked.
struct Follower {
    server: Server,
    led: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Follower {
    fn start() -> Self {
        let (led, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (is_led, count) = (Arc::clone(&led), Arc::clone(&asked));
        let server = Server::scripted(move |request| match request {
            Request::Read { reply, .. } => {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = if is_led.load(Ordering::SeqCst) { Ok(None) } else { Err(ReadError::NoLeader) };
                let _ = reply.send(answer);
            }
            other => panic!("asked {other:?}"),
        });
        Self { server, led, asked }
    }

    fn lose_leader(&self) {
        self.led.store(false, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Returns the status of a read; 404 if it is served, since the key does not exist.
    fn get(&self, query: &str) -> u16 {
        self.server.get(&format!("/get?key=k{query}")).status
    }
}

#[test]
fn the_leader_is_asked_only_where_the_state_may_be_older() {
    let follower = Follower::start();
    let within_a_minute = "&consistency=stale&max_stale_ms=60000";
    assert_eq!((follower.get("&consistency=stale"), follower.asked()), (404, 0));
    assert_eq!((follower.get(within_a_minute), follower.asked()), (404, 1), "nothing was known of the state");
    assert_eq!((follower.get(within_a_minute), follower.asked()), (404, 1), "now it is");

    let follower = Follower::start();
    assert_eq!((follower.get(""), follower.asked()), (404, 1));
    assert_eq!((follower.get(within_a_minute), follower.asked()), (404, 1), "a linearizable read says as much");
    follower.lose_leader();
    assert_eq!((follower.get(within_a_minute), follower.asked()), (404, 1));
}

#[test]
fn a_node_that_is_cut_off_refuses_what_may_be_too_old_soon() {
    let follower = Follower::start();
    follower.lose_leader();
    let began = Instant::now();
    let reply = follower.server.get("/get?key=k&consistency=stale&max_stale_ms=50&timeout_ms=60000");
    assert_eq!(reply.failure(), TOO_STALE);
    assert!(reply.error().error.message.contains("more than 50 ms behind"), "{reply:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "an answer is waited for while it is of use");
    assert_eq!(follower.server.get("/get?key=k&consistency=stale&max_stale_ms=0").failure(), TOO_STALE);
    assert_eq!(follower.server.get("/snapshot?consistency=stale&max_stale_ms=0").failure(), TOO_STALE);
    assert_eq!(follower.get("&consistency=stale"), 404, "whatever its age");
}
