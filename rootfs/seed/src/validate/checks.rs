//! Health checks of VIPs: what `vipd` demands of an instance's checks together.

use super::vips::OWNER;
use super::{Findings, Rule, repeated, rule};
use crate::section::{Permit, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["vips"], checks_differ),
    rule(&["vips"], owners_priority_stays),
    rule(&["vips"], weights_want_preemption),
];

/// As many `vipd` takes for a VIP.
const MAX_CHECKS: usize = 32;

fn checks_differ(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let names: Vec<_> = vip.checks.iter().map(|check| &check.name).collect();
        for (position, _) in repeated(&names) {
            findings.at(
                &format!("vips[{index}].checks[{position}].name"),
                format!("two checks of \"{}\" are called \"{}\"", vip.name, names[position]),
                "named before",
                "give each check of a VIP its own name",
            );
        }
        if vip.checks.len() > MAX_CHECKS {
            findings.at(
                &format!("vips[{index}].checks[{MAX_CHECKS}].name"),
                format!("a VIP has at most {MAX_CHECKS} checks"),
                format!("there are {}", vip.checks.len()),
                "gather some of them in one command",
            );
        }
    }
}

fn weights_want_preemption(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let weighted = vip.checks.iter().find(|check| check.weight.get() != 0);
        if let Some(check) = weighted.filter(|_| !vip.preempt && vip.priority.get() != OWNER) {
            findings.at(
                &format!("vips[{index}].preempt"),
                "a check's weight moves nothing without preemption",
                format!("nobody takes over from the {} of \"{}\"", check.weight, check.name),
                // The database's address goes with its permit, and never preempts.
                match vip.permit {
                    Permit::Database => "give the checks no `weight`",
                    Permit::None => "write `preempt = true`, or give the checks no `weight`",
                },
            );
        }
    }
}

fn owners_priority_stays(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let weighted = vip.checks.iter().find(|check| check.weight.get() != 0);
        if let Some(check) = weighted.filter(|_| vip.priority.get() == OWNER) {
            findings.at(
                &format!("vips[{index}].priority"),
                "the priority of an address's owner never changes",
                format!("the check \"{}\" would change it by {}", check.name, check.weight),
                format!("write {} or less, or give the checks no `weight`", OWNER - 1),
            );
        }
    }
}
