//! A failing history, made as small as it goes: faults are taken out and noise is turned off as
//! long as the same invariant stays violated.

use crate::plan::Plan;
use crate::run::{Outcome, run_plan};

/// Rounds over all faults; a round that changes nothing ends it earlier.
const ROUNDS_MAX: usize = 4;

/// The smallest plan found that violates the same invariant.
pub fn shrink(plan: &Plan) -> Plan {
    let Some(wanted) = violated(&run_plan(plan.clone(), false)) else { return plan.clone() };
    let fails = |plan: &Plan| violated(&run_plan(plan.clone(), false)) == Some(wanted);
    let mut best = plan.clone();
    for _ in 0..ROUNDS_MAX {
        let before = best.faults.len();
        for place in (0..best.faults.len()).rev() {
            let mut smaller = best.clone();
            smaller.faults.remove(place);
            if fails(&smaller) {
                best = smaller;
            }
        }
        for quieter in quieter(&best) {
            if fails(&quieter) {
                best = quieter;
            }
        }
        if best.faults.len() == before {
            break;
        }
    }
    best
}

fn violated(outcome: &Outcome) -> Option<&'static str> {
    outcome.violation.as_ref().map(|violation| violation.invariant)
}

fn quieter(plan: &Plan) -> Vec<Plan> {
    vec![
        Plan { loss: 0, ..plan.clone() },
        Plan { duplicates: 0, ..plan.clone() },
        Plan { second_channel: false, ..plan.clone() },
    ]
}
