//! Histories for tests: a small one that is clean, and random ones of a database that is honest.

use proptest::prelude::*;

use crate::history::{History, Kind, Micros, Operation, Outcome, Row};

/// An append of process `process` at `at`, answered 10 µs later.
pub(crate) fn append(process: u32, value: u64, at: u64, outcome: Outcome) -> Operation {
    Operation {
        process,
        kind: Kind::Append,
        value: Some(value),
        invoked: Micros(at),
        completed: Micros(at + 10),
        outcome,
        node: None,
        timeline: (outcome == Outcome::Ok).then_some(1),
        epoch: None,
        rows: None,
        note: String::new(),
    }
}

/// A read at `at` that found these rows.
pub(crate) fn read(at: u64, rows: &[(u32, u64)]) -> Operation {
    let rows = rows.iter().map(|(process, value)| Row(*process, *value)).collect();
    Operation { kind: Kind::Read, value: None, rows: Some(rows), ..append(99, 0, at, Outcome::Ok) }
}

/// Two processes; one append failed, one is unknown and happened, the last read is complete.
pub(crate) fn clean() -> History {
    let operations = vec![
        append(0, 1, 100, Outcome::Ok),
        append(1, 2, 105, Outcome::Ok),
        append(0, 3, 200, Outcome::Fail),
        append(1, 4, 205, Outcome::Info),
        append(0, 5, 300, Outcome::Ok),
        append(3, 6, 305, Outcome::Ok),
        read(1000, &[(0, 1), (1, 2), (0, 5), (1, 4), (3, 6)]),
    ];
    History { operations }
}

/// The clean history with one thing changed.
pub(crate) fn changed(change: impl FnOnce(&mut Vec<Operation>)) -> History {
    let mut history = clean();
    change(&mut history.operations);
    history
}

/// Changes what the last read found.
pub(crate) fn read_instead(rows: &[(u32, u64)]) -> History {
    changed(|operations| {
        operations.pop();
        operations.push(read(1000, rows));
    })
}

/// Three workers against a database that keeps its promises and fails over now and then: an append
/// is answered, refused, or forgotten about, in which case it happens or doesn't.
pub(crate) fn random() -> impl Strategy<Value = History> {
    let step = (0..3_usize, 0..10_u8, 1..50_u64, any::<bool>());
    prop::collection::vec(step, 1..120).prop_map(|steps| {
        let (mut operations, mut rows) = (Vec::new(), Vec::new());
        let (mut now, mut timeline) = (0, 1);
        let mut processes = [0, 1, 2];
        for (value, (worker, fate, wait, happens)) in (1..).zip(steps) {
            now += wait;
            let process = processes[worker];
            let outcome = match fate {
                0 => Outcome::Fail,
                1 => Outcome::Info,
                _ => Outcome::Ok,
            };
            if outcome == Outcome::Ok || (outcome == Outcome::Info && happens) {
                rows.push((process, value));
            }
            let mut operation = append(process, value, now, outcome);
            now += 10;
            operation.timeline = operation.is_ok().then_some(timeline);
            operations.push(operation);
            if outcome == Outcome::Info {
                processes[worker] += 3;
                timeline += u32::from(happens);
            }
        }
        // One that is read and answered in any case, so that there is always something to judge.
        rows.push((100, 1_000_000));
        let last =
            Operation { timeline: Some(timeline), ..append(100, 1_000_000, now, Outcome::Ok) };
        operations.extend([last, Operation { timeline: None, ..read(now + 20, &rows) }]);
        History { operations }
    })
}
