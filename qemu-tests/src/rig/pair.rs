//! The database pair in drills: who leads, clients that write, and what must hold afterwards.
//!
//! The pair are the first two nodes of its cluster file; whoever comes after them is no part of it.
//! What a drill waits for, a node's keeper says. What a drill is judged by, it doesn't: that is what
//! clients were told and what the wire said.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ::probe::words::{Ask, OwnRows};
use control::DatabaseStatus;
use ledger::check::converged::{self, Role};
use ledger::check::rows::lost_in_last_read;
use ledger::check::{enough, gap, promises};
use ledger::client::Settings;
use ledger::client::postgres::{Certificates, Target};
use ledger::client::session::Appends;
use ledger::{History, Kind, Operation, Outcome};

use super::drill::{Clients, Drill};
use super::fault::{Node, Stop};

/// Two nodes make a pair.
const PAIR: usize = 2;
/// A first boot, a new database, a copy of it, and the hold-down before synchrony; four emulated
/// processors share two real ones meanwhile.
const FORM_LIMIT: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A standby in sync has every acknowledged row on its disk; an emulated one replays it a moment later.
const REPLAY_LIMIT: Duration = Duration::from_secs(10);
/// The reader of a node's own rows is no client.
const NOBODYS: u32 = u32::MAX;
/// Clients: as in the pair's cluster files.
const DATABASE_PORT: u16 = 5432;
const DATABASE: &str = "ledger";
const ROLE: &str = "ledger";
const TABLE: &str = "rows";
/// Those of the images of peers.
const PEER_ROLE: &str = "k3s";
const PEER_DATABASE: &str = "kubernetes";
const WRITERS: u32 = 3;
const WRITE_EVERY_MS: u64 = 50;
/// A client waits for less than the time in which the pair may be expected to be back, and asks
/// again; what it waited for then counts as "may have happened". An emulated processor needs most
/// of a second for TLS and a log-in while its PostgreSQL has just been promoted.
const CONNECT_MS: u64 = 3000;
const STATEMENT_MS: u64 = 1000;
const PREPARE_MS: u64 = 20_000;
/// With fewer acknowledged rows a run proves nothing.
pub const ROWS_LEAST: usize = 40;

/// What drills of the pair measure: the longest time without an acknowledged row, rows that were
/// acknowledged and are gone, and the time to two nodes in sync, from the drill's last mark, which is
/// the end of the fault unless the drill set another.
pub const GAP: &str = "gap_ms";
pub const LOST: &str = "lost_rows";
pub const IN_SYNC_AGAIN: &str = "in_sync_again_ms";

impl Drill {
    /// The two nodes of the pair.
    pub fn pair(&self) -> Vec<Node> {
        self.nodes().into_iter().take(PAIR).collect()
    }

    /// Waits until the pair is in sync; gives the primary and the standby.
    pub fn pair_roles(&mut self) -> Result<(Node, Node), Stop> {
        let roles = self.wait_for_sync(FORM_LIMIT)?;
        let (primary, standby) = (self.name(roles.0).to_owned(), self.name(roles.1).to_owned());
        self.note(format!("{primary} leads, {standby} follows in sync"));
        Ok(roles)
    }

    fn wait_for_sync(&self, limit: Duration) -> Result<(Node, Node), Stop> {
        let wanted = self.now() + limit;
        let deadline = self.now() + limit.min(self.time_left()?);
        loop {
            let seen: Vec<(Node, Option<DatabaseStatus>)> =
                self.pair().into_iter().map(|node| (node, self.keeper(node))).collect();
            let with = |role: &str| {
                let has = |status: &DatabaseStatus| status.role == role;
                seen.iter().find(|(_, status)| status.as_ref().is_some_and(has)).map(|(n, _)| *n)
            };
            if let (Some(primary), Some(standby)) = (with("primary"), with("standby")) {
                return Ok((primary, standby));
            }
            if self.now() > deadline {
                self.was_waited_until(wanted)?;
                let is = |status: &Option<DatabaseStatus>| {
                    status
                        .as_ref()
                        .map_or_else(|| "silent".to_owned(), |status| status.role.clone())
                };
                let roles: Vec<String> = seen
                    .iter()
                    .map(|(node, s)| format!("{} is {}", self.name(*node), is(s)))
                    .collect();
                let roles = roles.join(", ");
                return Err(Stop::Violated(format!(
                    "the pair was not in sync within {} s: {roles}",
                    limit.as_secs()
                )));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Starts clients in the tester that append rows through the virtual address.
    pub fn start_writers(&mut self) -> Result<Clients, Stop> {
        self.start_later_writers(0)
    }

    /// The same for a table that has rows of earlier clients: numbers begin after this one, which must
    /// be larger than all of theirs.
    pub fn start_later_writers(&mut self, after: u32) -> Result<Clients, Stop> {
        let certificates = Some(self.client_certificates()?);
        self.start_writers_as(ROLE, DATABASE, certificates, after)
    }

    /// The same at a peer that is measured, which lets everybody in.
    pub fn start_plain_writers(&mut self) -> Result<Clients, Stop> {
        self.start_writers_as(PEER_ROLE, PEER_DATABASE, None, 0)
    }

    fn start_writers_as(
        &mut self,
        role: &str,
        database: &str,
        certificates: Option<Certificates>,
        after: u32,
    ) -> Result<Clients, Stop> {
        let address = SocketAddr::new(self.vip()?.address, DATABASE_PORT);
        let target = Target {
            address,
            role: role.to_owned(),
            database: database.to_owned(),
            table: TABLE.to_owned(),
            certificates,
            connect_ms: CONNECT_MS,
            statement_ms: STATEMENT_MS,
        };
        let appends = Appends {
            target,
            workers: WRITERS,
            after,
            every_ms: WRITE_EVERY_MS,
            prepare_ms: PREPARE_MS,
            read_from: Vec::new(),
        };
        self.start_clients_with(Settings { pings: Vec::new(), postgres: Some(appends) })
    }

    fn client_certificates(&self) -> Result<Certificates, Stop> {
        // Secrets are in a folder of the cluster's name.
        let sites = fs::read_dir(&self.cluster.secrets).into_iter().flatten().flatten();
        let folder = sites.map(|entry| entry.path()).find(|path| path.is_dir());
        let folder = folder.ok_or_else(|| Stop::Unknown("the site has no secrets".to_owned()))?;
        let read = |name: String| {
            let path = folder.join(name);
            let fail = |error| Stop::Unknown(format!("{}: {error}", path.display()));
            fs::read_to_string(&path).map_err(fail)
        };
        Ok(Certificates {
            ca: read("ca.pem".to_owned())?,
            certificate: read(format!("clients/{ROLE}.pem"))?,
            key: read(format!("clients/{ROLE}.key"))?,
        })
    }

    /// Stops the clients and judges what they were told: every promise was kept, by both nodes if the
    /// pair was settled, and they waited no longer than the budget.
    pub fn finish_writers(&mut self, clients: Clients, budget: Duration) -> Result<History, Stop> {
        let mut history = self.finish_clients(clients)?;
        // Without the clients' own read nobody knows what they would find, whatever the standby has.
        if self.settled
            && history.acknowledged(Kind::Read).next().is_some()
            && let Some(read) = self.read_standby(&history)?
        {
            self.history.operations.push(read.clone());
            history.operations.push(read);
        }
        if let Some(lost) = lost_in_last_read(&history) {
            self.measure(LOST, u64::try_from(lost).unwrap_or(u64::MAX));
        }
        for finding in promises(&history) {
            self.check(finding);
        }
        self.check(enough(&history, Kind::Append, ROWS_LEAST));
        let gap = self.longest_gap_of(Kind::Append, &history, budget);
        self.check(gap);
        if let Some((from, until)) = self.span()
            && let Some(gap) = gap::longest(&history, Kind::Append, from, until)
        {
            self.measure(GAP, gap.length().0 / 1000);
        }
        Ok(history)
    }

    /// After all is healed: the pair is in sync within a limit, and the address is where the primary
    /// is and nowhere else.
    pub fn settle_pair(&mut self, limit: Duration) -> Result<(), Stop> {
        for node in self.nodes() {
            if !self.machine(node)?.is_running()? {
                let name = self.name(node);
                return Err(Stop::Unknown(format!("{name} was never turned on again")));
            }
        }
        let (primary, _) = self.wait_for_sync(limit)?;
        self.measure_since_mark(IN_SYNC_AGAIN);
        self.note(format!("{} leads", self.name(primary)));
        let address = self.vip()?.address;
        let mut nodes = Vec::new();
        for node in self.pair() {
            let role = if node == primary { Role::Primary } else { Role::Standby };
            nodes.push(converged::Node {
                name: self.name(node).to_owned(),
                role,
                streaming: role == Role::Standby,
                has_address: self.holds(node, address)?,
            });
        }
        self.check(converged::converged(&nodes));
        self.settled = true;
        Ok(())
    }

    /// What the standby itself has. By its own word it is in sync; by this it is, since whatever was
    /// acknowledged meanwhile is there too.
    fn read_standby(&self, history: &History) -> Result<Option<Operation>, Stop> {
        let follows = |node: &Node| self.keeper(*node).is_some_and(|it| it.role == "standby");
        let Some(standby) = self.pair().into_iter().find(follows) else { return Ok(None) };
        let acknowledged = history.acknowledged(Kind::Append).filter_map(|append| append.value);
        let acknowledged: BTreeSet<u64> = acknowledged.collect();
        let deadline = self.now() + REPLAY_LIMIT;
        loop {
            let invoked = self.now();
            let (database, table) = (DATABASE.to_owned(), TABLE.to_owned());
            let answer = self.probe(standby)?.ask(Ask::ReadRows { database, table })?;
            let strange = |error| Stop::Unknown(format!("rows of {}: {error}", self.name(standby)));
            let OwnRows { follows, rows } = serde_json::from_value(answer).map_err(strange)?;
            let name = self.name(standby).to_owned();
            if !follows {
                return Err(Stop::Violated(format!("{name} calls itself a standby, and is none")));
            }
            // What it has on its disk it replays in its own time.
            let replayed: BTreeSet<u64> = rows.iter().map(|row| row.1).collect();
            if replayed.is_superset(&acknowledged) || self.now() > deadline {
                self.note(format!("{name}, the standby, has {} rows itself", rows.len()));
                return Ok(Some(Operation {
                    process: NOBODYS,
                    kind: Kind::Read,
                    value: None,
                    invoked: invoked.into(),
                    completed: self.now().into(),
                    outcome: Outcome::Ok,
                    node: Some(name),
                    timeline: None,
                    epoch: None,
                    rows: Some(rows),
                    note: String::new(),
                }));
            }
            self.let_pass(LOOK_AGAIN)?;
        }
    }
}
