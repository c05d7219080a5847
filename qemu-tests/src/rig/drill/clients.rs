//! Clients in the tester: what they ask, what they were told, how long they waited.

use std::net::SocketAddr;
use std::time::Duration;

use ledger::check::gap;
use ledger::client::Settings;
use ledger::client::session::Pings;
use ledger::client::tcp::Wanted;
use ledger::{Finding, History, Kind, Micros};
use report::run::Patience;

use super::{Drill, SETTLE_LIMIT};
use crate::rig::expect::Condition;
use crate::rig::fault::Stop;

/// A port where nobody listens: the address answers by refusing, whoever has it.
const NOBODY_LISTENS: u16 = 9;
/// How often clients ask, and how long they wait.
const ASK_EVERY_MS: u64 = 25;
const ASK_LIMIT_MS: u64 = 400;
/// How long the clients may take for their last reads.
const FINISH_LIMIT: Duration = Duration::from_secs(30);

/// Clients that run.
#[derive(Clone, Copy, Debug)]
#[must_use = "finish them, or what they saw is not looked at"]
pub struct Clients {
    from: Duration,
    pub(super) offset: i64,
}

impl Drill {
    /// Starts clients in the tester that ask the virtual address whether anybody is there, each time
    /// by a new connection.
    pub fn start_clients(&mut self) -> Result<Clients, Stop> {
        let address = SocketAddr::new(self.vip()?.address, NOBODY_LISTENS);
        let wanted = Wanted::Anybody;
        let pings = Pings { address, wanted, every_ms: ASK_EVERY_MS, limit_ms: ASK_LIMIT_MS };
        self.start_clients_with(Settings { pings: vec![pings], postgres: None })
    }

    /// The same with other clients.
    pub fn start_clients_with(&mut self, settings: Settings) -> Result<Clients, Stop> {
        let tester = self.tester_probe()?;
        let offset = tester.clock_offset(self.cluster.origin)?;
        let ask = ::probe::words::Ask::StartClients { settings: Box::new(settings) };
        tester.ask_for(ask, FINISH_LIMIT)?;
        let clients = Clients { from: self.now(), offset };
        self.clients = Some(clients);
        self.mark();
        self.expect("clients are answered", Condition::Answered, SETTLE_LIMIT)?;
        Ok(clients)
    }

    /// Clients that run still.
    pub(in crate::rig) fn unfinished_clients(&self) -> Option<Clients> {
        self.clients
    }

    /// Stops the clients, and gives what they saw.
    pub fn finish_clients(&mut self, clients: Clients) -> Result<History, Stop> {
        let tester = self.tester_probe()?;
        let limit_ms = u64::try_from(FINISH_LIMIT.as_millis()).unwrap_or(u64::MAX);
        let ask = ::probe::words::Ask::StopClients { limit_ms };
        tester.ask_for(ask, FINISH_LIMIT * 2)?;
        let operations = tester.take_operations(clients.offset);
        self.clients = None;
        self.history.operations.extend(operations.clone());
        // While they read back at the end nobody asks for anything else.
        let asked = operations.iter().filter(|operation| operation.kind != Kind::Read);
        let last = asked.map(|operation| operation.completed).max();
        let (from, until) = (clients.from.into(), last.unwrap_or_else(|| self.now().into()));
        self.patience = Some(Patience { kind: Kind::Ping, from, until, budget: None });
        Ok(History { operations })
    }

    /// Clients of the address waited no longer than the budget for an answer.
    pub fn longest_gap(&mut self, history: &History, budget: Duration) -> Finding {
        self.longest_gap_of(Kind::Ping, history, budget)
    }

    /// The span in which clients ran.
    pub(in crate::rig) fn span(&self) -> Option<(Micros, Micros)> {
        self.patience.map(|patience| (patience.from, patience.until))
    }

    /// The same for clients that ask for something else.
    pub(in crate::rig) fn longest_gap_of(
        &mut self,
        kind: Kind,
        history: &History,
        budget: Duration,
    ) -> Finding {
        let (from, until) = self.span().unwrap_or((Micros(0), self.now().into()));
        let budget = budget.into();
        self.patience = Some(Patience { kind, from, until, budget: Some(budget) });
        let finding = gap::longest_gap(history, kind, (from, until), budget);
        let longest = gap::longest(history, kind, from, until);
        let length = longest.map_or(Micros::default(), gap::Gap::length);
        self.unless_the_desk_lagged_by(length.since(budget).into(), finding)
    }
}
