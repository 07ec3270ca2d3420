//! Streams of events from nodes that hear of no more changes, and the bounds on streams.

use kvclient::api::ErrorCode;
use kvclient::{Client, Range};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, DEADLINE, Node, error_of, on_a_network, until};

/// Time after which a watch ends whose node hears from no leader.
const LEADERLESS_TIME_MAX: Duration = Duration::from_secs(15);

/// A stream of events, line by line.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(node: &Node, target: &str) -> Self {
        let mut connection = TcpStream::connect(node.address()).expect("it listens");
        connection.set_read_timeout(Some(DEADLINE)).expect("a connection");
        write!(connection, "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .expect("it takes a request");
        let mut events = Self(BufReader::new(connection));
        let status = events.line().expect("an answer");
        assert_eq!(status, "HTTP/1.1 200 OK", "{target}");
        events
    }

    /// Returns the next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(cause) if cause.kind() == ErrorKind::ConnectionReset => None,
            Err(cause) => panic!("the stream is silent: {cause}"),
        }
    }

    /// Reads up to a line that contains this text, and returns the line.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        while let Some(line) = self.line() {
            if line.contains(text) {
                return line;
            }
        }
        panic!("the stream has ended without {text}");
    }

    /// Returns all lines up to the end.
    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

#[test]
fn a_watch_on_a_node_that_is_cut_off_ends_in_time_and_one_that_may_be_stale_goes_on() {
    on_a_network(3, |network| {
        let mut cluster = network.prepare();
        cluster.start_all();
        let cut_off = cluster.follower();
        cluster.client().set("color", "blue").expect("the cluster serves");
        cluster.catch_up();
        let mut watch = Events::open(&cluster[cut_off], "/watch?from_revision=1");
        let mut stale = Events::open(&cluster[cut_off], "/watch?from_revision=1&consistency=stale");
        watch.until("blue");
        stale.until("blue");

        network.cut(&[cut_off], &cluster.others(cut_off));
        let cut = Instant::now();
        let rest = watch.rest().join("\n");
        let lasted = cut.elapsed();
        assert!(rest.contains("event: error") && rest.contains(r#""code":"no_leader""#), "{rest}");
        assert!(lasted < LEADERLESS_TIME_MAX + Duration::from_secs(5), "{lasted:?}");
        network.heal();
        cluster.leader();
        cluster.client().set("color", "green").expect("the cluster serves");
        stale.until("green");
    });
}

#[test]
fn a_watch_on_a_node_that_is_removed_ends_and_a_client_goes_on_elsewhere() {
    let cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    let removed = cluster.follower();
    cluster.catch_up();
    let mut raw = Events::open(&cluster[removed], "/watch?from_revision=1");
    let mut holders = Events::open(&cluster[removed], "/lock/watch?name=jobs");
    raw.until("blue");
    holders.until("event: holder");
    // Begins at that node, since it knows no other yet.
    let at_removed = Client::connect([cluster[removed].url()]).expect("the URL of a node");
    let mut watch = at_removed.watch(Range::All).from_revision(1);
    let mut next = || watch.next_timeout(DEADLINE).expect("a change").expect("nothing is forgotten").revision;
    let first = next();

    client.remove_member(&cluster[removed].name, false).expect("the others are a majority");
    for stream in [&mut raw, &mut holders] {
        let rest = stream.rest().join("\n");
        assert!(rest.contains("event: error") && rest.contains("removed from its cluster"), "{rest}");
    }
    let written = client.set("color", "green").expect("the cluster serves").revision;
    assert_eq!((next(), written), (written, first + 1));
}

#[test]
fn more_streams_than_the_limit_are_refused_and_served_once_others_have_ended() {
    let cluster = Cluster::start_calm_with(3, "--max-streams", "2");
    let node = &cluster[cluster.leader()];
    let holder = cluster.client().lock("jobs").acquire().expect("the cluster serves");
    let watch = Events::open(node, "/watch");
    let waiting = {
        let client = Client::connect([node.url()]).expect("the URL of a node");
        thread::spawn(move || client.lock("jobs").wait(DEADLINE).acquire().map(|lock| lock.token()))
    };
    let waiters = || cluster.client().lock_state("jobs").map_or(0, |state| state.waiters.len());
    until("the place is taken", || (waiters() == 1).then_some(()));
    for target in ["/watch", "/lock/watch?name=jobs"] {
        let reply = node.get(target).expect("it answers");
        assert_eq!((reply.status, error_of(&reply).code), (429, ErrorCode::Overloaded), "{target}");
        assert!(reply.header("retry-after").is_some(), "{target}");
    }
    // Everything else is served.
    cluster.client().set("color", "blue").expect("the cluster serves");
    drop(watch);
    until("a place is free", || node_takes_a_watch(node).then_some(()));
    let token = holder.token();
    drop(holder);
    assert!(waiting.join().expect("it does not panic").expect("its turn comes") > token);
}

/// Returns whether a node begins a watch.
fn node_takes_a_watch(node: &Node) -> bool {
    let mut connection = TcpStream::connect(node.address()).expect("it listens");
    connection.set_read_timeout(Some(DEADLINE)).expect("a connection");
    write!(connection, "GET /watch HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it takes a request");
    let mut status = String::new();
    BufReader::new(connection).read_line(&mut status).expect("an answer");
    status.starts_with("HTTP/1.1 200")
}
