//! Runs a scenario on a network, at the place of the clients.

use super::{Namespaces, Network, Proxies};
use std::thread;

/// Runs a scenario with this many places for nodes on the best network that the machine supports.
///
/// Namespaces drop packets, as a network does, but creating them needs permission; without it the scenario runs over
/// proxies on loopback, which hold bytes back.
pub fn on_a_network(size: usize, scenario: fn(&dyn Network)) {
    match Namespaces::new(size) {
        Ok(namespaces) => at_the_clients(&namespaces, |network| scenario(network)),
        Err(_) => at_the_clients(&Proxies::new(size), |network| scenario(network)),
    }
}

/// Runs a scenario on a thread that is where the clients of this network are.
pub fn at_the_clients<N: Network>(network: &N, scenario: impl FnOnce(&N) + Send) {
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
