//! New clusters from what is left: from a backup, or from the survivor of a lost cluster.

use kvclient::{Client, Item, NodeState, SetRequest};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Cluster, Ended, Node, kvd, run, run_at_terminal, until};

/// Returns the daemon's command line for a command after which it ends.
fn offline(words: &[&str], data_dir: &Path) -> Command {
    let mut command = kvd();
    command.args(words).arg("--data-dir").arg(data_dir);
    command
}

/// Returns the names in a directory.
fn names_in(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> =
        files.map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn done(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    &ended.stdout
}

/// Writes keys with every kind of history, and returns their items.
fn fill(client: &Client) -> Vec<Item> {
    for number in 0..300 {
        client.set(format!("key{:03}", number % 200), format!("value {number}")).expect("a majority is there");
    }
    client.set("bytes", [0, 255]).expect("a majority is there");
    client.delete("key007").expect("a majority is there");
    let keys = (0..200).map(|number| format!("key{number:03}")).chain(["bytes".to_owned()]);
    keys.filter_map(|key| client.get(&key).expect("it serves")).collect()
}

/// Checks that a node serves exactly these items, with their revisions.
#[track_caller]
fn serves(node: &Node, items: &[Item]) {
    let client = Client::connect([node.url()]).expect("a URL");
    for item in items {
        assert_eq!(client.get(&item.key).expect("it serves").as_ref(), Some(item));
    }
    assert_eq!(node.health().expect("it answers").keys, items.len() as u64);
}

/// Starts a node as `kvd --name --listen --data-dir`, without any flag of its former cluster.
#[track_caller]
fn start_alone(node: &mut Node) {
    node.remove_flag("--peers");
    node.remove_flag("--join");
    node.start();
    until("it leads", || node.health().filter(|health| health.state == NodeState::Leader));
}

/// Lets another node join with an empty directory.
#[track_caller]
fn join(cluster: &mut Cluster, joiner: usize, through: usize) {
    let url = cluster[through].url();
    let _ = fs::remove_dir_all(cluster[joiner].data_dir());
    cluster[joiner].remove_flag("--peers");
    cluster[joiner].set_flag("--join", url);
    cluster[joiner].start();
    // The member that it joined through knows when the change is committed.
    let name = cluster[joiner].name.clone();
    cluster[through].logged(&format!("{name} votes now"));
}

fn cluster_id(node: &Node) -> String {
    let reply: kvclient::api::MembersReply = node.get("/members").expect("it answers").json();
    reply.cluster.expect("it is part of one").id
}

#[test]
fn a_backup_is_restored_to_a_new_cluster_that_grows() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    let items = fill(&client);
    let request = kvclient::RequestId { client: "mine".into(), seq: 4 };
    let repeated = SetRequest { request: Some(request), ..SetRequest::new("once", "1") };
    let first = client.set_with(repeated.clone()).expect("a majority is there");
    let items = [items, vec![client.get("once").expect("it serves").expect("a key")]].concat();
    let file = cluster[0].data_dir().with_extension("snap");
    let mut backup = Vec::new();
    client.save_snapshot(&mut backup, |_| {}).expect("any node gives a backup");
    fs::write(&file, &backup).expect("a file");
    let (old_id, path) = (cluster_id(&cluster[0]), file.to_str().expect("a path in UTF-8").to_owned());
    client.set("after", "the backup").expect("a majority is there");
    cluster.kill_all();

    let dir: PathBuf = cluster[0].data_dir().to_owned();
    let address = cluster[0].address().to_owned();
    let restore = ["restore", &path, "--name", "node1", "--listen", &address];
    let ended = run(&mut offline(&restore, &dir));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.error().contains("a backup is restored into an empty directory"), "{ended:?}");
    assert!(dir.join("identity.json").exists(), "nothing was touched");
    fs::remove_dir_all(&dir).expect("its data can be removed");

    // Damage is found before anything is written.
    let mut damaged = backup.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    let mut newer = backup.clone();
    newer[8] += 1;
    for (bytes, why) in [
        (&damaged[..], "it is damaged at byte"),
        (&backup[..middle], "it is cut short"),
        (b"{}", "it is not a kvd snapshot"),
        (&newer, "it has format version 2, but this kvd reads version 1"),
    ] {
        fs::write(&file, bytes).expect("a file");
        let ended = run(&mut offline(&restore, &dir));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let error = ended.error();
        assert!(error.starts_with(&format!("the backup {path}: ")) && error.contains(why), "{ended:?}");
        assert!(error.contains("Nothing was restored"), "{ended:?}");
        assert!(!dir.join("identity.json").exists());
    }
    let missing = run(&mut offline(&["restore", "/nowhere/kvd.snap", "--name", "node1"], &dir));
    assert_eq!(missing.code, Some(2), "{missing:?}");

    fs::write(&file, &backup).expect("a file");
    // A directory with data of `kvd dev` does not count as empty, but the root of a mounted file system does.
    fs::create_dir(dir.join("lost+found")).expect("a directory");
    fs::create_dir(dir.join("node1")).expect("a directory");
    let ended = run(&mut offline(&restore, &dir));
    assert!(ended.code == Some(3) && ended.error().contains("it already holds node1"), "{ended:?}");
    fs::remove_dir(dir.join("node1")).expect("it can be removed");
    let ended = run(&mut offline(&restore, &dir));
    let told = done(&ended);
    // The revision goes up, so that nobody takes the past for the future.
    let revision = (first.revision / (1 << 40) + 1) << 40;
    assert!(told.starts_with(&format!("restored {} keys at revision {revision} from ", items.len())), "{told}");
    assert!(told.contains("is its only member") && told.contains("kvd --name node1 --listen"), "{told}");
    start_alone(&mut cluster[0]);
    serves(&cluster[0], &items);
    assert_ne!(cluster_id(&cluster[0]), old_id);
    let own = Client::connect([cluster[0].url()]).expect("a URL");
    assert_eq!(own.set_with(repeated).expect("it serves"), first, "it remembers the requests that may be repeated");
    let next = own.set("after", "the restore").expect("it serves");
    assert_eq!(next.revision, revision + 1);

    join(&mut cluster, 1, 0);
    // A node of the old cluster does not belong to the new one, whatever its flags say, and disturbs no node.
    let term = cluster[0].health().expect("it answers").term;
    cluster[2].start();
    cluster[2].logged("but the nodes that --peers lists belong to cluster");
    assert_eq!(cluster[2].end(), Some(2));
    own.set("shape", "round").expect("a majority is there");
    let health = cluster[0].health().expect("it answers");
    assert_eq!((health.term, health.members.len()), (term, 2));
    join(&mut cluster, 2, 1);
    cluster[0].kill();
    let pair = Client::connect([cluster[1].url(), cluster[2].url()]).expect("URLs");
    assert_eq!(pair.get("after").expect("two of three serve").expect("a key").value, b"the restore");
}

#[test]
fn a_survivor_is_recovered_to_a_new_cluster_that_grows() {
    let mut cluster = Cluster::start(3);
    let items = fill(&cluster.client());
    cluster.catch_up();
    let old_id = cluster_id(&cluster[2]);
    let dir = cluster[2].data_dir().to_owned();
    let running = run(&mut offline(&["recover", "--yes"], &dir));
    assert_eq!(running.code, Some(3), "{running:?}");
    assert!(running.error().contains("another"), "a daemon has it: {running:?}");
    cluster.kill_all();

    // Without a confirmation nothing happens.
    let asked = run(&mut offline(&["recover"], &dir));
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.error().contains("use --yes if you are sure"), "{asked:?}");
    for said in [
        "holds the data of node3",
        &old_id,
        "node1, node2, node3",
        "ARE LOST",
        "No other node of the old \
         cluster",
    ] {
        assert!(asked.stdout.contains(said), "{said}: {asked:?}");
    }
    let identity = || fs::read(dir.join("identity.json")).expect("it is there");
    let before = (identity(), names_in(&dir));
    for answer in ["n\n", "\n", "yes, please\n", "\u{4}"] {
        let (code, screen) = run_at_terminal(&mut offline(&["recover"], &dir), answer);
        assert_eq!(code, Some(1), "{answer:?}: {screen}");
        for said in ["ARE LOST", "Go on? [y/N] ", "error: nothing was changed: the answer was not yes"] {
            assert!(screen.contains(said), "{answer:?}: {screen}");
        }
        assert_eq!((identity(), names_in(&dir)), before, "{answer:?}");
    }
    let (code, told) = run_at_terminal(&mut offline(&["recover"], &dir), "y\n");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(&format!("recovered {} keys", items.len())), "{told}");
    for file in before.1.iter().filter(|name| *name != "lock") {
        let is_kept = |name: &String| name.starts_with("before-") && name.ends_with(&format!("-{file}"));
        assert!(names_in(&dir).iter().any(is_kept), "{file}: {:?}", names_in(&dir));
    }
    let peers = run(&mut cluster[2].command());
    assert_eq!(peers.code, Some(2), "it is a cluster of its own, and --peers lists others: {peers:?}");

    start_alone(&mut cluster[2]);
    serves(&cluster[2], &items);
    assert_ne!(cluster_id(&cluster[2]), old_id);
    // With their old flags the other nodes do not belong to the new cluster, with or without their data, and disturb no
    // node.
    let term = cluster[2].health().expect("it answers").term;
    fs::remove_dir_all(cluster[1].data_dir()).expect("its data can be removed");
    for node in [0, 1] {
        cluster[node].start();
    }
    cluster[2].logged("node1 (");
    cluster[1].logged("waiting to rejoin the cluster of");
    until("it has asked in vain", || {
        cluster[1].get("/health").ok().filter(|reply| reply.text().contains(r#"no member named \"node2\""#))
    });
    cluster[0].kill();
    cluster[1].kill();
    serves(&cluster[2], &items);
    let health = cluster[2].health().expect("it answers");
    assert_eq!((health.term, health.members.len(), health.state), (term, 1, NodeState::Leader));
    join(&mut cluster, 0, 2);
    join(&mut cluster, 1, 0);
    cluster[2].kill();
    let pair = Client::connect([cluster[0].url(), cluster[1].url()]).expect("URLs");
    pair.set("color", "blue").expect("two of three are a majority");

    let nothing = run(&mut offline(&["recover", "--yes"], &dir.with_extension("nothing")));
    assert_eq!(nothing.code, Some(3), "{nothing:?}");
    assert!(nothing.error().contains("there is nothing to recover"), "{nothing:?}");
    assert!(!dir.with_extension("nothing").exists());
}

#[test]
fn what_a_survivor_has_not_heard_to_be_committed_is_kept_and_said() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.set("color", "blue").expect("a majority is there");
    cluster.catch_up();
    let leader = cluster.leader();
    for follower in cluster.others(leader) {
        cluster[follower].kill();
    }
    // It takes a write that can no longer be acknowledged.
    let reply = cluster[leader].post("/set", r#"{"key":"color","value":"red"}"#).expect("it answers");
    assert!([503, 504].contains(&reply.status), "{}", reply.text());
    cluster[leader].kill();
    let ended = run(&mut offline(&["recover", "--yes"], cluster[leader].data_dir()));
    let told = done(&ended);
    if reply.status == 504 {
        assert!(told.contains("may not be") && told.contains("committed from now on"), "{told}");
    }
    start_alone(&mut cluster[leader]);
    let value = cluster[leader].get("/get?key=color&raw=true").expect("it answers").text();
    assert_eq!(value, if reply.status == 504 { "red" } else { "blue" });
    // Running it once more makes yet another cluster, though there is no need.
    let id = cluster_id(&cluster[leader]);
    assert_eq!(cluster[leader].terminate(), Some(0));
    let again = run(&mut offline(&["recover", "--yes"], cluster[leader].data_dir()));
    assert!(done(&again).contains("It needs no recovery"), "{again:?}");
    start_alone(&mut cluster[leader]);
    assert_ne!(cluster_id(&cluster[leader]), id);
}

#[test]
fn a_node_that_listens_on_all_addresses_is_recovered_at_the_urls_that_its_data_knows() {
    let mut cluster = Cluster::start(3);
    cluster.client().set("color", "blue").expect("a majority is there");
    cluster.catch_up();
    cluster.kill_all();
    // As in a container: clients are given a published port, which the other nodes cannot reach.
    let (listen, published) = (cluster[0].address().replace("127.0.0.1", "0.0.0.0"), "http://127.0.0.1:1");
    let dir = cluster[0].data_dir().to_owned();
    let mut recover = offline(&["recover", "--yes"], &dir);
    recover.env("KVD_LISTEN", &listen).env("KVD_ADVERTISE_CLIENT_URL", published);
    done(&run(&mut recover));
    cluster[0].add_env("KVD_ADVERTISE_CLIENT_URL", published);
    cluster[0].set_flag("--listen", listen.clone());
    start_alone(&mut cluster[0]);
    let health = cluster[0].health().expect("it answers");
    assert_eq!((health.peer_url, health.client_url), (cluster[0].url(), published.to_owned()));

    // Joining nodes are redirected to the leader's client URL, which they cannot reach: they have to name a peer URL.
    let url = cluster[0].url();
    let _ = fs::remove_dir_all(cluster[1].data_dir());
    cluster[1].remove_flag("--peers");
    cluster[1].set_flag("--join", url);
    cluster[1].start();
    cluster[0].logged("node2 votes now");

    // A backup does not know the node's address.
    let snapshot = dir.with_extension("snap");
    let mut backup = Vec::new();
    Client::connect([cluster[1].url()]).expect("a URL").save_snapshot(&mut backup, |_| {}).expect("it gives a backup");
    fs::write(&snapshot, &backup).expect("a file");
    let restore = ["restore", "-", "--name", "node1", "--listen", &listen];
    let elsewhere = dir.with_extension("elsewhere");
    for (variables, missing) in [
        (&[][..], Some("--advertise-client-url")),
        (&[("KVD_ADVERTISE_CLIENT_URL", published)], Some("--advertise-peer-url")),
        (&[("KVD_ADVERTISE_CLIENT_URL", published), ("KVD_PEERS", "node1=http://node1:8080,node2=http://n:1")], None),
    ] {
        let mut command = offline(&restore, &elsewhere);
        command.envs(variables.iter().copied()).stdin(fs::File::open(&snapshot).expect("a file"));
        let ended = run(&mut command);
        match missing {
            Some(flag) => assert!(ended.code == Some(2) && ended.error().contains(flag), "{ended:?}"),
            None => {
                let told = done(&ended);
                assert!(told.contains("restored 1 key at revision") && told.contains("from standard input"), "{told}");
                assert!(told.contains("--advertise-peer-url http://node1:8080"), "{told}");
            }
        }
    }
}

#[test]
fn help_teaches_how_clusters_come_back() {
    for (command, flags) in [
        ("restore", &["--data-dir", "--name", "--listen", "--advertise-client-url", "--advertise-peer-url"][..]),
        ("recover", &["--data-dir", "--listen", "--advertise-client-url", "--advertise-peer-url"]),
    ] {
        let help = run(kvd().args([command, "--help"]));
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for flag in flags {
            assert!(help.stdout.contains(&format!("{flag} <")), "{flag}\n{}", help.stdout);
        }
        assert!(help.stdout.contains(&format!("kvd {command} ")) && help.stdout.contains("--join http://"), "{help:?}");
        let longest = help.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{longest:?} characters in a line\n{}", help.stdout);
    }
}
