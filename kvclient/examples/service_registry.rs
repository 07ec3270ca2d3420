//! A registry of services: each instance registers under a lease, and whoever calls the service has the registry in
//! memory.
//!
//!     cargo run -p kvclient --example service_registry -- http://127.0.0.1:8081
//!
//! An instance that stops takes its entry with it. The entry of one that dies or is cut off ends with its lease.
//! Callers ask no node when they need an address: a mirror follows the changes for them.

use anyhow::{Result, ensure};
use kvclient::{Client, Lease, Mirror, Range, SetRequest};
use std::env;
use std::time::Duration;

/// Time that an entry outlives its instance. Short, so that the example is; ten seconds and more are usual.
const TTL: Duration = Duration::from_secs(2);

/// Time for changes to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let mut endpoints: Vec<String> = env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = (8081..=8083).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    run(&Client::connect(&endpoints)?)
}

pub(crate) fn run(client: &Client) -> Result<()> {
    let service = format!("examples/service_registry/{}/", std::process::id());

    // A caller of the service.
    let mirror = client.mirror(Range::prefix(&*service));
    mirror.wait_ready(PATIENCE)?;

    let first = Instance::register(client, format!("{service}first"), "10.0.0.1:80")?;
    let second = Instance::register(client, format!("{service}second"), "10.0.0.2:80")?;
    ensure!(mirror.wait_for(second.registered, PATIENCE), "the mirror is behind");
    show("two instances run", &mirror);

    // The first one stops: it revokes its lease, and its entry goes at once.
    let stopped = first.lease.revoke()?.revision;
    ensure!(mirror.wait_for(stopped, PATIENCE), "the mirror is behind");
    show("the first has stopped", &mirror);

    // The second one dies: nobody keeps its lease alive any more, and nobody says goodbye.
    second.lease.release();
    let gone = client.wait_for_change(&second.key, second.registered, PATIENCE)?;
    ensure!(gone.item.is_none() && mirror.wait_for(gone.revision, PATIENCE), "the dead instance is still listed");
    show("the second has died", &mirror);
    ensure!(mirror.items().is_empty(), "somebody is still listed");
    Ok(())
}

/// An instance of the service, registered as long as its lease lives.
struct Instance {
    key: String,
    /// Revision of its entry.
    registered: u64,
    /// Kept alive in the background. If the instance is cut off for too long, `is_lost` is true, and it registers
    /// again.
    lease: Lease,
}

impl Instance {
    fn register(client: &Client, key: String, address: &str) -> Result<Self> {
        let lease = client.grant_lease(TTL)?;
        let entry = SetRequest { lease: Some(lease.id()), ..SetRequest::new(&*key, address) };
        let registered = client.set_with(entry)?.revision;
        Ok(Self { key, registered, lease })
    }
}

fn show(event: &str, mirror: &Mirror) {
    let items = mirror.items();
    let addresses: Vec<&str> = items.iter().filter_map(|item| item.value_str()).collect();
    println!("{event}; the registry has {addresses:?}");
}
