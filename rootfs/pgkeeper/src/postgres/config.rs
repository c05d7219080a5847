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
use std::time::Duration;

use super::controldata::Least;
use super::settings::Settings;

/// Commits wait for a standby of this name, which nobody has: see `names.rs`.
const NOBODY: &str = "nobody at all";
/// Connections that only superusers get; part of [`crate::gate::HEADROOM`].
const RESERVED_CONNECTIONS: u32 = 5;
const MIB: u64 = 1 << 20;

/// How much room WAL may take, by the size of the disk that it shares with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WalRoom {
    /// Kept for a peer that is away. What it needs beyond this, it gets by a copy.
    slot: u64,
    /// Kept in any case, so that a short absence during which the slot is remade costs no copy.
    always: u64,
    /// Written between two checkpoints.
    most: u64,
    /// Recycled rather than removed.
    least: u64,
}

impl WalRoom {
    fn on_disk(all: u64) -> Self {
        let most = (all / 8).clamp(64 * MIB, 1024 * MIB);
        Self {
            slot: (all / 8).clamp(64 * MIB, 4096 * MIB),
            always: (all / 32).clamp(32 * MIB, 256 * MIB),
            most,
            least: (80 * MIB).min(most / 2),
        }
    }
}

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

/// The file. `major` is PostgreSQL's version; `listen` are addresses that can be had now; `disk` is
/// the size of the disk, in bytes; `least` is what the data of a standby can't do without.
pub(super) fn render(
    settings: &Settings,
    part: Part,
    major: u32,
    listen: &str,
    disk: u64,
    least: &[Least],
) -> String {
    let mut file = File(String::from("# Written by pgkeeper at every start; changes are lost.\n"));
    for (name, value) in &settings.settings {
        file.set(name, value);
    }
    connections(&mut file, settings, listen);
    durability(&mut file, settings);
    wal(&mut file, settings, WalRoom::on_disk(disk));
    replication(&mut file, settings, part);
    if major >= 17 {
        file.set("allow_alter_system", "off");
    }
    for setting in least {
        if setting.value > file.number(setting) {
            file.set(setting.name, &setting.value.to_string());
        }
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
    // A segment takes hours to fill where little is written, and what isn't archived can't be restored.
    file.set("archive_timeout", if settings.archive_command.is_some() { "60s" } else { "0" });
}

fn wal(file: &mut File, settings: &Settings, room: WalRoom) {
    let mut size = |name, bytes: u64| file.set(name, &format!("{}MB", bytes / MIB));
    size("max_slot_wal_keep_size", room.slot);
    size("wal_keep_size", room.always);
    // PostgreSQL refuses a least that is above the most, so the seed gives both or none.
    let by_seed = |name| settings.settings.keys().any(|key| key.eq_ignore_ascii_case(name));
    if !by_seed("max_wal_size") {
        size("max_wal_size", room.most);
        size("min_wal_size", room.least);
    }
}

fn replication(file: &mut File, settings: &Settings, part: Part) {
    file.set("hot_standby", "on");
    file.set("max_wal_senders", "10");
    file.set("max_replication_slots", "10");
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
            let ca = settings.receiver_ca();
            (conninfo(settings, &ca, &settings.name, Purpose::Receive), slot(&settings.name))
        }
        _ => (String::new(), String::new()),
    };
    file.set("primary_conninfo", &conninfo);
    file.set("primary_slot_name", &slot);
}

/// What a connection to the peer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To receive its log: tried anew all the time, so it is given up quickly.
    Receive,
    /// To rewind or copy. It isn't tried anew: a leader that is slow to answer, as one that was just
    /// promoted is, would have a rewind end in a copy of everything, and a copy that a stall of some
    /// seconds on either node's disk breaks off begins at its beginning, maybe for ever.
    Repair,
}

impl Purpose {
    const fn connect_seconds(self) -> u32 {
        match self {
            Self::Receive => 2,
            Self::Repair => 20,
        }
    }

    /// How long the peer may take nothing.
    const fn stall(self) -> Duration {
        match self {
            Self::Receive => Duration::from_secs(1),
            // Less than a clean stop of the peer may take, which waits for whoever it sends to.
            Self::Repair => Duration::from_secs(8),
        }
    }

    /// What the peer is told of its own patience; with nothing, its configuration's counts.
    fn options(self) -> String {
        match self {
            Self::Receive => String::new(),
            Self::Repair => format!("-c wal_sender_timeout={}s", self.stall().as_secs()),
        }
    }
}

/// How libpq finds the peer, knows it, and notices that it is gone.
pub(super) fn conninfo(
    settings: &Settings,
    ca: &Path,
    application: &str,
    purpose: Purpose,
) -> String {
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
        ("connect_timeout", purpose.connect_seconds().to_string()),
        ("keepalives_idle", "2".to_owned()),
        ("keepalives_interval", "1".to_owned()),
        ("keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", purpose.stall().as_millis().to_string()),
        ("options", purpose.options()),
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

    /// What the file says of a setting by now.
    fn number(&self, setting: &Least) -> u32 {
        let said = |line: &str| {
            let (name, value) = line.split_once(" = ")?;
            let value = value.trim_matches('\'').parse().ok();
            value.filter(|_| name.eq_ignore_ascii_case(setting.name))
        };
        self.0.lines().rev().find_map(said).unwrap_or(setting.default)
    }

    fn path(&mut self, name: &str, path: &Path) {
        self.set(name, &path.display().to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(settings: &Settings, disk: u64) -> Vec<String> {
        let part = Part::Standby { receive: true };
        let text = render(settings, part, 17, "", disk, &[]);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn wal_takes_no_more_of_a_small_disk_than_it_has() {
        let settings = Settings::example(Path::new("/state/postgres"));
        for (disk, expected) in [
            (256 * MIB, ["64MB", "32MB", "64MB", "32MB"]),
            (2048 * MIB, ["256MB", "64MB", "256MB", "80MB"]),
            (1 << 40, ["4096MB", "256MB", "1024MB", "80MB"]),
            (u64::MAX, ["4096MB", "256MB", "1024MB", "80MB"]),
        ] {
            let names = ["max_slot_wal_keep_size", "wal_keep_size", "max_wal_size", "min_wal_size"];
            let lines = lines(&settings, disk);
            for (name, value) in names.into_iter().zip(expected) {
                let line = format!("{name} = '{value}'");
                assert!(lines.contains(&line), "{line} on a disk of {disk} bytes: {lines:?}");
            }
        }
    }

    #[test]
    fn a_seed_may_choose_how_much_wal_lies_between_checkpoints() {
        let mut settings = Settings::example(Path::new("/state/postgres"));
        settings.settings.insert("Max_WAL_size".to_owned(), "3GB".to_owned());
        let lines = lines(&settings, 2048 * MIB);
        assert!(lines.contains(&"Max_WAL_size = '3GB'".to_owned()), "{lines:?}");
        let others = ["max_wal_size", "min_wal_size"];
        assert!(!lines.iter().any(|line| others.iter().any(|name| line.starts_with(name))));
        assert!(lines.contains(&"wal_keep_size = '64MB'".to_owned()), "{lines:?}");
    }

    /// A dead link must be noticed by the time that a standby's data may be wanted.
    #[test]
    fn a_peer_that_takes_nothing_is_given_up_soon_and_in_repairs_later() {
        let settings = Settings::example(Path::new("/state/postgres"));
        let words = |purpose| conninfo(&settings, &settings.certificates.ca, "one", purpose);
        let receiver = words(Purpose::Receive);
        assert!(receiver.contains("tcp_user_timeout='1000'"), "{receiver}");
        assert!(!receiver.contains("wal_sender_timeout"), "{receiver}");
        let repair = words(Purpose::Repair);
        assert!(repair.contains("tcp_user_timeout='8000'"), "{repair}");
        assert!(repair.contains("options='-c wal_sender_timeout=8s'"), "{repair}");
    }

    #[test]
    fn a_standby_has_no_less_than_what_its_primary_had() {
        let mut settings = Settings::example(Path::new("/state/postgres"));
        settings.settings.insert("Max_Worker_Processes".to_owned(), "32".to_owned());
        let had = |name, default, value| Least { name, default, value };
        let least = [
            had("max_connections", 100, 250),
            had("max_worker_processes", 8, 16),
            had("max_prepared_transactions", 0, 0),
            had("max_locks_per_transaction", 64, 128),
        ];
        let part = Part::Standby { receive: true };
        let text = render(&settings, part, 17, "", MIB, &least);
        let last = |name: &str| {
            let of_it = |line: &&str| line.split(' ').next().is_some_and(|first| first == name);
            text.lines().rfind(of_it).map(str::to_owned)
        };
        assert_eq!(last("max_connections"), Some("max_connections = '250'".to_owned()));
        let locks = "max_locks_per_transaction = '128'".to_owned();
        assert_eq!(last("max_locks_per_transaction"), Some(locks));
        // These are no lower as it is.
        assert_eq!((last("max_worker_processes"), last("max_prepared_transactions")), (None, None));
    }
}
