//! How long clients waited: the longest time in which nothing was acknowledged.

use serde::{Deserialize, Serialize};

use crate::history::{History, Kind, Micros};
use crate::verdict::Finding;

/// A time between two acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The acknowledgement before it, or the beginning of what was looked at.
    pub from: Micros,
    /// The one after it, or the end.
    pub until: Micros,
}

impl Gap {
    /// How long it was.
    pub fn length(self) -> Micros {
        self.until.since(self.from)
    }
}

/// The longest gap between `from` and `until`; none if nothing was acknowledged there.
pub fn longest(history: &History, kind: Kind, from: Micros, until: Micros) -> Option<Gap> {
    let within = |at: &Micros| (from..=until).contains(at);
    let mut times: Vec<Micros> =
        history.acknowledged(kind).map(|operation| operation.completed).filter(within).collect();
    if times.is_empty() {
        return None;
    }
    times.extend([from, until]);
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| Gap { from: pair[0], until: pair[1] });
    // Of equal ones the first, which is the one that a reader looks for.
    gaps.reduce(|longest, gap| if gap.length() > longest.length() { gap } else { longest })
}

/// No gap between `from` and `until` is longer than the budget.
pub fn longest_gap(
    history: &History,
    kind: Kind,
    (from, until): (Micros, Micros),
    budget: Micros,
) -> Finding {
    let check = format!("clients wait at most {budget}");
    let Some(gap) = longest(history, kind, from, until) else {
        let asked = history.of(kind).count();
        let why = format!("nothing was acknowledged at all, of {asked} that were asked");
        // Somebody asked all the time and got nothing: that is a gap, however long the run was.
        return if asked > 0 && until.since(from) > budget {
            Finding::violated(&check, why).at(from)
        } else {
            Finding::unknown(&check, why)
        };
    };
    let length = gap.length();
    let seen = format!("the longest gap was {length}, from {} on", gap.from);
    if length > budget {
        return Finding::violated(&check, seen).at(gap.from);
    }
    Finding::pass(&check, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::histories::append;
    use crate::history::Outcome::{Fail, Info, Ok};
    use crate::verdict::Verdict::{Pass, Unknown, Violated};

    /// Answers come 10 µs after these times.
    fn history(times: &[u64]) -> History {
        let operations = times.iter().map(|at| append(0, *at, *at, Ok)).collect();
        History { operations }
    }

    fn judge(history: &History, until: u64, budget: u64) -> Finding {
        longest_gap(history, Kind::Append, (Micros(0), Micros(until)), Micros(budget))
    }

    #[test]
    fn the_longest_gap_is_found_wherever_it_is() {
        assert_eq!(judge(&history(&[10, 20, 30]), 50, 20).verdict, Pass);
        let late = judge(&history(&[10, 20, 90]), 110, 20);
        assert_eq!((late.verdict, late.at), (Violated, Some(Micros(30))));
        assert_eq!(judge(&history(&[50, 60]), 80, 20).verdict, Violated, "before the first");
        let end = judge(&history(&[10, 20]), 80, 20);
        assert_eq!((end.verdict, end.at), (Violated, Some(Micros(30))), "after the last");
    }

    #[test]
    fn what_is_not_acknowledged_ends_no_gap() {
        let mut history = history(&[10, 90]);
        history.operations.insert(1, append(0, 2, 40, Fail));
        history.operations.insert(2, append(0, 3, 60, Info));
        let gap = longest(&history, Kind::Append, Micros(0), Micros(100));
        assert_eq!(gap, Some(Gap { from: Micros(20), until: Micros(100) }));
        assert_eq!(judge(&history, 100, 79).verdict, Violated);
        assert_eq!(judge(&history, 100, 80).verdict, Pass);
    }

    #[test]
    fn silence_is_a_violation_only_if_somebody_asked() {
        assert_eq!(judge(&History::default(), 100, 20).verdict, Unknown);
        let refused = History { operations: vec![append(0, 1, 10, Fail)] };
        assert_eq!(judge(&refused, 100, 20).verdict, Violated);
    }
}
