//! Clients, each worker with a connection of its own and one operation at a time.
//!
//! No async runtime: a worker is a thread, and every wait has an end. Workers keep a steady pace
//! and don't catch up: who was held up for two seconds doesn't fire a hundred requests afterwards.
//!
//! A new kind of service implements [`Service`]. TCP and PostgreSQL are here; Kubernetes comes as
//! one more: appending is creating a `ConfigMap` whose name is the value, reading is listing them.

mod pace;
pub mod postgres;
pub mod session;
pub mod tcp;
mod timed;

use std::time::Instant;

use crate::history::{Kind, Micros, Operation, Outcome, Row};
pub use session::{Session, Settings, SettingsError};

/// The clock of a history: time since its zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// It counts from this moment on.
    pub fn from(zero: Instant) -> Self {
        Self { zero }
    }

    /// What it shows.
    pub fn now(&self) -> Micros {
        self.zero.elapsed().into()
    }
}

/// What a worker asks of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answer.
    Ping,
    /// Keep one more row.
    Append(Row),
    /// Show all rows.
    Read,
}

impl Request {
    fn kind(self) -> Kind {
        match self {
            Self::Ping => Kind::Ping,
            Self::Append(_) => Kind::Append,
            Self::Read => Kind::Read,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it happened.
    pub outcome: Outcome,
    /// Who answered.
    pub node: Option<String>,
    /// On which timeline of PostgreSQL.
    pub timeline: Option<u32>,
    /// What a read found.
    pub rows: Option<Vec<Row>>,
    /// Why not, or a warning.
    pub note: String,
}

impl Answer {
    /// Without details.
    pub fn new(outcome: Outcome, note: impl Into<String>) -> Self {
        Self { outcome, node: None, timeline: None, rows: None, note: note.into() }
    }
}

/// Something that answers requests; one worker's view of it, with the worker's own connection.
pub trait Service: Send {
    /// Asks, and waits for a bounded time. It never tries twice: what became of the first attempt
    /// would be lost.
    fn perform(&mut self, request: Request) -> Answer;
}

/// Asks a service and notes what came of it.
pub fn perform(
    service: &mut dyn Service,
    process: u32,
    request: Request,
    clock: Clock,
) -> Operation {
    let invoked = clock.now();
    let answer = service.perform(request);
    let value = match request {
        Request::Append(row) => Some(row.1),
        _ => None,
    };
    Operation {
        process,
        kind: request.kind(),
        value,
        invoked,
        completed: clock.now(),
        outcome: answer.outcome,
        node: answer.node,
        timeline: answer.timeline,
        epoch: None,
        rows: answer.rows,
        note: answer.note,
    }
}
