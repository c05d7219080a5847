//! The node as `nodectl` sees it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ::control::{
    Clock, Image, LinkStatus, Readiness, Reason, Refusal, ServiceName, ServiceStatus, Status,
    Storage, Top,
};
use disk::boot::BootArguments;
use logs::Journal;
use supervise::Wish;

use crate::control::{NodeView, Order, service_status, usage};
use crate::network::{self, AddressState, Network};
use crate::node::Node;
use crate::power::Ending;
use crate::say;
use crate::services::Services;
use crate::slot;
use crate::state;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const COMMAND_LINE: &str = "/proc/cmdline";
/// The service that keeps the clock.
const CLOCKD: &str = "clockd";

impl NodeView for Node {
    fn status(&self, now: Duration) -> Status {
        let network = self.network.as_ref().map(Network::status);
        let links = network.iter().flat_map(|network| &network.links).map(link).collect();
        let storage = state::published();
        let mut troubles = network.map(|network| network.troubles).unwrap_or_default();
        troubles.extend(trouble(storage.as_ref()));
        Status {
            node: self.seed.as_ref().map(|seed| seed.node.name.to_string()),
            cluster: self.seed.as_ref().map(|seed| seed.cluster.name.to_string()),
            image: Image {
                name: self.manifest.name.clone(),
                version: self.manifest.version.clone(),
                stand_in: self.manifest.stand_in,
                debug: self.manifest.debug,
            },
            slot: slot(),
            slots: slot::published(),
            storage,
            boot_id: text(BOOT_ID).trim().to_owned(),
            uptime_ms: milliseconds(now),
            clock: self.clock(),
            readiness: self.readiness(troubles),
            services: self.services.as_ref().map(statuses).unwrap_or_default(),
            links,
            watchdog: self.watchdog.status(),
            vip: Vec::new(),
            database: None,
            k3s: None,
            missing: Vec::new(),
        }
    }

    fn top(&self, now: Duration) -> Top {
        let of = |services: &Services| {
            let status = services.status();
            let usage = status
                .iter()
                .map(|it| usage::of_service(&it.name, &services.accounts_folder(&it.name)));
            usage.collect()
        };
        usage::of_node(now, self.services.as_ref().map(of).unwrap_or_default())
    }

    fn journal(&self) -> Option<&Journal> {
        self.services.as_ref().map(Services::journal)
    }

    fn order(&mut self, order: Order, now: Duration) -> Result<(), Refusal> {
        let (name, wish, word) = match order {
            Order::Start(name) => (name, Wish::Start, "start"),
            Order::Stop(name) => (name, Wish::Stop, "stop"),
            Order::Restart(name) => (name, Wish::Restart, "restart"),
            Order::Reboot => {
                self.ask_politely(Ending::Restart, now);
                return Ok(());
            }
            Order::PowerOff => {
                self.ask_politely(Ending::PowerOff, now);
                return Ok(());
            }
        };
        if self.asked().is_some() {
            return Err(not_now("the node goes down: its services stay as they are"));
        }
        let Some(services) = &mut self.services else {
            return Err(not_now("there are no services yet: the node is booting"));
        };
        if services.wish(name.as_str(), wish, now) {
            say!("nodectl: {word} {name}");
            Ok(())
        } else {
            Err(unknown(&name))
        }
    }
}

impl Node {
    /// An operator's wish; twice for the same means the same, since two may ask at once.
    fn ask_politely(&mut self, ending: Ending, now: Duration) {
        if self.asked() != Some(ending) {
            self.ask(ending, now);
        }
    }

    fn clock(&self) -> Clock {
        let synchronised = sys::clock::is_synchronised();
        let source = self.clock_floor.unwrap_or("the machine's own clock");
        let keeper = self.services.as_ref().and_then(|services| services.status_text_of(CLOCKD));
        Clock {
            unix_ms: self.unix_ms(),
            synchronised,
            source: (!synchronised).then(|| source.to_owned()),
            detail: keeper.map(ToOwned::to_owned),
        }
    }

    /// Ready is who has all services ready; what the network does without is told beside.
    fn readiness(&self, troubles: Vec<String>) -> Readiness {
        let unready = self.services.as_ref().map(Services::unready);
        let (phase, because) = match (&self.asked(), &self.seed, unready) {
            (Some(_), _, unready) => ("going down", unready.unwrap_or_default()),
            (None, None, _) => ("waiting for a seed", self.troubles.clone()),
            (None, Some(_), None) => ("booting", Vec::new()),
            (None, Some(_), Some(unready)) => ("running", unready),
        };
        let ready = phase == "running" && because.is_empty();
        let because = because.into_iter().chain(troubles).collect();
        Readiness { ready, phase: phase.to_owned(), because }
    }
}

/// A link of the seed in a word, and what is odd about it.
fn link(link: &network::LinkStatus) -> LinkStatus {
    let state = match (link.there, link.up, link.carrier) {
        (false, _, _) => "missing",
        (true, false, _) => "down",
        (true, true, false) => "no-carrier",
        (true, true, true) => "up",
    };
    let odd = link.addresses.iter().filter(|it| it.state != AddressState::Usable);
    let mut notes: Vec<String> =
        odd.map(|it| format!("{}: {}", it.address, it.state.word())).collect();
    notes.extend(link.bond.iter().map(|bond| format!("in bond {bond}")));
    let usable = link.addresses.iter().filter(|it| it.state == AddressState::Usable);
    LinkStatus {
        name: link.name.clone(),
        state: state.to_owned(),
        addresses: usable.map(|it| it.address.clone()).collect(),
        mac: link.mac.clone(),
        notes,
    }
}

/// What the node does without when it can't keep anything.
fn trouble(storage: Option<&Storage>) -> Option<String> {
    let unusable = storage.filter(|storage| !storage.usable)?;
    let why = unusable.because.as_deref().unwrap_or("see the console");
    Some(format!("STATE is unusable: {why}"))
}

fn statuses(services: &Services) -> Vec<ServiceStatus> {
    let status = services.status();
    let one = |(place, status): (usize, &supervise::ServiceStatus)| {
        let pid = services.pid(place).map(|pid| pid.as_raw_pid().unsigned_abs());
        // The clock's keeper is heard in the clock's own place.
        let says = services.status_text(place).filter(|_| status.name != CLOCKD);
        service_status(status, pid, says.map(ToOwned::to_owned))
    };
    status.iter().enumerate().map(one).collect()
}

fn unknown(name: &ServiceName) -> Refusal {
    let message = format!("this node has no service `{name}`: `nodectl status` lists them");
    Refusal { reason: Reason::UnknownService, message }
}

fn not_now(message: &str) -> Refusal {
    Refusal { reason: Reason::NotNow, message: message.to_owned() }
}

/// The slot that this node was started from.
fn slot() -> Option<String> {
    let arguments = text(COMMAND_LINE).parse::<BootArguments>().ok()?;
    Some(arguments.slot.letter().to_owned())
}

/// A file of the kernel's; empty if it can't be read.
fn text(path: &str) -> String {
    fs::read_to_string(Path::new(path)).unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::AddressStatus;

    #[test]
    fn a_link_is_told_in_a_word_with_its_oddities() {
        let address = |address: &str, state| AddressStatus {
            address: address.to_owned(),
            state,
            wanted: true,
            is_virtual: false,
        };
        let mut told = network::LinkStatus {
            name: "lan".to_owned(),
            kind: "ethernet".to_owned(),
            there: true,
            driver: None,
            mac: Some("52:54:00:77:00:01".to_owned()),
            up: true,
            carrier: true,
            speed: None,
            mtu: None,
            bond: None,
            addresses: vec![
                address("10.0.10.11/24", AddressState::Usable),
                address("fd77::11/64", AddressState::Duplicate),
            ],
        };
        let shown = link(&told);
        assert_eq!(
            (shown.state.as_str(), &shown.addresses[..]),
            ("up", &["10.0.10.11/24".to_owned()][..])
        );
        assert_eq!(shown.notes, ["fd77::11/64: another machine has it"]);
        told.carrier = false;
        assert_eq!(link(&told).state, "no-carrier");
        told.there = false;
        assert_eq!(link(&told).state, "missing");
    }
}
