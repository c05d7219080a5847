//! Status and usage in Prometheus' text format, for whoever collects such things.
//!
//! There is no HTTP on the node; `nodectl --node … metrics` prints this, and a collector's
//! text-file input takes it.

use std::fmt::Write;

use crate::database::{BackupStatus, DatabaseStatus};
use crate::status::{ServiceState, Status};
use crate::usage::{Top, Usage};

/// The metrics of a node.
pub fn metrics(status: &Status, top: &Top) -> String {
    let mut page = Page::default();
    node(&mut page, status, top);
    services(&mut page, status);
    usage(&mut page, top);
    roles(&mut page, status);
    page.text
}

/// The metrics of `pgkeeper`; they stand beside those of the node.
pub fn database_metrics(status: &DatabaseStatus) -> String {
    let mut page = Page::default();
    database(&mut page, status);
    page.text
}

/// The metrics of the service that makes backups: how old the newest one is tells whether they fail.
pub fn backup_metrics(status: &BackupStatus) -> String {
    let mut page = Page::default();
    let sound = || status.backups.iter().filter(|backup| !backup.damaged);
    let count = u64::try_from(sound().count()).unwrap_or(u64::MAX);
    page.single("backups", "gauge", "Base backups that a restore can begin with.", count);
    if let Some(newest) = sound().map(|backup| backup.until_unix).max() {
        let help = "When the newest of them was finished, since 1970.";
        page.single("backup_newest_timestamp_seconds", "gauge", help, newest);
    }
    page.text
}

/// The text as it grows.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP edgepair_{name} {help}\n# TYPE edgepair_{name} {kind}");
    }

    /// One sample of it.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> =
            labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let braces =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "edgepair_{name}{braces} {value}");
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn node(page: &mut Page, status: &Status, top: &Top) {
    let image = &status.image;
    page.family("node_info", "gauge", "The node and its image; always 1.");
    let labels = [
        ("node", status.node.as_deref().unwrap_or("")),
        ("image", &image.name),
        ("version", &image.version),
        ("slot", status.slot.as_deref().unwrap_or("")),
        ("boot_id", &status.boot_id),
        ("stand_in", if image.stand_in { "true" } else { "false" }),
    ];
    page.sample("node_info", &labels, 1);
    page.single("ready", "gauge", "Whether the node does its work.", status.readiness.ready.into());
    page.single("uptime_seconds", "gauge", "Time since boot.", status.uptime_ms / 1000);
    let synchronised = status.clock.synchronised.into();
    page.single("clock_synchronised", "gauge", "Whether a time server confirmed it.", synchronised);
    page.single(
        "watchdog_fed",
        "gauge",
        "Whether the watchdog is fed.",
        status.watchdog.fed.into(),
    );
    if let Some(storage) = &status.storage {
        let help = "Whether the state partition is mounted.";
        page.single("state_usable", "gauge", help, storage.usable.into());
    }
    page.single("memory_bytes", "gauge", "Memory of the node.", top.memory_bytes);
    let available = top.memory_available_bytes;
    page.single("memory_available_bytes", "gauge", "Memory that is left.", available);
    page.family("link_up", "gauge", "Whether a link works.");
    for link in &status.links {
        page.sample("link_up", &[("link", &link.name)], (link.state == "up").into());
    }
}

fn services(page: &mut Page, status: &Status) {
    page.family("service_state", "gauge", "1 for the state that a service is in.");
    for service in &status.services {
        let labels = [("service", service.name.as_str()), ("state", service.state.word())];
        page.sample("service_state", &labels, 1);
    }
    page.family("service_up", "gauge", "Whether a service is ready or has done its job.");
    for service in &status.services {
        let up = matches!(service.state, ServiceState::Ready | ServiceState::Finished);
        page.sample("service_up", &[("service", &service.name)], up.into());
    }
    page.family("service_restarts_total", "counter", "Starts after the first.");
    for service in &status.services {
        page.sample("service_restarts_total", &[("service", &service.name)], service.restarts);
    }
}

fn usage(page: &mut Page, top: &Top) {
    type Family = (&'static str, &'static str, &'static str, fn(&Usage) -> Option<u64>);
    let families: [Family; 4] = [
        ("service_cpu_microseconds_total", "counter", "Processor time.", |it| it.cpu_us),
        ("service_memory_bytes", "gauge", "Memory with its page cache.", |it| it.memory_bytes),
        ("service_pids", "gauge", "Processes and threads.", |it| it.pids),
        ("service_oom_kills_total", "counter", "Kills for want of memory.", |it| it.oom_kills),
    ];
    for (name, kind, help, value) in families {
        page.family(name, kind, help);
        for service in &top.services {
            if let Some(value) = value(service) {
                page.sample(name, &[("service", &service.service)], value);
            }
        }
    }
}

fn roles(page: &mut Page, status: &Status) {
    if !status.vip.is_empty() {
        page.family("vip_active", "gauge", "Whether the node holds a virtual address.");
    }
    for vip in &status.vip {
        page.sample("vip_active", &[("vip", &vip.name)], (vip.state == "active").into());
    }
    if let Some(status) = &status.database {
        database(page, status);
    }
    if let Some(k3s) = &status.k3s {
        page.single("k3s_ready", "gauge", "Whether Kubernetes answers.", k3s.ready.into());
    }
}

fn database(page: &mut Page, status: &DatabaseStatus) {
    page.family("database_role", "gauge", "1 for the role that the node has.");
    page.sample("database_role", &[("role", &status.role)], 1);
    let open = status.gate_open.into();
    let singles = [
        ("epoch", "The authority's epoch.", Some(status.epoch)),
        ("gate_open", "Whether clients get in.", Some(open)),
        ("in_sync", "Whether both nodes have every write.", status.in_sync.map(u64::from)),
        ("lag_bytes", "How far the standby is behind.", status.lag_bytes),
        ("sessions", "Clients' sessions.", status.sessions),
        ("maintenance", "Whether failover is switched off.", Some(status.maintenance.into())),
    ];
    for (name, help, value) in singles {
        if let Some(value) = value {
            page.single(&format!("database_{name}"), "gauge", help, value);
        }
    }
    if let Some(peer) = &status.peer {
        if let Some(contact) = peer.contact_ms {
            let help = "How long ago the peer was certainly there.";
            page.single("database_peer_contact_milliseconds", "gauge", help, contact);
        }
        page.family("database_channel_heard", "gauge", "Whether the peer is heard on this way.");
        for channel in &peer.channels {
            let labels = [("channel", channel.name.as_str())];
            page.sample("database_channel_heard", &labels, channel.heard.into());
        }
    }
    if let Some(answered) = status.witness.as_ref().and_then(|witness| witness.answered_ms) {
        let help = "How long ago the witness answered.";
        page.single("database_witness_answer_milliseconds", "gauge", help, answered);
    }
    for (name, value) in &status.gate_counters {
        page.single(&format!("gate_{name}_total"), "counter", "Counted by the gate.", *value);
    }
}
