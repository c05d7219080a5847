//! The handle that the keeper's loop holds.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use failover::{Data, PgCommand, PgReport, Ticket};

use super::detail::Detail;
use super::error::DriverError;
use super::flag::Flag;
use super::settings::Settings;
use super::worker::Worker;
use super::{Say, boot};
use crate::gate;

/// News for the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// PostgreSQL has news.
    Postgres(PgReport),
    /// Kine's revision was moved forward, or there is no kine.
    RevisionFenced(Ticket),
}

/// What the worker shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Command(Ticket, PgCommand),
    FenceRevision(Ticket),
    Quit,
}

impl Order {
    /// Whether it ends what is under way.
    fn overtakes(self) -> bool {
        matches!(self, Self::Command(_, PgCommand::Stop) | Self::Quit)
    }
}

/// What the loop's thread and the worker share.
#[derive(Debug)]
pub(super) struct Shared {
    orders: Mutex<VecDeque<Order>>,
    reports: Mutex<VecDeque<Report>>,
    detail: Mutex<Detail>,
    /// Raised while there are orders.
    pub(super) wake: Flag,
    /// Raised while there is an order that overtakes.
    pub(super) halt: Flag,
    /// Raised while there are reports.
    news: Flag,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            orders: Mutex::default(),
            reports: Mutex::default(),
            detail: Mutex::default(),
            wake: Flag::new()?,
            halt: Flag::new()?,
            news: Flag::new()?,
        })
    }

    pub(super) fn order(&self, order: Order) {
        let mut orders = lock(&self.orders);
        if order.overtakes() {
            // What wasn't begun is overtaken too.
            orders.retain(|other| !matches!(other, Order::Command(..)));
            self.halt.raise();
        }
        orders.push_back(order);
        self.wake.raise();
    }

    pub(super) fn next_order(&self) -> Option<Order> {
        let mut orders = lock(&self.orders);
        let order = orders.pop_front();
        if orders.is_empty() {
            self.wake.lower();
        }
        if !orders.iter().any(|order| order.overtakes()) && order.is_none_or(Order::overtakes) {
            self.halt.lower();
        }
        order
    }

    pub(super) fn report(&self, report: Report) {
        let mut reports = lock(&self.reports);
        // Only the newest status counts; a loop that is late shall not find a heap of them.
        if let Report::Postgres(PgReport::Status { .. }) = report
            && let Some(last @ Report::Postgres(PgReport::Status { .. })) = reports.back_mut()
        {
            *last = report;
        } else {
            reports.push_back(report);
        }
        self.news.raise();
    }

    pub(super) fn detail<T>(&self, change: impl FnOnce(&mut Detail) -> T) -> T {
        change(&mut lock(&self.detail))
    }
}

/// A node's PostgreSQL. Dropping it ends PostgreSQL at once.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

impl Driver {
    /// What the data is. Called once, before anything runs: it ends and clears what a crash left,
    /// however long that takes.
    pub fn data(settings: &Settings, say: &dyn Fn(&str)) -> Data {
        boot::data(settings, say)
    }

    /// Whether a restore has made the data, and nothing has run in it since.
    pub fn is_restored(settings: &Settings) -> bool {
        boot::restored_mark(&settings.data()).exists()
    }

    /// Starts the driver; PostgreSQL itself waits for a command.
    pub fn start(settings: Settings, say: gate::Say) -> Result<Self, DriverError> {
        let shared = Arc::new(Shared::new().map_err(DriverError::Resources)?);
        let worker = Worker::new(settings, shared.clone(), Say::from(say))?;
        let thread = thread::Builder::new().name("postgres".to_owned());
        let worker = thread.spawn(move || worker.run()).map_err(DriverError::Resources)?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// Tells PostgreSQL something. Never waits.
    pub fn command(&self, ticket: Ticket, command: PgCommand) {
        self.shared.order(Order::Command(ticket, command));
    }

    /// Moves kine's revision forward, if there is a kine.
    pub fn fence_revision(&self, ticket: Ticket) {
        self.shared.order(Order::FenceRevision(ticket));
    }

    /// The next of the reports, in their order. The descriptor is readable while there are some.
    pub fn next_report(&self) -> Option<Report> {
        let mut reports = lock(&self.shared.reports);
        let report = reports.pop_front();
        if reports.is_empty() {
            self.shared.news.lower();
        }
        report
    }

    /// How PostgreSQL is, for people.
    pub fn detail(&self) -> Detail {
        self.shared.detail(|detail| detail.clone())
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.news.as_fd()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.order(Order::Quit);
        if let Some(worker) = self.worker.take() {
            let _ended = worker.join();
        }
    }
}
