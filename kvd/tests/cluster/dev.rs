//! `kvd dev`: a cluster for trying out, in one process.

use kvclient::Client;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::{Node, Port, Signal, kvd, run, send_signal, until, wait_for_end};

/// `kvd dev` as a process, with as many nodes.
struct Dev {
    process: Node,
    /// Of the nodes.
    ports: Vec<Port>,
}

impl Dev {
    fn new(nodes: u16, dir: &Path) -> Self {
        Self { process: Node::new("dev", Port::any(), dir), ports: Port::row(nodes) }
    }

    /// The command line that starts it with this number of nodes.
    fn command(&self, nodes: usize) -> Command {
        let mut command = kvd();
        let (nodes, base_port) = (nodes.to_string(), self.ports[0].number().to_string());
        command.args(["dev", "--nodes", &nodes, "--base-port", &base_port, "--data-dir"]).arg(self.process.data_dir());
        command
    }

    /// Starts it, and returns the banner.
    #[track_caller]
    fn start(&mut self) -> String {
        let command = self.command(self.ports.len());
        let printed = self.process.output().len();
        self.process.start_as(command);
        until("the banner is complete", || {
            let banner = self.process.output().split_off(printed);
            banner.contains("Ctrl-C stops the cluster").then_some(banner)
        })
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("http://127.0.0.1:{}", port.number())).collect()
    }

    fn client(&self) -> Client {
        Client::connect(self.urls()).expect("URLs of nodes")
    }
}

#[test]
fn three_nodes_start_with_a_banner_stop_at_ctrl_c_and_find_their_data_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    let banner = dev.start();
    for (url, number) in dev.urls().iter().zip(1..) {
        assert!(banner.contains(&format!("node{number}  {url}\n")), "{banner}");
    }
    // It comes last: who does at once what it says finds a leader.
    for url in dev.urls() {
        let health = dev.client().health(&url).expect("it serves");
        assert!(health.leader.is_some() && health.level == health.level_max, "{health:?}");
    }
    let (commands, kvctl): (Vec<_>, Vec<_>) = banner
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("  node"))
        .partition(|line| line.starts_with("  curl "));
    assert_eq!((commands.len(), kvctl.len()), (2, 1), "three commands to try next:\n{banner}");
    let kvctl = kvctl[0].trim_start();
    assert!(kvctl.contains("kvctl") && kvctl.ends_with(" status"), "{banner}");
    // As they are typed, but for a program that would have to be built first.
    for command in commands.into_iter().chain((!kvctl.starts_with("cargo")).then_some(kvctl)) {
        let ended = run(Command::new("sh").args(["-c", command]));
        assert!(ended.code == Some(0) && ended.stdout.ends_with('\n'), "{command}: {ended:?}");
    }
    let log = dev.process.log();
    assert!(log.contains("leads term"), "{log}");
    assert!(banner.lines().count() <= 16, "short:\n{banner}");
    dev.client().set("color", "blue").expect("it serves");
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.end(), Some(0));
    assert!(dev.process.output().contains("stopping; the data stays in"), "{}", dev.process.output());

    dev.start();
    assert_eq!(dev.client().get("color").expect("it serves").expect("the key is there").value, b"blue");
    assert_eq!(dev.process.terminate(), Some(0));
}

#[test]
fn one_node_and_five_will_do_as_well() {
    for nodes in [1, 5] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut dev = Dev::new(nodes, dir.path());
        dev.start();
        let client = dev.client();
        client.set("color", "blue").expect("it serves");
        assert_eq!(client.members().expect("it serves").len(), usize::from(nodes));
        dev.process.signal(Signal::INT);
        assert_eq!(dev.process.end(), Some(0));
    }
}

#[test]
fn another_number_of_nodes_than_the_data_has_is_refused_by_the_name_of_its_flag() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    dev.start();
    dev.client().set("color", "blue").expect("it serves");
    assert_eq!(dev.process.terminate(), Some(0));
    let ended = run(&mut dev.command(2));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let (error, dir) = (ended.error(), dev.process.data_dir().display());
    assert_eq!(
        error,
        format!("--nodes 2: {dir} holds data of a cluster of 3; start it with --nodes 3, or choose another --data-dir")
    );
}

#[test]
fn nobody_needs_to_read_what_it_prints() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(3, dir.path());
    let mut command = dev.command(3);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("kvd starts");
    drop(child.stdout.take());
    dev.client().set("color", "blue").expect("it serves");
    send_signal(&child, Signal::INT);
    assert_eq!(wait_for_end(&mut child), Some(0));
}
