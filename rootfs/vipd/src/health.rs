//! From single results of checks to fitness: fall and rise, then weights.
//!
//! ```text
//!                first result good            `fall` bad in a row
//!   +---------+ -----------------> +------+ ---------------------> +--------+
//!   | Unknown |                    | Good |                        | Failed |
//!   +---------+                    +------+ <--------------------- +--------+
//!        |        first result bad            `rise` good in a row      ^
//!        +--------------------------------------------------------------+
//! ```
//!
//! The first result counts at once: a machine that starts should neither wait for `rise` checks nor
//! hold an address for `fall` checks with a service that is not there.

use vrrp::Priority;

/// What is known of a check's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Unknown,
    Good,
    Failed,
}

/// One check's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    fall: u32,
    rise: u32,
    verdict: Verdict,
    /// Results in a row that contradict the verdict.
    against: u32,
}

impl Health {
    pub fn new(fall: u32, rise: u32) -> Self {
        Self { fall, rise, verdict: Verdict::Unknown, against: 0 }
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes one result; says whether the verdict changed.
    pub fn observe(&mut self, good: bool) -> bool {
        let (next, needed) =
            if good { (Verdict::Good, self.rise) } else { (Verdict::Failed, self.fall) };
        if next == self.verdict {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.verdict != Verdict::Unknown && self.against < needed {
            return false;
        }
        self.verdict = next;
        self.against = 0;
        true
    }
}

/// What a check means to the router that watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opinion<'c> {
    pub name: &'c str,
    pub weight: i16,
    pub verdict: Verdict,
}

/// Whether a router takes part, and with which priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Fit(Priority),
    /// It gives its addresses up, for this reason.
    Unfit(String),
}

/// Adds opinions up. A failed check without a weight, or one that has not spoken yet, keeps the
/// router out; the weights of the others move its priority between 1 and 254.
pub fn standing<'c>(base: Priority, opinions: impl Iterator<Item = Opinion<'c>>) -> Standing {
    let mut sum = i32::from(base.get());
    let mut moved = false;
    for opinion in opinions {
        match (opinion.weight, opinion.verdict) {
            (0, Verdict::Failed) => {
                return Standing::Unfit(format!("check {} failed", opinion.name));
            }
            (0, Verdict::Unknown) => {
                return Standing::Unfit(format!("check {} has no result yet", opinion.name));
            }
            // Not knowing costs nothing: it would only move the priority back and forth at start.
            (_, Verdict::Good | Verdict::Unknown) => {}
            (weight, Verdict::Failed) => {
                sum += i32::from(weight);
                moved = true;
            }
        }
    }
    if !moved {
        return Standing::Fit(base);
    }
    // 255 is the owner's and 0 resigns; a check makes nobody either.
    let bounded = u8::try_from(sum.clamp(1, 254)).unwrap_or(1);
    Standing::Fit(Priority::new(bounded).unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(fall: u32, rise: u32, results: &[bool]) -> Verdict {
        let mut health = Health::new(fall, rise);
        for good in results {
            health.observe(*good);
        }
        health.verdict()
    }

    #[test]
    fn the_first_result_counts_and_later_ones_need_company() {
        assert_eq!(after(3, 2, &[]), Verdict::Unknown);
        assert_eq!(after(3, 2, &[true]), Verdict::Good);
        assert_eq!(after(3, 2, &[false]), Verdict::Failed);
        assert_eq!(after(3, 2, &[true, false, false]), Verdict::Good);
        assert_eq!(after(3, 2, &[true, false, false, true, false, false]), Verdict::Good);
        assert_eq!(after(3, 2, &[true, false, false, false]), Verdict::Failed);
        assert_eq!(after(3, 2, &[false, true]), Verdict::Failed);
        assert_eq!(after(3, 2, &[false, true, false, true]), Verdict::Failed);
        assert_eq!(after(3, 2, &[false, true, true]), Verdict::Good);
    }

    #[test]
    fn weights_move_the_priority_and_no_weight_gives_up() {
        let base = Priority::new(100).expect("not zero");
        let opinion = |weight, verdict| Opinion { name: "api", weight, verdict };
        let of = |opinions: &[Opinion<'static>]| standing(base, opinions.iter().copied());
        let fit = |priority| Standing::Fit(Priority::new(priority).expect("not zero"));
        assert_eq!(of(&[opinion(-20, Verdict::Failed), opinion(-5, Verdict::Failed)]), fit(75));
        assert_eq!(of(&[opinion(-20, Verdict::Good), opinion(7, Verdict::Failed)]), fit(107));
        assert_eq!(of(&[opinion(-20, Verdict::Unknown)]), fit(100));
        assert_eq!(of(&[opinion(-253, Verdict::Failed)]), fit(1));
        assert_eq!(of(&[opinion(253, Verdict::Failed)]), fit(254));
        let unfit = |reason: &str| Standing::Unfit(reason.to_owned());
        assert_eq!(of(&[opinion(0, Verdict::Failed)]), unfit("check api failed"));
        assert_eq!(of(&[opinion(0, Verdict::Unknown)]), unfit("check api has no result yet"));
    }

    #[test]
    fn the_owner_stays_the_owner() {
        let good = Opinion { name: "api", weight: -5, verdict: Verdict::Good };
        assert_eq!(standing(Priority::OWNER, [good].into_iter()), Standing::Fit(Priority::OWNER));
    }

    proptest! {
        #[test]
        fn a_change_needs_its_number_of_results_in_a_row(
            fall in 1..5_u32, rise in 1..5_u32, results in prop::collection::vec(any::<bool>(), 1..60)
        ) {
            let mut health = Health::new(fall, rise);
            for (index, good) in results.iter().enumerate() {
                let changed = health.observe(*good);
                let row = results[..=index].iter().rev().take_while(|one| *one == good).count();
                let needed = if *good { rise } else { fall };
                prop_assert!(!changed || index == 0 || row >= needed as usize);
                let settled = row >= needed as usize;
                let expected = if *good { Verdict::Good } else { Verdict::Failed };
                prop_assert!(!settled || health.verdict() == expected);
            }
        }
    }
}
