//! The last step of reading: defaults that follow from other sections.

use crate::reader;
use crate::section::{Failover, Policy, Role, Seed};

/// Fills in what other sections decide, so that nobody after this has to know the rules.
pub(crate) fn freeze(mut seed: Seed) -> Seed {
    let pair = seed.cluster.with_role(Role::Database).count() > 0;
    if pair && seed.failover.is_none() {
        seed.failover = empty_failover();
    }
    if let Some(failover) = &mut seed.failover {
        // With a witness nothing is traded; a bare pair rather stays available (DESIGN §8).
        let default = if failover.witness.is_some() {
            Policy::Consistency
        } else {
            Policy::Availability
        };
        failover.policy.get_or_insert(default);
    }
    seed
}

/// What an empty `[failover]` reads as.
fn empty_failover() -> Option<Failover> {
    let mut reader = reader::Reader::new("", "");
    reader::read_document(&mut reader)
}
