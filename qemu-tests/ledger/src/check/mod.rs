//! What must hold of a run. Pure: histories and facts in, findings out.
//!
//! | check | holds if | else |
//! |---|---|---|
//! | [`rows::nothing_lost`] | each read has every row that was acknowledged before it | a promise was broken |
//! | [`rows::nothing_failed_present`] | no read has a row whose append certainly failed | a refusal was a lie |
//! | [`rows::nothing_invented`] | each row that was read was appended, by whom it says | data is mixed up |
//! | [`rows::no_duplicates`] | no row is there twice | something was done twice |
//! | [`rows::client_order`] | rows of one client stand in the order of its appends | order got lost |
//! | [`authority::one_timeline`] | nothing is acknowledged on an older timeline than one already seen | two primaries |
//! | [`authority::one_epoch`] | the same of our own epochs | two authorities |
//! | [`ownership::single_owner`] | two owners never announce an address for longer than an advert | a split address |
//! | [`ownership::owner_changes`] | the address moves no more often than allowed | flapping |
//! | [`gap::longest_gap`] | clients wait no longer than the budget | too slow |
//! | [`converged::converged`] | at the end one primary, its standby streams, the address is on it | not healed |
//! | [`console::console_clean`] | no console tells of a panic, a crash, or a broken disk | something broke unseen |
//!
//! A check that saw too little says *unknown*, never *pass*.

pub mod authority;
pub mod console;
pub mod converged;
pub mod gap;
pub mod ownership;
pub mod rows;

#[cfg(test)]
pub(crate) mod histories;

use crate::history::{History, Kind};
use crate::verdict::Finding;

/// Everything that a history of appends must fulfil, whatever the drill.
pub fn promises(history: &History) -> Vec<Finding> {
    vec![
        rows::nothing_lost(history),
        rows::nothing_failed_present(history),
        rows::nothing_invented(history),
        rows::no_duplicates(history),
        rows::client_order(history),
        authority::one_timeline(history),
    ]
}

/// Whether so much was acknowledged that silence elsewhere means anything.
pub fn enough(history: &History, kind: Kind, least: usize) -> Finding {
    let check = "enough operations were acknowledged to judge by";
    let count = history.acknowledged(kind).count();
    if count < least {
        return Finding::unknown(check, format!("{count}, and at least {least} are wanted"));
    }
    Finding::pass(check, format!("{count} were"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;
    use histories::{clean, random};
    use proptest::prelude::*;

    #[test]
    fn too_few_operations_are_no_pass() {
        assert_eq!(enough(&clean(), Kind::Append, 4).verdict, Verdict::Pass);
        assert_eq!(enough(&clean(), Kind::Append, 5).verdict, Verdict::Unknown);
        let nothing = Verdict::over(&promises(&History::default()));
        assert_eq!(nothing, Verdict::Unknown);
    }

    proptest! {
        /// Whatever an honest database does with what its clients ask, no check finds fault.
        #[test]
        fn an_honest_database_passes(history in random()) {
            for finding in promises(&history) {
                prop_assert_eq!(finding.verdict, Verdict::Pass, "{:?}\n{:?}", finding, history);
            }
        }
    }
}
