//! What differs between histories that behave alike: tickets, counters, nonces. Two states that
//! differ only in these hash alike, so an exploration recognises them.

use std::hash::{Hash, Hasher};

use crate::words::Ticket;

/// A value that doesn't count when states are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uncounted<T>(pub(crate) T);

impl<T> Hash for Uncounted<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Hands out tickets, each once.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(crate) struct Counter(Uncounted<u64>);

impl Counter {
    pub(crate) fn next(&mut self) -> Ticket {
        self.0.0 += 1;
        Ticket(self.0.0)
    }
}
