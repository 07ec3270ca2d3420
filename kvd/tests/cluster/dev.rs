//! `kvd dev`: a cluster to try out, with one process per node.

use kvclient::Client;
use rustix::process::{Pid, kill_process};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::{Node, Port, Signal, kvd, run, send_signal, until, wait_for_end};

/// A `kvd dev` process with its nodes.
struct Dev {
    process: Node,
    /// Ports of the nodes.
    ports: Vec<Port>,
}

impl Dev {
    fn new(nodes: u16, dir: &Path) -> Self {
        Self { process: Node::new("dev", Port::any(), dir), ports: Port::row(nodes) }
    }

    /// Returns the command line that starts it with this number of nodes.
    fn command(&self, nodes: usize) -> Command {
        let mut command = kvd();
        let (nodes, base_port) = (nodes.to_string(), self.ports[0].number().to_string());
        command.args(["dev", "--nodes", &nodes, "--base-port", &base_port, "--data-dir"]).arg(self.process.data_dir());
        command
    }

    /// Starts it, and returns the banner.
    #[track_caller]
    fn start(&mut self) -> String {
        self.start_as(self.command(self.ports.len()))
    }

    /// Starts it by this command, and returns the banner.
    #[track_caller]
    fn start_as(&mut self, command: Command) -> String {
        let printed = self.process.output().len();
        self.process.start_as(command);
        until("the banner is complete", || {
            let banner = self.process.output().split_off(printed);
            banner.contains("Ctrl-C stops the cluster").then_some(banner)
        })
    }

    /// Waits until it has printed a line that contains this text, and returns the first such line.
    #[track_caller]
    fn says(&self, what: &str) -> String {
        let line = || self.process.output().lines().find(|line| line.contains(what)).map(str::to_owned);
        until(&format!("it says {what:?}"), line)
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("http://127.0.0.1:{}", port.number())).collect()
    }

    fn client(&self) -> Client {
        Client::connect(self.urls()).expect("URLs of nodes")
    }
}

/// Returns the ids of the nodes' processes, from a banner.
fn pids(banner: &str) -> Vec<Pid> {
    let lines = banner.lines().filter(|line| line.starts_with("  node"));
    lines.map(|line| pid(line.split("  pid ").nth(1).unwrap_or_default())).collect()
}

/// Returns the process id at the start of this text.
fn pid(text: &str) -> Pid {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("no id of a process: {text:?}"))
}

/// Returns the process that a command `kill -9 PID` in this text would kill, and the name of the leader.
fn leader(banner: &str) -> (Pid, String) {
    let leads = banner.lines().find(|line| line.starts_with("  node") && line.ends_with("  leader")).expect("a leader");
    let killed = pid(banner.split("kill -9 ").nth(1).expect("how the leader is killed"));
    assert!(leads.contains(&format!("  pid {killed}  ")), "{banner}");
    (killed, leads.split_whitespace().next().expect("a name").to_owned())
}

/// Waits until none of these processes exists.
#[track_caller]
fn until_gone(pids: &[Pid]) {
    until("all processes of nodes have ended", || pids.iter().all(|pid| has_ended(*pid)).then_some(()));
}

/// Returns whether a process is gone, or would be once its present parent reads its exit code.
fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

#[test]
fn three_nodes_start_with_a_banner_stop_at_ctrl_c_and_find_their_data_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    let banner = dev.start();
    for (url, number) in dev.urls().iter().zip(1..) {
        assert!(banner.contains(&format!("node{number}  {url}  pid ")), "{banner}");
    }
    // The banner comes last: a user who follows it at once finds a leader.
    for url in dev.urls() {
        let health = dev.client().health(&url).expect("it serves");
        assert!(health.leader.is_some() && health.level == health.level_max, "{health:?}");
    }
    let (commands, kvctl): (Vec<_>, Vec<_>) = banner
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("  node") && !line.starts_with("  kill "))
        .partition(|line| line.starts_with("  curl "));
    assert_eq!((commands.len(), kvctl.len()), (2, 1), "three commands to try next:\n{banner}");
    let kvctl = kvctl[0].trim_start();
    assert!(kvctl.contains("kvctl") && kvctl.ends_with(" status"), "{banner}");
    // The commands as a user types them, except for a program that would have to be built first.
    for command in commands.into_iter().chain((!kvctl.starts_with("cargo")).then_some(kvctl)) {
        let ended = run(Command::new("sh").args(["-c", command]));
        assert!(ended.code == Some(0) && ended.stdout.ends_with('\n'), "{command}: {ended:?}");
    }
    let log = dev.process.log();
    assert!(log.contains("leads term"), "{log}");
    assert!(banner.lines().count() <= 20, "short:\n{banner}");
    dev.client().set("color", "blue").expect("it serves");
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.end(), Some(0));
    assert!(dev.process.output().contains("stopping; the data stays in"), "{}", dev.process.output());
    until_gone(&pids(&banner));
    let log = dev.process.log();
    assert_eq!(
        log.matches("the end of `kvd dev`").count(),
        3,
        "none transfers leadership to one that stops as well:\n{log}"
    );

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

#[test]
fn a_leader_that_is_killed_is_replaced_and_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    let banner = dev.start();
    dev.client().set("color", "blue").expect("it serves");
    let (killed, name) = leader(&banner);
    kill_process(killed, Signal::KILL).expect("it runs");

    let line = dev.says("was killed");
    assert_eq!(
        line,
        format!("kvd dev: {name} (pid {killed}, the leader) was killed (SIGKILL); it starts again in 5 s"),
        "{}",
        dev.process.output()
    );
    let line = dev.says(" leads now, after ");
    let next = pid(line.split("kill -9 ").nth(1).unwrap_or_default());
    assert!(pids(&banner).contains(&next) && next != killed && line.contains(" ms without a leader;"), "{line}");
    dev.client().set("color", "green").expect("the others serve");

    let line = dev.says(" runs again ");
    let again = pid(line.split("(pid ").nth(1).unwrap_or_default());
    assert_eq!(line, format!("kvd dev: {name} runs again (pid {again}), and has caught up"));
    assert!(!pids(&banner).contains(&again), "{line}");
    let url = &dev.urls()[usize::from(name.as_bytes()[4] - b'1')];
    let client = Client::connect([url]).expect("the URL of a node");
    assert_eq!(client.get("color").expect("it serves").expect("the key is there").value, b"green");

    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.end(), Some(0));
    until_gone(&[&pids(&banner)[..], &[again]].concat());
}

#[test]
fn no_node_outlives_it_however_it_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    let mut stopped = 0;
    // The second signal is sent when its terminal is closed.
    for signal in [Signal::KILL, Signal::HUP] {
        // Tests that run under nohup ignore SIGHUP, and so would whatever they start.
        let command = dev.command(3);
        let mut with_default = Command::new("env");
        with_default.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
        let nodes = pids(&dev.start_as(with_default));
        assert_eq!(nodes.len(), 3, "{nodes:?}");
        dev.process.signal(signal);
        assert_eq!(dev.process.end(), None, "{signal:?} ends it at once");
        until_gone(&nodes);
        stopped += nodes.len();
        let log = dev.process.log();
        assert_eq!(log.matches("the end of `kvd dev`").count(), stopped, "each node stops by itself:\n{log}");
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    let banner = dev.start();
    let nodes = pids(&banner);
    // An unfinished request, whose body never arrives, delays a stop.
    let mut slow = TcpStream::connect(dev.urls()[0].trim_start_matches("http://")).expect("it listens");
    slow.write_all(b"POST /set HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{").expect("it reads");
    dev.process.signal(Signal::INT);
    dev.says("stopping; the data stays in");
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.end(), Some(130));
    until_gone(&nodes);
}

#[test]
fn a_node_that_cannot_start_ends_it_with_the_exit_code_of_the_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(3, dir.path());
    fs::create_dir(dev.process.data_dir()).expect("a directory");
    fs::write(dev.process.data_dir().join("node2"), "no directory").expect("a file");
    let ended = run(&mut dev.command(3));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("node2"), "{ended:?}");
    assert!(ended.stderr.contains("node2 ended with exit code 3"), "{ended:?}");
}

#[test]
fn a_node_that_fails_again_and_again_is_given_up_and_the_others_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(3, dir.path());
    let banner = dev.start();
    let killed = pids(&banner)[1];
    // Data that no later process of the node can use.
    fs::write(dev.process.data_dir().join("node2").join("identity.json"), "damaged").expect("a file");
    kill_process(killed, Signal::KILL).expect("it runs");
    dev.says("node2 (pid");
    until("it is given up", || dev.process.output().contains("it is not started again").then_some(()));
    assert_eq!(dev.process.output().matches("; it starts again in 5 s").count(), 3, "{}", dev.process.output());
    assert!(!dev.process.output().contains("node2 runs again"), "{}", dev.process.output());
    dev.client().set("color", "green").expect("the others serve");
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.end(), Some(0));
}
