//! One primary at a time, as clients see it: by PostgreSQL's timeline, and by our own epoch.

use crate::history::{History, Micros, Operation};
use crate::verdict::Finding;

/// Once a timeline has answered anybody, nothing that is asked later is acknowledged on an older
/// one.
pub fn one_timeline(history: &History) -> Finding {
    let check = "no acknowledgement on an old timeline once a newer one has answered";
    never_back(history, check, "timeline", |operation| operation.timeline.map(u64::from))
}

/// The same of epochs, for services that tell them.
pub fn one_epoch(history: &History) -> Finding {
    let check = "no acknowledgement of an old epoch once a newer one has answered";
    never_back(history, check, "epoch", |operation| operation.epoch)
}

fn never_back(
    history: &History,
    check: &str,
    word: &str,
    number: impl Fn(&Operation) -> Option<u64>,
) -> Finding {
    let told = history.operations.iter().filter(|operation| operation.is_ok());
    let mut told: Vec<(&Operation, u64)> =
        told.filter_map(|operation| Some((operation, number(operation)?))).collect();
    let (Some(lowest), Some(highest)) =
        (told.iter().map(|told| told.1).min(), told.iter().map(|told| told.1).max())
    else {
        return Finding::unknown(check, format!("no acknowledged operation told its {word}"));
    };
    // For each answer the highest number up to it; whoever asks later must not get a lower one.
    told.sort_by_key(|(operation, _)| operation.completed);
    let mut so_far = 0;
    let answered: Vec<(Micros, u64)> = told
        .iter()
        .map(|(operation, number)| {
            so_far = so_far.max(*number);
            (operation.completed, so_far)
        })
        .collect();
    let mut violations = Vec::new();
    for (operation, number) in &told {
        let before = answered.partition_point(|(completed, _)| *completed < operation.invoked);
        let Some((_, newest)) = before.checked_sub(1).and_then(|last| answered.get(last)) else {
            continue;
        };
        if number < newest {
            let (at, process) = (operation.completed, operation.process);
            let by = operation.node.as_deref().unwrap_or("somebody");
            let asked = operation.invoked;
            violations.push((
                at,
                format!(
                    "{by} acknowledged on {word} {number} what process {process} asked at \
                     {asked}, after {word} {newest} had answered"
                ),
            ));
        }
    }
    let seen = if lowest == highest {
        format!("{} answers, all of {word} {highest}", told.len())
    } else {
        format!("{} answers of {word}s {lowest} to {highest}", told.len())
    };
    Finding::from_violations(check, violations, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::histories::append;
    use crate::history::Outcome;
    use crate::verdict::Verdict;

    /// Acknowledged operations: invoked, completed, timeline.
    fn history(operations: &[(u64, u64, u32)]) -> History {
        let operation = |(index, (invoked, completed, timeline)): (usize, &(u64, u64, u32))| {
            let mut operation = append(0, index as u64, *invoked, Outcome::Ok);
            operation.completed = Micros(*completed);
            operation.timeline = Some(*timeline);
            operation.epoch = Some(u64::from(*timeline));
            operation
        };
        History { operations: operations.iter().enumerate().map(operation).collect() }
    }

    #[test]
    fn a_failover_passes() {
        let finding = one_timeline(&history(&[(0, 10, 1), (20, 30, 1), (50, 60, 2), (70, 80, 2)]));
        assert_eq!(finding.verdict, Verdict::Pass, "{finding:?}");
        assert_eq!(finding.reasons, ["4 answers of timelines 1 to 2"]);
    }

    #[test]
    fn an_acknowledgement_by_the_old_primary_is_found() {
        let split = history(&[(0, 10, 1), (50, 60, 2), (61, 80, 1)]);
        assert_eq!(one_timeline(&split).verdict, Verdict::Violated);
        assert_eq!(one_epoch(&split).verdict, Verdict::Violated);
        assert_eq!(one_timeline(&split).at, Some(Micros(80)));
    }

    #[test]
    fn what_was_asked_before_may_be_answered_late() {
        let late = history(&[(0, 10, 1), (50, 60, 2), (59, 80, 1)]);
        assert_eq!(one_timeline(&late).verdict, Verdict::Pass);
    }

    #[test]
    fn without_a_timeline_nothing_is_known() {
        let mut history = history(&[(0, 10, 1)]);
        history.operations[0].timeline = None;
        assert_eq!(one_timeline(&history).verdict, Verdict::Unknown);
    }
}
