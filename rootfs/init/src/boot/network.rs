//! The phase that begins the node's network, and gives it a moment to come up.

use crate::boot::Step;
use crate::modules::Modules;
use crate::network::{self, Network, Places};
use crate::node::Node;
use crate::say;

/// Starts the network and waits until it has settled, which it has within
/// [`network::PATIENCE`] whatever happens: a boot goes on without a card or a cable.
pub(super) fn bring_up(node: &mut Node) -> Step {
    let Some(seed) = &node.seed else { return Step::Done };
    load_drivers(&network::modules(seed));
    node.network = Some(Network::start(seed, Places::of_the_node()));
    node.tend_network();
    while !node.network.as_ref().is_none_or(Network::settled) {
        if let Some(ending) = node.wait(Some(network::PATIENCE)) {
            return Step::End(ending);
        }
    }
    if let Some(network) = &node.network {
        say!("network: {}", network.status());
    }
    Step::Done
}

/// The kernel would ask for these when a bond or VLAN is made, but without the parameters.
fn load_drivers(drivers: &[(&str, &str)]) {
    if drivers.is_empty() {
        return;
    }
    match Modules::of_running_kernel() {
        Ok(modules) => {
            let loader = modules.loader();
            for (name, parameters) in drivers {
                if let Err(error) = loader.load(name, parameters) {
                    say!("{error}");
                }
            }
        }
        Err(error) => say!("{error}"),
    }
}
