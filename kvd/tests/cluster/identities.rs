//! A node is its id: its address may change, and no two processes may run with the same id.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;
use testkit::{Cluster, Node, Port, until};

/// Value of a flag that lists these nodes, each with its URL.
fn peers<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> String {
    let peers = nodes.into_iter().map(|node| format!("{}={}", node.name, node.url()));
    peers.collect::<Vec<_>>().join(",")
}

#[test]
fn a_founder_that_comes_back_at_another_address_is_dialled_there() {
    let mut cluster = Cluster::start_calm(3);
    let moves = cluster.follower();
    assert_eq!(cluster[moves].terminate(), Some(0));
    let name = cluster[moves].name.clone();
    let dir = cluster[moves].data_dir().parent().expect("a directory").to_owned();
    let mut moved = Node::new(&name, Port::any(), &dir);
    moved.set_flag("--election-timeout-ms", "1500..2500");
    // The other nodes know it only by their --peers.
    cluster.nodes[moves] = moved;
    let listed = peers(&cluster.nodes);
    cluster[moves].set_flag("--peers", listed);
    cluster.client().set("color", "blue").expect("a majority is there");
    cluster[moves].start();
    cluster.leader();
    cluster.catch_up();
    let url = cluster[moves].url();
    for node in &cluster.nodes {
        let knows = || node.health()?.members.iter().any(|member| member.peer_url == url).then_some(());
        until(&format!("{} knows where {name} is", node.name), knows);
    }

    // It leads, although the other nodes were restarted and know its old URL from their flags.
    let stays = cluster.others(moves);
    for number in stays {
        assert_eq!(cluster[number].terminate(), Some(0));
        cluster[number].start();
        cluster.leader();
        cluster.catch_up();
    }
    let leader = cluster.leader();
    if leader != moves {
        let transfer = || {
            let reply = cluster[leader].post("/leader/transfer", format!("{{\"to\":\"{name}\"}}")).ok()?;
            (reply.status == 200).then_some(())
        };
        until(&format!("{name} leads"), transfer);
    }
    until(&format!("all follow {name}"), || (cluster.leader() == moves).then_some(()));
    cluster.client().set("color", "red").expect("it leads");
    cluster.catch_up();
}

/// Stops two nodes, and prepares them to run at other addresses with their data.
fn move_two(cluster: &mut Cluster, moves: &[usize], ports: Vec<Port>) {
    for (number, port) in moves.iter().zip(ports) {
        assert_eq!(cluster[*number].terminate(), Some(0));
        let name = cluster[*number].name.clone();
        let dir = cluster[*number].data_dir().parent().expect("a directory").to_owned();
        let mut moved = Node::new(&name, port, &dir);
        moved.set_flag("--election-timeout-ms", "1500..2500");
        cluster.nodes[*number] = moved;
    }
}

#[test]
fn two_founders_whose_urls_were_updated_before_move_at_once() {
    let mut cluster = Cluster::start_calm(3);
    let leader = cluster.leader();
    let moves = cluster.others(leader);
    let ports: Vec<Port> = moves.iter().map(|_| Port::any()).collect();
    let old: Vec<String> = cluster.nodes.iter().map(|node| format!("{}={}", node.name, node.url())).collect();
    for (number, port) in moves.iter().zip(&ports) {
        let body = format!(r#"{{"name":"{}","peer_url":"{1}","client_url":"{1}"}}"#, cluster[*number].name, port.url());
        let reply = cluster[leader].post("/members/update", body).expect("it answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains(&port.url()), "{}", reply.text());
    }
    cluster.client().set("color", "blue").expect("they are connected where they are");
    cluster.catch_up();
    move_two(&mut cluster, &moves, ports);
    for number in &moves {
        // It knows its own new URL, and the old URLs of all other nodes.
        let own = format!("{}={}", cluster[*number].name, cluster[*number].url());
        let name = cluster[*number].name.clone();
        let listed =
            old.iter().map(|peer| if peer.starts_with(&format!("{name}=")) { own.clone() } else { peer.clone() });
        cluster[*number].set_flag("--peers", listed.collect::<Vec<_>>().join(","));
        cluster[*number].start();
    }
    cluster.leader();
    cluster.client().set("color", "red").expect("all of them find each other");
    cluster.catch_up();
    // The two find each other, without the node that did not move.
    cluster[leader].kill();
    cluster.leader();
    cluster.client().set("color", "green").expect("two of three are a majority");
}

#[test]
fn two_founders_that_have_moved_at_once_are_listed_in_each_others_settings() {
    let mut cluster = Cluster::start_calm(3);
    cluster.client().set("color", "blue").expect("a majority is there");
    cluster.catch_up();
    let leader = cluster.leader();
    let moves = cluster.others(leader);
    move_two(&mut cluster, &moves, vec![Port::any(), Port::any()]);
    let listed = peers(&cluster.nodes);
    for number in moves {
        cluster[number].set_flag("--peers", listed.clone());
        cluster[number].start();
    }
    cluster.leader();
    cluster.client().set("color", "red").expect("the one that stayed hears of both by themselves");
    cluster.catch_up();
}

#[test]
fn a_node_that_cannot_be_reached_where_it_says_is_dialled_where_the_flags_have_it() {
    let mut cluster = Cluster::start_calm(3);
    let follower = cluster.follower();
    assert_eq!(cluster[follower].terminate(), Some(0));
    // As where an address is translated on the way, and only the other nodes know the translation.
    let nowhere = Port::any();
    cluster[follower].set_flag("--advertise-peer-url", nowhere.url());
    cluster[follower].start();
    cluster.leader();
    let name = cluster[follower].name.clone();
    let says_so =
        |node: &Node| node.health()?.members.iter().any(|member| member.peer_url == nowhere.url()).then_some(());
    for node in &cluster.nodes {
        until(&format!("{} knows what {name} says", node.name), || says_so(node));
    }
    cluster.client().set("color", "blue").expect("a majority is there");
    cluster.catch_up();
}

#[test]
fn two_processes_under_one_id_are_named_by_the_others() {
    let mut cluster = Cluster::start_calm(3);
    let follower = cluster.follower();
    assert_eq!(cluster[follower].terminate(), Some(0));
    let name = cluster[follower].name.clone();
    let elsewhere = TempDir::new().expect("a directory");
    let mut clone = Node::new(&name, Port::any(), elsewhere.path());
    copy(cluster[follower].data_dir(), clone.data_dir());
    clone.set_flag("--election-timeout-ms", "1500..2500");
    let listed = peers(cluster.nodes.iter().filter(|node| node.name != name).chain([&clone]));
    clone.set_flag("--peers", listed);
    cluster[follower].start();
    cluster.leader();
    cluster.catch_up();
    clone.start();
    for number in cluster.others(follower) {
        let line = cluster[number].logged("two processes run as");
        assert!(line.contains("ERROR") && line.contains(&name), "{line}");
        assert!(line.contains(&cluster[follower].url()) && line.contains(&clone.url()), "{line}");
        assert!(line.contains("clear its data directory"), "{line}");
    }
    let cloned = |node: &Node| node.health().map(|health| health.cloned);
    for number in cluster.others(follower) {
        let shown = until("it shows the two", || cloned(&cluster[number]).filter(|cloned| !cloned.is_empty()));
        assert_eq!((shown.len(), &shown[0].id), (1, &name));
        let [one, other] = &shown[0].processes;
        assert!([one, other].iter().any(|process| process.contains(&clone.url())), "{shown:?}");
    }
    clone.kill();
    for number in cluster.others(follower) {
        until("there is one process again", || cloned(&cluster[number]).filter(Vec::is_empty));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a data directory") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
fn a_node_that_is_started_again_is_not_taken_for_two() {
    let mut cluster = Cluster::start_calm(3);
    for _ in 0..3 {
        let follower = cluster.follower();
        cluster[follower].kill();
        cluster[follower].start();
        cluster.leader();
        cluster.catch_up();
    }
    for node in &cluster.nodes {
        assert!(!node.log().contains("two processes"), "{}", node.name);
    }
}

#[test]
fn what_a_node_writes_is_private_whatever_the_umask() {
    for umask in ["000", "022", "277"] {
        let dir = TempDir::new().expect("a directory");
        let mut node = Node::new("node1", Port::any(), dir.path());
        node.run_through(&["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
        node.set_flag("--snapshot-log-bytes", "65536");
        node.start();
        node.logged("leads term");
        let value = vec![b'v'; 100_000];
        let octets = "/set?key=k";
        let write = || {
            let mut connection = testkit::Connection::open(&node.url()).ok()?;
            connection.send(&format!("POST {octets}"), &["content-type: application/octet-stream"], &value).ok()?;
            (connection.receive().ok()?.status == 200).then_some(())
        };
        until("it serves", write);
        node.logged("snapshot of");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(node.data_dir()), 0o700, "{umask}");
        assert_eq!(node.terminate(), Some(0));
        let mut names = Vec::new();
        for entry in fs::read_dir(node.data_dir()).expect("a data directory") {
            let path = entry.expect("an entry").path();
            assert_eq!(mode(&path), 0o600, "{umask} {}", path.display());
            names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
        for expected in ["identity.json", "wal-", "snapshot-"] {
            assert!(names.iter().any(|name| name.starts_with(expected)), "{names:?}");
        }
    }
}
