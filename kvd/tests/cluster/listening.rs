//! Listen addresses of a node: all addresses of a name, and an address that appears after the node has started.

use std::net::TcpListener;
use std::process::Command;
use testkit::{Connection, Node, Port, skip, until};

#[test]
fn a_node_on_localhost_answers_on_both_its_addresses() {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip("this machine has no IPv6");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let port = Port::any();
    let number = port.number();
    let mut node = Node::new("node1", port, dir.path());
    node.set_flag("--listen", format!("localhost:{number}"));
    node.start();
    for url in [format!("http://127.0.0.1:{number}"), format!("http://[::1]:{number}")] {
        let ask = || {
            let mut connection = Connection::open(&url)?;
            connection.send("GET /livez", &[], b"")?;
            connection.receive()
        };
        assert_eq!(until(&format!("{url} answers"), || ask().ok()).status, 200);
    }
    let health = until("it is a cluster", || node.health().filter(|health| !health.members.is_empty()));
    assert_eq!(health.members[0].client_url, format!("http://127.0.0.1:{number}"));
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn an_address_that_is_not_there_yet_is_waited_for_and_a_signal_ends_that() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("node1", Port::any(), dir.path());
    // A documentation address: no machine has it.
    node.set_flag("--listen", "192.0.2.1:8081");
    node.start();
    let line = node.logged("retrying for");
    assert!(
        line.contains("--listen 192.0.2.1:8081: ") && line.contains("this machine does not have that address"),
        "{line}"
    );
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn a_node_that_is_started_before_its_address_is_there_serves_once_it_is() {
    let network = match Nowhere::new() {
        Ok(network) => network,
        Err(why) => return skip(&format!("it may not make network namespaces: {why}")),
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("node1", Port::any(), dir.path());
    node.run_through(&["ip", "netns", "exec", &network.name]);
    node.set_flag("--listen", "10.77.9.9:8081");
    node.start();
    node.logged("retrying for");
    ip(&["-n", &network.name, "address", "add", "10.77.9.9/32", "dev", "lo"]).expect("an address");
    node.logged("clients connect to http://10.77.9.9:8081");
    assert_eq!(node.terminate(), Some(0));
}

/// A network namespace with only a loopback device.
struct Nowhere {
    name: String,
}

impl Nowhere {
    fn new() -> Result<Self, String> {
        let name = format!("kvd-test-{}-nowhere", std::process::id());
        ip(&["netns", "add", &name])?;
        let network = Self { name };
        // Without any address the kernel lets programs listen on any address.
        ip(&["-n", &network.name, "link", "set", "lo", "up"])?;
        Ok(network)
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        // If it is left behind, it does no harm.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let ended = Command::new("ip").args(arguments).output().map_err(|cause| cause.to_string())?;
    if ended.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ended.stderr).into_owned()) }
}
