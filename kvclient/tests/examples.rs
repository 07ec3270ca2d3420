//! The example programs, against a real cluster.
//!
//! Each file is compiled into this test as a module, so that what runs is never an older build of it. `color` is not
//! here: its text is the first example of the crate's documentation, which is run as such.

use kvclient::{Client, Range};
use testkit::{Cluster, DEADLINE, Program};

#[path = "../examples/configuration.rs"]
#[expect(dead_code, reason = "`main` is for the program")]
mod configuration;
#[path = "../examples/counter.rs"]
#[expect(dead_code, reason = "`main` is for the program")]
mod counter;
#[path = "../examples/exclusive_job.rs"]
#[expect(dead_code, reason = "`main` is for the program")]
mod exclusive_job;
#[path = "../examples/move_money.rs"]
#[expect(dead_code, reason = "`main` is for the program")]
mod move_money;
#[path = "../examples/service_registry.rs"]
#[expect(dead_code, reason = "`main` is for the program")]
mod service_registry;

/// The program without its command line.
type Example = fn(&Client) -> anyhow::Result<()>;

/// Runs as a node of these clusters when the test binary is started as one.
#[test]
fn node() {
    testkit::be_a_node();
}

#[test]
fn each_example_runs_and_leaves_the_store_as_it_was() {
    let cluster = Cluster::start_as(&Program::ThisTest("node"), 3);
    let client =
        Client::builder().endpoints(cluster.endpoints()).total_timeout(DEADLINE).build().expect("URLs of nodes");
    let examples: [(&str, Example); 5] = [
        ("configuration", configuration::run),
        ("counter", counter::run),
        ("exclusive_job", exclusive_job::run),
        ("move_money", move_money::run),
        ("service_registry", service_registry::run),
    ];
    for (name, run) in examples {
        run(&client).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(client.list(Range::All).count().expect("a majority runs"), 0, "{name} has left keys");
        assert_eq!(client.leases().count(), 0, "{name} has left leases");
    }
}
