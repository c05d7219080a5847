//! The node as `nodectl` sees it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ::control::{
    Clock, Image, Readiness, Reason, Refusal, ServiceName, ServiceStatus, Status, Top,
};
use disk::boot::BootArguments;
use logs::Journal;
use supervise::Wish;

use crate::control::{NodeView, Order, service_status, usage};
use crate::node::Node;
use crate::power::Ending;
use crate::say;
use crate::services::Services;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const COMMAND_LINE: &str = "/proc/cmdline";

impl NodeView for Node {
    fn status(&self, now: Duration) -> Status {
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
            boot_id: text(BOOT_ID).trim().to_owned(),
            uptime_ms: milliseconds(now),
            clock: Clock {
                unix_ms: self.unix_ms(),
                synchronised: sys::clock::is_synchronised(),
                source: None,
            },
            readiness: self.readiness(),
            services: self.services.as_ref().map(statuses).unwrap_or_default(),
            links: Vec::new(),
            watchdog: self.watchdog.status(),
            vip: Vec::new(),
            database: None,
            k3s: None,
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

    fn readiness(&self) -> Readiness {
        let unready = self.services.as_ref().map(Services::unready);
        let (phase, because) = match (&self.asked(), &self.seed, unready) {
            (Some(_), _, unready) => ("going down", unready.unwrap_or_default()),
            (None, None, _) => ("waiting for a seed", self.troubles.clone()),
            (None, Some(_), None) => ("booting", Vec::new()),
            (None, Some(_), Some(unready)) => ("running", unready),
        };
        let ready = phase == "running" && because.is_empty();
        Readiness { ready, phase: phase.to_owned(), because }
    }
}

fn statuses(services: &Services) -> Vec<ServiceStatus> {
    let status = services.status();
    let one = |(place, status): (usize, &supervise::ServiceStatus)| {
        let pid = services.pid(place).map(|pid| pid.as_raw_pid().unsigned_abs());
        service_status(status, pid)
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
