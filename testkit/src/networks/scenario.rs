//! Runs a scenario on the best network that the machine supports.

use super::{Namespaces, Network, Proxies};
use std::thread;

/// Runs a scenario with this many places for nodes, on a thread at the place of the clients.
///
/// Namespaces drop packets, as a network does, but creating them needs permission; without it the scenario runs over
/// proxies on loopback, which hold bytes back.
pub fn on_a_network(size: usize, scenario: fn(&dyn Network)) {
    let network: Box<dyn Network> = match Namespaces::new(size) {
        Ok(namespaces) => Box::new(namespaces),
        Err(_) => Box::new(Proxies::new(size)),
    };
    let network = network.as_ref();
    thread::scope(|scope| {
        let scenario = scope.spawn(|| {
            network.enter();
            scenario(network);
        });
        if let Err(panic) = scenario.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
