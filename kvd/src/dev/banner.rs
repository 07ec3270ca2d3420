//! The text printed at the end of a start: where the nodes are, and what to try.

use super::node::Node;
use std::env;
use std::ffi::OsString;
use std::path::Path;

/// `leader` is the name of the node that leads.
pub(super) fn banner(nodes: &[Node], leader: Option<&str>, data_dir: &Path) -> String {
    let (version, count, dir) = (env!("CARGO_PKG_VERSION"), nodes.len(), data_dir.display());
    let is_leader = |node: &Node| Some(node.name.as_str()) == leader;
    let lines: String = nodes
        .iter()
        .map(|node| {
            let pid = node.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let role = if is_leader(node) { "leader" } else { "follower" };
            format!("  {}  {}  pid {pid}  {role}\n", node.name, node.url)
        })
        .collect();
    let urls: Vec<&str> = nodes.iter().map(|node| node.url.as_str()).collect();
    let (first, last) = (urls[0], urls[urls.len() - 1]);
    let (kvctl, endpoints) = (kvctl_command(), endpoints_flag(&urls));
    let kill = nodes
        .iter()
        .find(|node| is_leader(node))
        .and_then(Node::pid)
        .map_or_else(String::new, |pid| format!("and to kill the leader:\n\n  kill -9 {pid}\n\n"));
    format!(
        "kvd {version}: {count} nodes, data in {dir}\n\n{lines}\ntry in another terminal:\n\n  \
         curl -X POST {first}/set -d '{{\"key\":\"color\",\"value\":\"blue\"}}'\n  \
         curl \"{last}/get?key=color\"\n  \
         {kvctl}{endpoints} status\n\n\
         {kill}\
         Ctrl-C stops the cluster.\n"
    )
}

/// Returns the command that runs kvctl for the user: its name, if the shell finds it so; else the path of the one
/// beside this program; else a cargo command, which builds it first.
fn kvctl_command() -> String {
    const NAME: &str = "kvctl";
    let in_path = |path: OsString| env::split_paths(&path).any(|dir| dir.join(NAME).is_file());
    if env::var_os("PATH").is_some_and(in_path) {
        return NAME.to_owned();
    }
    let beside = env::current_exe().ok().map(|program| program.with_file_name(NAME)).filter(|kvctl| kvctl.is_file());
    match (beside, env::current_dir()) {
        (Some(kvctl), Ok(dir)) => kvctl.strip_prefix(dir).unwrap_or(&kvctl).display().to_string(),
        (Some(kvctl), Err(_)) => kvctl.display().to_string(),
        (None, _) => "cargo run --release -p kvctl --".to_owned(),
    }
}

/// Returns the flag that tells kvctl where these nodes are. Empty if they are where kvctl looks by default.
fn endpoints_flag(urls: &[&str]) -> String {
    let expected = ["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"];
    if urls == expected { String::new() } else { format!(" --endpoints {}", urls.join(",")) }
}
