//! The record in three tenses: what shall be remembered, what is being written, what is durable.
//!
//! Votes are judged by what *shall* be remembered, so that a node never votes twice while a write
//! is under way; effects and messages follow what *is* durable.

use crate::event::Action;
use crate::postgres::Counter;
use crate::record::Record;
use crate::words::Ticket;

/// The record's keeper.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Store {
    durable: Record,
    pub(crate) wanted: Record,
    flight: Option<(Ticketless, Record)>,
    tickets: Counter,
    pub(crate) failed: bool,
    /// A test's way to let effects overtake the disk.
    impatient: bool,
}

/// A ticket that doesn't count when states are compared.
#[derive(Clone, Copy, Debug)]
struct Ticketless(Ticket);

impl std::hash::Hash for Ticketless {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Store {
    pub(crate) fn new(record: Record, impatient: bool) -> Self {
        Self {
            durable: record,
            wanted: record,
            flight: None,
            tickets: Counter::default(),
            failed: false,
            impatient,
        }
    }

    /// What is certainly on disk.
    pub(crate) fn sure(&self) -> &Record {
        if self.impatient { &self.wanted } else { &self.durable }
    }

    /// The answer of a write.
    pub(crate) fn written(&mut self, ticket: Ticket) {
        if let Some((_, record)) = self.flight.take_if(|(asked, _)| asked.0 == ticket) {
            self.durable = record;
        }
    }

    /// Writes what isn't written, one record at a time.
    pub(crate) fn pump(&mut self, out: &mut Vec<Action>) {
        if self.flight.is_none() && self.durable != self.wanted && !self.failed {
            let ticket = self.tickets.next();
            self.flight = Some((Ticketless(ticket), self.wanted));
            out.push(Action::Persist(ticket, self.wanted));
        }
    }
}
