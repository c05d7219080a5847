//! Promises about rows: what was acknowledged is there, what failed isn't, each once, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, Kind, Micros, Operation, Outcome, Row};
use crate::verdict::Finding;

/// An answered read.
struct Found<'a> {
    operation: &'a Operation,
    rows: &'a [Row],
}

impl Found<'_> {
    fn place(&self) -> String {
        let node = self.operation.node.as_deref().unwrap_or("an unnamed node");
        format!("the read at {} on {node}", self.operation.invoked)
    }
}

fn reads(history: &History) -> Vec<Found<'_>> {
    let answered = history.acknowledged(Kind::Read);
    answered
        .filter_map(|operation| Some(Found { operation, rows: operation.rows.as_deref()? }))
        .collect()
}

fn appends(history: &History) -> BTreeMap<u64, &Operation> {
    history.of(Kind::Append).filter_map(|append| Some((append.value?, append))).collect()
}

fn no_read(check: &str) -> Finding {
    Finding::unknown(check, "no read was answered: nobody knows what is there")
}

/// Looks at each read and gathers what is wrong with it.
fn each_read(
    history: &History,
    check: &str,
    mut wrong: impl FnMut(&Found<'_>) -> Vec<String>,
) -> Finding {
    let reads = reads(history);
    if reads.is_empty() {
        return no_read(check);
    }
    let mut violations: Vec<(Micros, String)> = Vec::new();
    for found in &reads {
        let at = found.operation.completed;
        violations.extend(wrong(found).into_iter().map(|reason| (at, reason)));
    }
    let most = reads.iter().map(|found| found.rows.len()).max().unwrap_or(0);
    let seen = format!("{} reads, the largest with {most} rows", reads.len());
    Finding::from_violations(check, violations, seen)
}

/// How many rows that were acknowledged before the last read are not in it; none if nothing was read.
pub fn lost_in_last_read(history: &History) -> Option<usize> {
    let all = reads(history);
    let last = all.iter().max_by_key(|found| found.operation.invoked)?;
    let there: BTreeSet<u64> = last.rows.iter().map(|row| row.1).collect();
    let promised = history
        .acknowledged(Kind::Append)
        .filter(|append| append.completed <= last.operation.invoked);
    Some(promised.filter(|a| a.value.is_some_and(|value| !there.contains(&value))).count())
}

/// Every row that was acknowledged before a read began is in what it found. The last read must have
/// begun after the last acknowledgement, else what came between was never looked for.
pub fn nothing_lost(history: &History) -> Finding {
    let check = "nothing acknowledged is lost";
    let acknowledged: Vec<&Operation> = history.acknowledged(Kind::Append).collect();
    let finding = each_read(history, check, |found| {
        let there: BTreeSet<u64> = found.rows.iter().map(|row| row.1).collect();
        let promised = acknowledged.iter().filter(|a| a.completed <= found.operation.invoked);
        let lost = promised.filter(|a| a.value.is_some_and(|value| !there.contains(&value)));
        lost.map(|append| {
            let value = append.value.unwrap_or_default();
            let (at, by) = (append.completed, append.node.as_deref().unwrap_or("the service"));
            format!("row {value}, acknowledged at {at} by {by}, is not in {}", found.place())
        })
        .collect()
    });
    let last_read = reads(history).iter().map(|found| found.operation.invoked).max();
    let unread = acknowledged.iter().filter(|append| Some(append.completed) > last_read).count();
    if unread > 0 && finding.verdict == crate::Verdict::Pass {
        let why = format!("{unread} rows were acknowledged after the last read that was answered");
        return Finding::unknown(check, why);
    }
    finding
}

/// No row is there whose append was refused.
pub fn nothing_failed_present(history: &History) -> Finding {
    let appends = appends(history);
    each_read(history, "nothing that certainly failed is present", |found| {
        let failed = found.rows.iter().filter_map(|row| {
            let append = appends.get(&row.1)?;
            (append.outcome == Outcome::Fail).then_some((row.1, *append))
        });
        failed
            .map(|(value, append)| {
                let (at, note, place) = (append.completed, &append.note, found.place());
                format!("row {value} failed at {at} ({note}), and is in {place}")
            })
            .collect()
    })
}

/// Every row that is there was appended by the process that it names.
pub fn nothing_invented(history: &History) -> Finding {
    let appends = appends(history);
    each_read(history, "every row was appended by a client", |found| {
        let foreign = found
            .rows
            .iter()
            .filter(|row| appends.get(&row.1).is_none_or(|append| append.process != row.0));
        foreign
            .map(|Row(process, value)| {
                format!("row {value} of process {process} in {} is nobody's", found.place())
            })
            .collect()
    })
}

/// No row is there twice.
pub fn no_duplicates(history: &History) -> Finding {
    each_read(history, "no row is there twice", |found| {
        let mut there = BTreeSet::new();
        let again = found.rows.iter().filter(|row| !there.insert(row.1));
        again.map(|row| format!("row {} is twice in {}", row.1, found.place())).collect()
    })
}

/// Rows of one process stand in the order in which it appended them.
pub fn client_order(history: &History) -> Finding {
    let appends = appends(history);
    each_read(history, "each client's rows are in its order", |found| {
        let mut latest: BTreeMap<u32, (Micros, u64)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for Row(process, value) in found.rows {
            let Some(append) = appends.get(value) else { continue };
            let this = (append.invoked, *value);
            if let Some(before) = latest.insert(*process, this)
                && before > this
            {
                let place = found.place();
                wrong.push(format!(
                    "process {process} appended {value} before {}, and {place} has them the other \
                     way round",
                    before.1
                ));
            }
        }
        wrong
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::histories::{append, changed, clean, read, read_instead};
    use crate::verdict::Verdict::{Pass, Unknown, Violated};

    #[test]
    fn a_clean_history_passes() {
        for check in
            [nothing_lost, nothing_failed_present, nothing_invented, no_duplicates, client_order]
        {
            let finding = check(&clean());
            assert_eq!(finding.verdict, Pass, "{finding:?}");
        }
    }

    #[test]
    fn an_acknowledged_row_that_is_gone_is_lost() {
        let finding = nothing_lost(&read_instead(&[(0, 1), (1, 2), (0, 5), (1, 4)]));
        assert_eq!(finding.verdict, Violated);
        assert!(finding.reasons[0].starts_with("row 6, acknowledged at"), "{finding:?}");
        assert_eq!(finding.at, Some(Micros(1010)));
    }

    #[test]
    fn a_row_that_was_unknown_may_be_there_or_not() {
        let finding = nothing_lost(&read_instead(&[(0, 1), (1, 2), (0, 5), (3, 6)]));
        assert_eq!(finding.verdict, Pass, "{finding:?}");
    }

    #[test]
    fn a_row_that_came_back_later_was_lost_in_between() {
        let history = changed(|operations| {
            operations.insert(2, read(150, &[(1, 2)]));
        });
        assert_eq!(nothing_lost(&history).verdict, Violated);
    }

    #[test]
    fn what_nobody_read_is_unknown() {
        let history = changed(|operations| drop(operations.pop()));
        assert_eq!(nothing_lost(&history).verdict, Unknown);
        let history = changed(|operations| operations.push(append(0, 7, 1100, Outcome::Ok)));
        assert_eq!(nothing_lost(&history).verdict, Unknown);
    }

    #[test]
    fn a_failed_row_that_is_there_was_not_failed() {
        let rows = [(0, 1), (1, 2), (0, 3), (0, 5), (1, 4), (3, 6)];
        assert_eq!(nothing_failed_present(&read_instead(&rows)).verdict, Violated);
    }

    #[test]
    fn a_row_of_nobody_or_of_another_is_invented() {
        let rows = [(0, 1), (1, 2), (0, 5), (1, 4), (3, 6), (3, 77)];
        assert_eq!(nothing_invented(&read_instead(&rows)).verdict, Violated);
        let rows = [(0, 1), (1, 2), (0, 5), (1, 4), (1, 6)];
        assert_eq!(nothing_invented(&read_instead(&rows)).verdict, Violated);
    }

    #[test]
    fn a_row_that_is_there_twice_is_found() {
        let rows = [(0, 1), (1, 2), (0, 5), (1, 4), (3, 6), (0, 5)];
        assert_eq!(no_duplicates(&read_instead(&rows)).verdict, Violated);
    }

    #[test]
    fn rows_of_a_client_that_changed_places_are_found() {
        let rows = [(0, 5), (1, 2), (0, 1), (1, 4), (3, 6)];
        assert_eq!(client_order(&read_instead(&rows)).verdict, Violated);
        let others = [(1, 2), (0, 1), (3, 6), (0, 5), (1, 4)];
        assert_eq!(client_order(&read_instead(&others)).verdict, Pass, "no order between clients");
    }
}
