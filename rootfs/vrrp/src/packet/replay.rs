//! Whether a signed advert is new: each sender's number may only grow, and may be bound to the time.
//!
//! Numbers are compared as RFC 1982 compares them, so that their wrap is no event. A number is
//! remembered only after its signature was found right; forged packets move nothing.

use std::net::IpAddr;
use std::time::Duration;

use super::trailer::sequence_at;
use super::{Advert, Keyring, TrailerError};

/// How many senders are remembered. Several are Active only for a moment; the oldest is forgotten.
pub const SENDERS_MAX: usize = 4;

/// What makes a number fresh, beside its growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is the time, and at most so many seconds from ours. Needs clocks that agree.
    Window { seconds: u16 },
    /// Growth alone. For machines whose clocks jump; a packet from before a restart of this
    /// receiver could be replayed.
    Monotonic,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    address: IpAddr,
    highest: u64,
    used: u64,
}

/// The receiver's side of signatures, for one virtual router.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    senders: Vec<Sender>,
    clock: u64,
}

impl Verifier {
    /// Says why the signature of `advert` is not believed. An advert without one is believed here;
    /// whether it may come without is decided by `Admission`.
    pub fn verify(
        &mut self,
        keyring: &Keyring,
        freshness: Freshness,
        wall: Duration,
        source: IpAddr,
        advert: &Advert<'_>,
    ) -> Result<(), TrailerError> {
        let Some(trailer) = advert.trailer else { return Ok(()) };
        trailer.well_formed()?;
        let sequence = trailer.sequence();
        let ours = sequence_at(wall);
        // Before the hash, so that a flood of old packets costs none.
        if let Freshness::Window { seconds } = freshness {
            let apart = seconds_apart(ours, sequence);
            if apart.abs() > i64::from(seconds) {
                return Err(TrailerError::Stale { seconds: apart });
            }
        }
        trailer.verify(keyring, source, advert.message)?;
        self.remember(freshness, ours, source, sequence)
    }

    fn remember(
        &mut self,
        freshness: Freshness,
        ours: u64,
        source: IpAddr,
        sequence: u64,
    ) -> Result<(), TrailerError> {
        self.clock += 1;
        let used = self.clock;
        let fresh = Sender { address: source, highest: sequence, used };
        if let Some(known) = self.senders.iter_mut().find(|known| known.address == source) {
            known.used = used;
            // A sender whose clock was set back starts anew once its old number is out of bounds.
            let expired = match freshness {
                Freshness::Window { seconds } => {
                    seconds_apart(ours, known.highest).abs() > i64::from(seconds)
                }
                Freshness::Monotonic => false,
            };
            if !expired && !is_after(sequence, known.highest) {
                return Err(TrailerError::Replayed);
            }
            *known = fresh;
            return Ok(());
        }
        if self.senders.len() < SENDERS_MAX {
            self.senders.push(fresh);
        } else if let Some(oldest) = self.senders.iter_mut().min_by_key(|known| known.used) {
            *oldest = fresh;
        }
        Ok(())
    }
}

/// Whether `later` comes after `earlier` on the circle of 64 bits.
pub(super) fn is_after(later: u64, earlier: u64) -> bool {
    later.wrapping_sub(earlier).cast_signed() > 0
}

/// The difference of two numbers in whole seconds, on the circle of their 32 bits of seconds.
pub(super) fn seconds_apart(left: u64, right: u64) -> i64 {
    let seconds = |number: u64| u32::try_from(number >> 32).unwrap_or(u32::MAX);
    i64::from(seconds(left).wrapping_sub(seconds(right)).cast_signed())
}
