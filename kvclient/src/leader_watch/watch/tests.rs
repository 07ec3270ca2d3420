use super::*;
use crate::api::NodeUrl;
use crate::testing::{self, Act, CLUSTER, Node, OTHER_CLUSTER, PATIENCE, dead_url, leader_event, listen_again};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Returns a node whose event streams begin with the greetings in turn, the last one repeatedly, and then continue as
/// the test says.
fn node(greetings: &[String]) -> (Node, Receiver<Sender<String>>) {
    node_in(Some(CLUSTER), TcpListener::bind("127.0.0.1:0").unwrap(), greetings)
}

/// Like [`node`], in this cluster or in none.
fn node_in(cluster: Option<&str>, listener: TcpListener, greetings: &[String]) -> (Node, Receiver<Sender<String>>) {
    let (told, streams) = channel();
    let mut greetings = greetings.to_vec();
    let node = Node::start_in(cluster, listener, move |seen| match seen.what.as_str() {
        "GET /leader/watch" => {
            let (sender, act) = testing::stream();
            let greeting = if greetings.len() > 1 { greetings.remove(0) } else { greetings[0].clone() };
            sender.send(greeting).unwrap();
            let _ = told.send(sender);
            act
        }
        _ => testing::ok(testing::health("node", 5, None, &[])),
    });
    (node, streams)
}

fn watch(urls: &[&str]) -> LeaderWatch {
    let mut watch = testing::client(urls, PATIENCE, PATIENCE).watch_leader();
    watch.start = 0; // the nodes in the order given
    watch
}

fn next(watch: &mut LeaderWatch) -> (u64, Option<String>) {
    let change = watch.next_timeout(PATIENCE).expect("a change");
    (change.term, change.leader.map(|leader| leader.id))
}

#[test]
fn a_watch_moves_on_when_its_node_dies_and_tells_nothing_twice() {
    let (first, streams) = node(&[leader_event(5, Some("a"))]);
    let (second, more_streams) = node(&[leader_event(6, Some("b"))]);
    let mut watch = watch(&[first.url(), second.url()]);
    assert_eq!(next(&mut watch), (5, Some("a".into())));
    let stream = streams.recv().unwrap();
    stream.send(leader_event(5, Some("a"))).unwrap();
    stream.send(leader_event(6, Some("b"))).unwrap();
    assert_eq!(next(&mut watch), (6, Some("b".into())));

    drop((first, stream));
    let teller = thread::spawn(move || {
        let stream = more_streams.recv().unwrap();
        stream.send(leader_event(7, Some("c"))).unwrap();
        stream
    });
    assert_eq!(next(&mut watch), (7, Some("c".into())));
    teller.join().unwrap();
}

#[test]
fn a_node_that_is_behind_is_not_believed() {
    let (first, streams) = node(&[leader_event(6, Some("b"))]);
    let (behind, more_streams) = node(&[leader_event(5, Some("a"))]);
    let mut watch = watch(&[first.url(), behind.url()]);
    assert_eq!(next(&mut watch), (6, Some("b".into())));
    drop((first, streams));
    assert_eq!(next(&mut watch), (6, None), "nobody who is there knows a leader of term 6 or later");
    more_streams.recv().unwrap().send(leader_event(6, Some("b"))).unwrap();
    assert_eq!(next(&mut watch), (6, Some("b".into())));
}

#[test]
fn a_node_of_another_cluster_is_not_believed_whatever_its_term() {
    let (ours, streams) = node(&[leader_event(9, Some("a"))]);
    let mut watch = watch(&[ours.url()]);
    assert_eq!(next(&mut watch), (9, Some("a".into())));
    let url = ours.url().to_owned();
    drop((ours, streams));
    assert_eq!(next(&mut watch), (9, None));
    for cluster in [Some(OTHER_CLUSTER), None] {
        let (node, _streams) = node_in(cluster, listen_again(&url), &[leader_event(10, Some("b"))]);
        let began = Instant::now();
        while node.seen("GET /leader/watch").is_empty() {
            assert!(began.elapsed() < PATIENCE, "it is not asked");
            assert_eq!(watch.next_timeout(Duration::from_millis(50)), None, "{cluster:?}");
        }
        assert_eq!(watch.next_timeout(Duration::from_millis(50)), None, "{cluster:?}");
    }
    let (_ours, _streams) = node_in(Some(CLUSTER), listen_again(&url), &[leader_event(10, Some("c"))]);
    assert_eq!(next(&mut watch), (10, Some("c".into())));
}

#[test]
fn a_silent_node_makes_a_gap_no_longer() {
    let (first, streams) = node(&[leader_event(5, Some("a"))]);
    let silent = Node::start(|_| Act::KeepSilent);
    let mut watch = watch(&[first.url(), silent.url()]);
    assert_eq!(next(&mut watch), (5, Some("a".into())));
    let stream = streams.recv().unwrap();
    let gap = Duration::from_millis(100);
    let teller = thread::spawn(move || {
        stream.send(leader_event(5, None)).unwrap();
        thread::sleep(gap);
        stream.send(leader_event(6, Some("b"))).unwrap();
        stream
    });
    let change = watch.next_timeout(PATIENCE).expect("a change");
    assert_eq!((change.term, change.leader), (6, Some(NodeUrl { id: "b".into(), url: "http://b:1".into() })));
    let told = change.without_leader.expect("there was none for a while");
    // The first event may arrive late, by as much as this thread is kept from running.
    assert!(told >= gap / 2 && told < TICK, "{told:?}");
    teller.join().unwrap();
}

#[test]
fn a_node_that_hangs_is_left_long_before_its_silence_alone_would_show_it() {
    let hangs = Arc::new(AtomicBool::new(false));
    let is_hung = Arc::clone(&hangs);
    let hung = Node::start(move |seen| match seen.what.as_str() {
        _ if is_hung.load(Ordering::Relaxed) => Act::KeepSilent,
        "GET /leader/watch" => Act::Hang(leader_event(5, Some("a"))),
        _ => testing::ok(testing::health("node", 5, None, &[])),
    });
    let (second, _more_streams) = node(&[leader_event(6, Some("b"))]);
    let mut watch = watch(&[hung.url(), second.url()]);
    assert_eq!(next(&mut watch), (5, Some("a".into())));
    hangs.store(true, Ordering::Relaxed);
    let began = Instant::now();
    assert_eq!(next(&mut watch), (6, Some("b".into())));
    assert!(began.elapsed() < SILENCE_MAX, "{:?}", began.elapsed());
}

#[test]
fn a_watch_waits_no_longer_than_asked_whatever_the_waits_of_the_client() {
    let hour = Duration::from_secs(3600);
    let client = crate::Client::builder().endpoint(dead_url()).backoff(hour, hour).build().unwrap();
    let mut watch = client.watch_leader();
    let started = Instant::now();
    while watch.next_timeout(Duration::from_millis(300)).is_some() {}
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_node_that_is_cut_off_raises_no_false_alarm() {
    let (cut_off, streams) = node(&[leader_event(5, Some("a")), leader_event(5, None)]);
    let (healthy, _more_streams) = node(&[leader_event(6, Some("b"))]);
    let mut watch = watch(&[cut_off.url(), healthy.url()]);
    assert_eq!(next(&mut watch), (5, Some("a".into())));
    streams.recv().unwrap().send(leader_event(5, None)).unwrap();
    assert_eq!(next(&mut watch), (6, Some("b".into())), "the healthy node is asked before anything is said");
}

#[test]
fn a_loss_of_the_leader_is_told_once_and_its_length_with_the_next() {
    let (only, streams) = node(&[leader_event(5, Some("a"))]);
    let mut watch = watch(&[only.url()]);
    assert_eq!(next(&mut watch), (5, Some("a".into())));
    drop((only, streams));
    assert_eq!(next(&mut watch), (5, None));
    assert_eq!(watch.next_timeout(Duration::from_millis(50)), None);
}

#[test]
fn dead_and_silent_nodes_are_passed_by() {
    let silent = Node::start(|_| Act::KeepSilent);
    let (alive, _streams) = node(&[leader_event(5, Some("a"))]);
    let mut watch = watch(&[&dead_url(), silent.url(), alive.url()]);
    assert_eq!(next(&mut watch), (5, Some("a".into())));
}

#[test]
fn a_node_that_ends_its_streams_at_once_is_not_pestered() {
    let (node, streams) = node(&[leader_event(5, Some("a"))]);
    // The other end is dropped, so each stream ends after its greeting.
    drop(streams);
    let mut watch = testing::client(&[node.url()], PATIENCE, PATIENCE).watch_leader();
    assert_eq!(next(&mut watch), (5, Some("a".into())));
    assert_eq!(watch.next_timeout(Duration::from_millis(500)), None);
    let asked = node.seen("GET /leader/watch").len();
    assert!(asked < 200, "asked {asked} times in half a second");
}

#[test]
fn a_watch_is_an_iterator_that_goes_to_other_threads() {
    fn check<T: Iterator<Item = LeaderChange> + Send + 'static>() {}
    check::<LeaderWatch>();
    let (alive, _streams) = node(&[leader_event(5, Some("a"))]);
    let watch = testing::client(&[alive.url()], PATIENCE, PATIENCE).watch_leader();
    assert_eq!(watch.take(1).count(), 1);
}
