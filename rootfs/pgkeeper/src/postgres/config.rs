//! `postgresql.conf` as data. Pure.
//!
//! It is rendered anew for every start and lies outside of the data, where no rewind, copy or
//! leftover changes it. The last line of a name counts, so the keeper's own come last.
//!
//! `synchronous_standby_names` decides who waits for whom, and nothing else in here may: commits
//! wait as long as it names anybody, even somebody who never comes.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::settings::Settings;

/// Commits wait for a standby of this name, which nobody has: see `names.rs`.
const NOBODY: &str = "nobody at all";
/// Connections that only superusers get; part of [`crate::gate::HEADROOM`].
const RESERVED_CONNECTIONS: u32 = 5;
/// WAL kept for a peer that is away. What it needs beyond this, it gets by a copy.
const SLOT_KEEP: &str = "4GB";
/// WAL kept in any case, so that a short absence during which the slot is remade costs no copy.
const KEEP: &str = "256MB";

/// For whom commits wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// For nobody: they don't wait.
    No,
    /// For a standby that doesn't exist: all of them wait, until this changes.
    Forever,
    /// For the peer.
    ForPeer,
}

/// What PostgreSQL shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A primary.
    Primary(Waits),
    /// A standby.
    Standby {
        /// Whether it streams.
        receive: bool,
    },
    /// A standby that only comes to its own end, to be shut down there. It may know of a timeline
    /// that parted from its own, and must not try to follow that.
    Settling,
}

/// The file. `major` is PostgreSQL's version; `listen` are addresses that can be had now.
pub(super) fn render(settings: &Settings, part: Part, major: u32, listen: &str) -> String {
    let mut file = File(String::from("# Written by pgkeeper at every start; changes are lost.\n"));
    for (name, value) in &settings.settings {
        file.set(name, value);
    }
    connections(&mut file, settings, listen);
    durability(&mut file, settings);
    replication(&mut file, settings, part);
    if major >= 17 {
        file.set("allow_alter_system", "off");
    }
    file.0
}

fn connections(file: &mut File, settings: &Settings, listen: &str) {
    let certificates = &settings.certificates;
    file.set("cluster_name", &settings.name);
    file.set("listen_addresses", listen);
    file.set("port", &settings.replication_port.to_string());
    file.path("unix_socket_directories", &settings.socket_folder);
    file.set("unix_socket_permissions", "0700");
    file.path("hba_file", &settings.hba());
    file.path("ident_file", &settings.ident());
    file.set("max_connections", &settings.max_connections.to_string());
    file.set("superuser_reserved_connections", &RESERVED_CONNECTIONS.to_string());
    file.set("shared_buffers", &format!("{}kB", settings.shared_buffers / 1024));
    file.set("ssl", if listen.is_empty() { "off" } else { "on" });
    file.path("ssl_ca_file", &certificates.ca);
    file.path("ssl_cert_file", &certificates.certificate);
    file.path("ssl_key_file", &certificates.key);
    file.set("ssl_min_protocol_version", "TLSv1.3");
    // A dead client must not hold a session for hours; the gate cuts the living.
    file.set("tcp_keepalives_idle", "10");
    file.set("log_destination", "stderr");
    file.set("logging_collector", "off");
    file.set("log_line_prefix", "");
    file.set("log_checkpoints", "off");
    file.set("lc_messages", "C");
    file.set("log_timezone", "GMT");
    file.set("timezone", "GMT");
    file.set("jit", "off");
}

fn durability(file: &mut File, settings: &Settings) {
    file.set("fsync", "on");
    // After a crash everything must reach the disk once; one call for all of it is the fastest.
    file.set("recovery_init_sync_method", "syncfs");
    file.set("full_page_writes", "on");
    file.set("wal_log_hints", "on");
    file.set("wal_level", "replica");
    file.set("synchronous_commit", if settings.synchronous { "on" } else { "local" });
    // PostgreSQL would come back by itself, with rows visible that the peer never had. The keeper
    // starts it again, and lets clients in when the peer has everything.
    file.set("restart_after_crash", "off");
    file.set("archive_mode", if settings.archive_command.is_some() { "on" } else { "off" });
    file.set("archive_command", settings.archive_command.as_deref().unwrap_or_default());
}

fn replication(file: &mut File, settings: &Settings, part: Part) {
    file.set("hot_standby", "on");
    file.set("max_wal_senders", "10");
    file.set("max_replication_slots", "10");
    file.set("max_slot_wal_keep_size", SLOT_KEEP);
    file.set("wal_keep_size", KEEP);
    file.set("wal_sender_timeout", "2s");
    file.set("wal_receiver_timeout", "2s");
    file.set("wal_receiver_status_interval", "1s");
    file.set("wal_retrieve_retry_interval", "500ms");
    let timeline = if part == Part::Settling { "current" } else { "latest" };
    file.set("recovery_target_timeline", timeline);
    let names = match part {
        Part::Primary(Waits::ForPeer) => format!("\"{}\"", settings.peer_name.replace('"', "\"\"")),
        Part::Primary(Waits::Forever) => format!("\"{NOBODY}\""),
        Part::Primary(Waits::No) | Part::Standby { .. } | Part::Settling => String::new(),
    };
    file.set("synchronous_standby_names", &names);
    let (conninfo, slot) = match part {
        Part::Standby { receive: true } => {
            (conninfo(settings, &settings.receiver_ca(), &settings.name), slot(&settings.name))
        }
        _ => (String::new(), String::new()),
    };
    file.set("primary_conninfo", &conninfo);
    file.set("primary_slot_name", &slot);
}

/// How libpq finds the peer, knows it, and notices that it is gone.
pub(super) fn conninfo(settings: &Settings, ca: &Path, application: &str) -> String {
    let certificates = &settings.certificates;
    let hosts: Vec<String> = settings.peer_addresses.iter().map(IpAddr::to_string).collect();
    let words = [
        ("host", hosts.join(",")),
        ("port", settings.peer_port.to_string()),
        ("user", crate::gate::hba::REPLICATION_ROLE.to_owned()),
        ("application_name", application.to_owned()),
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", ca.display().to_string()),
        ("sslcert", certificates.replication_certificate.display().to_string()),
        ("sslkey", certificates.replication_key.display().to_string()),
        ("gssencmode", "disable".to_owned()),
        ("connect_timeout", "2".to_owned()),
        ("keepalives_idle", "2".to_owned()),
        ("keepalives_interval", "1".to_owned()),
        ("keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "5000".to_owned()),
    ];
    let words = words.map(|(name, value)| {
        format!("{name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
    });
    words.join(" ")
}

/// A node's name as the name of its slot, which may have but few characters.
pub(super) fn slot(node: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    node.chars().map(allowed).collect()
}

struct File(String);

impl File {
    fn set(&mut self, name: &str, value: &str) {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        let _ = writeln!(self.0, "{name} = '{value}'");
    }

    fn path(&mut self, name: &str, path: &Path) {
        self.set(name, &path.display().to_string());
    }
}
