//! A network of network namespaces: one for each node, and one for a router between them, where the clients are.
//!
//! All traffic stays inside. A link is cut by a rule of the router that silently drops packets from one node to
//! another, as a broken cable would. It needs `ip` (Debian package `iproute2`) and permission to create namespaces.
//! Namespaces that a killed test leaves behind do no harm.

use super::network::Network;
use crate::processes::Node;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Port of each node, in its own namespace.
const PORT: u16 = 7000;

/// Number of networks of this process, to distinguish them. They are created one after the other: the very first one on
/// a machine prepares it for the rest.
static NETWORKS: Mutex<u32> = Mutex::new(0);

/// A router, and this many nodes around it.
pub struct Namespaces {
    /// Prefix of its namespaces' names.
    prefix: String,
    size: usize,
}

impl Namespaces {
    /// Creates a network on which all links work.
    ///
    /// # Errors
    /// The reason why this test may not create namespaces.
    pub fn new(size: usize) -> Result<Self, String> {
        let mut count = NETWORKS.lock().expect("nobody panics with it");
        *count += 1;
        // If dropped early, it removes the parts that exist.
        let network = Self { prefix: format!("kvd-test-{}-{count}", std::process::id()), size };
        network.build()?;
        Ok(network)
    }

    fn router(&self) -> String {
        format!("{}-router", self.prefix)
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}-node{}", self.prefix, node + 1)
    }

    /// Limits what each node sends to this many Mbit/s from now on, with room for 400 ms of it in the queue.
    ///
    /// # Errors
    /// The reason why this test may not.
    pub fn limit_rate(&self, mbit: u32) -> Result<(), String> {
        let limit = format!("tc qdisc replace dev eth0 root tbf rate {mbit}mbit burst 32kb latency 400ms");
        (0..self.size).try_for_each(|node| ip(&["netns", "exec", &self.namespace(node), "sh", "-c", &limit]))
    }

    fn build(&self) -> Result<(), String> {
        let router = self.router();
        ip(&["netns", "add", &router])?;
        ip(&["-n", &router, "link", "set", "lo", "up"])?;
        for node in 0..self.size {
            let namespace = self.namespace(node);
            let (own, gateway) = (address(node), gateway(node));
            ip(&["netns", "add", &namespace])?;
            let commands = format!(
                "link set lo up\n\
                 link add eth0 type veth peer name node{node} netns {router}\n\
                 address add {own}/24 dev eth0\n\
                 link set eth0 up\n"
            );
            batch(&namespace, &commands)?;
            batch(&router, &format!("address add {gateway}/24 dev node{node}\nlink set node{node} up\n"))?;
            batch(&namespace, &format!("route add default via {gateway}\n"))?;
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        ip(&["netns", "exec", &router, "sh", "-c", forward])
    }
}

impl Network for Namespaces {
    fn size(&self) -> usize {
        self.size
    }

    fn node(&self, number: usize, dir: &Path) -> Node {
        let address = format!("{}:{PORT}", address(number));
        let mut node = Node::at(&format!("node{}", number + 1), address, dir);
        node.run_through(&["ip", "netns", "exec", &self.namespace(number)]);
        node
    }

    fn url(&self, _from: usize, to: usize) -> String {
        format!("http://{}:{PORT}", address(to))
    }

    fn set_passes(&self, from: usize, to: usize, passes: bool) {
        let (router, from, to) = (self.router(), address(from), address(to));
        let rule = |what| ip(&["-n", &router, "rule", what, "from", &from, "to", &to, "blackhole"]);
        if passes {
            // There is none if the link was not cut.
            let _ = rule("del");
        } else {
            rule("add").expect("a rule that was not there");
        }
    }

    fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.router())).expect("the router's namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("it can be entered");
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Namespaces that were not created cannot be removed.
        for namespace in (0..self.size).map(|node| self.namespace(node)).chain([self.router()]) {
            let _ = ip(&["netns", "del", &namespace]);
        }
    }
}

/// Returns the address of a node, in a network that it shares only with its gateway.
fn address(node: usize) -> String {
    format!("10.77.{node}.2")
}

fn gateway(node: usize) -> String {
    format!("10.77.{node}.1")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run(arguments, "")
}

fn batch(namespace: &str, commands: &str) -> Result<(), String> {
    run(&["-n", namespace, "-batch", "-"], commands)
}

/// Runs `ip` with these arguments and this input.
fn run(arguments: &[&str], input: &str) -> Result<(), String> {
    let run = || {
        let mut command = Command::new("ip");
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().expect("a pipe").write_all(input.as_bytes())?;
        child.wait_with_output()
    };
    let output = run().map_err(|cause| format!("cannot run ip: {cause}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
