//! The phase that begins the node's network, and gives it a moment to come up.

use std::ffi::CStr;

use crate::boot::{Stage2Error, Step};
use crate::modules::Modules;
use crate::network::{self, Network, Places};
use crate::node::Node;
use crate::say;

/// Starts the network and waits until it has settled, which it has within
/// [`network::PATIENCE`] whatever happens: a boot goes on without a card or a cable.
pub(super) fn bring_up(node: &mut Node) -> Result<Step, Stage2Error> {
    let Some(seed) = &node.seed else { return Ok(Step::Done) };
    load_drivers(&network::modules(seed));
    node.network = Some(Network::start(seed, Places::of_the_node()));
    node.tend_network();
    while !node.network.as_ref().is_none_or(Network::settled) {
        if let Some(ending) = node.wait(Some(network::PATIENCE)) {
            return Ok(Step::End(ending));
        }
    }
    if let Some(network) = &node.network {
        say!("network: {}", network.status());
    }
    Ok(Step::Done)
}

/// The kernel would ask modprobe for these when a bond or VLAN is made; there is none.
fn load_drivers(drivers: &[(&str, &CStr)]) {
    if drivers.is_empty() {
        return;
    }
    match Modules::of_running_kernel() {
        Ok(modules) => {
            for (name, parameters) in drivers {
                if let Err(error) = modules.load_with(name, parameters) {
                    say!("{error}");
                }
            }
        }
        Err(error) => say!("{error}"),
    }
}
