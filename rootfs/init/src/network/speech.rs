//! What the network says on the console: cards as they are found, cables, and what is wrong.

use std::time::Duration;

use super::cards::Claims;
use super::carrier::{Carrier, Report};
use super::change::Trouble;
use super::there::There;
use super::{Network, PATIENCE, status};

impl Network {
    pub(super) fn speak_of_cables(&mut self, now: Duration, lines: &mut Vec<String>) {
        for link in &self.wanted.links {
            let name = link.name.to_string();
            let Some(seen) = self.there.named(&name).filter(|seen| seen.link.up) else {
                // Its next appearance is that of a new link.
                self.carriers.remove(&name);
                continue;
            };
            let there = status::has_carrier(&seen.link);
            let carrier = self.carriers.entry(name);
            let name = carrier.key().clone();
            let carrier = carrier.or_insert_with(|| Carrier::new(there, now));
            carrier.observe(there);
            if let Some(report) = carrier.report(now) {
                lines.push(cable_words(&name, report, seen.speed));
            }
        }
    }

    pub(super) fn speak_of_troubles(&mut self, now: Duration, lines: &mut Vec<String>) {
        // A card may yet come, and some refusals end by themselves.
        if self.troubles == self.said || (now < PATIENCE && !self.troubles.is_empty()) {
            return;
        }
        let new = self.troubles.iter().filter(|trouble| !self.said.contains(trouble));
        lines.extend(new.map(Trouble::to_string));
        if self.troubles.is_empty() {
            lines.push("network: as the seed wants it".to_owned());
        }
        self.said.clone_from(&self.troubles);
    }
}

/// Cards that were just found to be a link.
pub(super) fn new_cards(before: &Claims, after: &Claims, there: &There) -> Vec<String> {
    let new = after.cards.iter().filter(|(name, index)| before.cards.get(*name) != Some(index));
    new.filter_map(|(name, index)| {
        Some(format!("link {name} is the card {}", there.numbered(*index)?))
    })
    .collect()
}

fn cable_words(name: &str, report: Report, speed: Option<u32>) -> String {
    let state = if report.carrier { "carrier" } else { "no carrier" };
    let speed = speed.filter(|_| report.carrier).map(|speed| format!(", {speed} Mbit/s"));
    let changes = (report.changes > 1).then(|| format!(", after {} changes", report.changes));
    format!("link {name}: {state}{}{}", speed.unwrap_or_default(), changes.unwrap_or_default())
}
