//! The virtual address: who has it, and who had it.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use ::probe::words::Ask;
use ledger::Finding;
use ledger::check::ownership;
use vswitch::rule::Port;
use vswitch::wire::{Claim, Reign};

use super::{Drill, LOOK_AGAIN, READY_LIMIT, SETTLE_LIMIT, SILENT_ADVERTS};
use crate::rig::fault::{Node, Stop};

impl Drill {
    /// Waits until the address has one owner, whose adverts are steady; gives it and the other node.
    pub fn vip_roles(&mut self) -> Result<(Node, Node), Stop> {
        let owner = self.steady_owner(SETTLE_LIMIT)?;
        let peer = self.nodes().into_iter().find(|node| *node != owner);
        let peer = peer.ok_or_else(|| Stop::Unknown("there is no peer".to_owned()))?;
        self.note(format!("{} has the address, {} watches", self.name(owner), self.name(peer)));
        Ok((owner, peer))
    }

    /// Waits until the log of a service, on any node, has a text.
    pub(in crate::rig) fn wait_logged(&self, service: &str, text: &str) -> Result<(), Stop> {
        loop {
            self.time_left()?;
            for node in self.nodes() {
                let ask = Ask::ReadFile { path: format!("/state/logs/{service}.log") };
                let said = self.probe(node)?.ask(ask);
                if said.is_ok_and(|said| said.as_str().is_some_and(|said| said.contains(text))) {
                    return Ok(());
                }
            }
            thread::sleep(LOOK_AGAIN * 10);
        }
    }

    /// The node that alone has sent adverts for some of them.
    fn steady_owner(&mut self, limit: Duration) -> Result<Node, Stop> {
        let vip = self.vip()?;
        let wanted = self.now() + limit;
        let deadline = self.now() + limit.min(self.time_left()?);
        let window = self.adverts(SILENT_ADVERTS);
        let mut seen;
        loop {
            // What was heard before the last fault or heal tells nothing of now.
            let since = self.now().saturating_sub(window).max(self.mark);
            seen = self.cluster.switch.with_wire(|wire| {
                let mut ports: Vec<(Port, u32)> = Vec::new();
                for heard in wire.since(since) {
                    let Claim::Advert(vrrp) = heard.claim else { continue };
                    if vrrp.vrid != vip.vrid || vrrp.source.is_ipv4() != vip.address.is_ipv4() {
                        continue;
                    }
                    match ports.iter_mut().find(|(port, _)| *port == heard.port) {
                        Some((_, count)) => *count += 1,
                        None => ports.push((heard.port, 1)),
                    }
                }
                ports
            });
            if let [(port, count)] = seen.as_slice()
                && *count + 1 >= SILENT_ADVERTS
            {
                return Ok(Node(port.0));
            }
            if self.now() > deadline {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.was_waited_until(wanted)?;
        let who: Vec<&str> = seen.iter().map(|(port, _)| self.cluster.name_of(*port)).collect();
        let what = format!("the address has no single owner; lately adverts came from {who:?}");
        Err(self.late(self.mark, what))
    }

    /// The times since the drill's beginning in which each node was the source of adverts.
    pub fn reigns(&self) -> Vec<Reign> {
        let Some(vip) = self.cluster.vips.first() else { return Vec::new() };
        let (vrid, v6) = (vip.vrid, vip.address.is_ipv6());
        let silence = self.takeover();
        let all = self.cluster.switch.with_wire(|wire| wire.reigns(vrid, v6, silence)).into_iter();
        let since = all.filter(|reign| reign.until >= self.formed);
        since.map(|reign| Reign { from: reign.from.max(self.formed), ..reign }).collect()
    }

    /// The address had one owner at a time, but for one advert.
    pub fn single_owner(&self) -> Finding {
        let (reigns, advert) = (self.ledger_reigns(), self.adverts(1).into());
        let finding = ownership::single_owner(&reigns, advert);
        let excess = ownership::longest_of_two(&reigns).since(advert);
        self.unless_the_desk_lagged_by(excess.into(), finding)
    }

    /// The address changed its owner at most so many times.
    pub fn owner_changes(&self, most: usize) -> Finding {
        self.unless_the_desk_lagged(ownership::owner_changes(&self.ledger_reigns(), most))
    }

    pub(in crate::rig) fn ledger_reigns(&self) -> Vec<ownership::Reign> {
        let reign = |reign: Reign| ownership::Reign {
            owner: self.cluster.name_of(reign.port).to_owned(),
            from: reign.from.into(),
            until: reign.until.into(),
        };
        self.reigns().into_iter().map(reign).collect()
    }

    /// After all is healed: every node runs and is ready, and the address has one owner who holds it
    /// and nobody else does.
    pub fn settle(&mut self) -> Result<(), Stop> {
        for node in self.nodes() {
            if !self.machine(node)?.is_running()? {
                return Err(Stop::Unknown(format!(
                    "{} was never turned on again",
                    self.name(node)
                )));
            }
            self.machine(node)?.probe.wait(READY_LIMIT)?;
        }
        if self.cluster.vips.is_empty() {
            return Ok(());
        }
        let owner = self.steady_owner(SETTLE_LIMIT)?;
        let address = self.vip()?.address;
        for node in self.nodes() {
            let (holds, wanted) = (self.holds(node, address)?, node == owner);
            if holds != wanted {
                let name = self.name(node);
                let what = if holds { "still has the address" } else { "lacks its address" };
                return Err(Stop::Violated(format!("after all was healed {name} {what}")));
            }
        }
        self.note(format!("settled: {} has the address", self.name(owner)));
        Ok(())
    }

    /// Whether a node has an address on a link.
    pub fn holds(&self, node: Node, address: IpAddr) -> Result<bool, Stop> {
        Ok(self.probe(node)?.facts()?.addresses.contains(&address))
    }
}
