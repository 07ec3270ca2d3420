//! A scenario that needs a network, and takes the best that this machine has.

use super::{Namespaces, Network, Proxies};
use std::thread;

/// Runs a scenario with as many places for nodes as asked for, on a thread that is where the clients are.
///
/// Namespaces drop packets, as a network does, and need the right to be made; without it the scenario runs over proxies
/// on loopback, which hold bytes back.
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
