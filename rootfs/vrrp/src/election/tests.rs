//! The drawing, the table and the code say the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::interval::{Interval, Version};

type Edge = (State, EventKind, State);
const STATES: [State; 3] = [State::Initialize, State::Backup, State::Active];

fn table_edges() -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for (kind, row) in TABLE {
        for (from, targets) in STATES.into_iter().zip(row) {
            edges.extend(targets.iter().map(|to| (from, kind, *to)));
        }
    }
    edges
}

/// A fixed sequence of numbers that looks random; a failure is the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

fn rolled_event(dice: &mut Dice, now: Duration, interval: Interval) -> Event {
    let priorities = [1, 100, 200, 255];
    let priority = priorities[usize::try_from(dice.roll(4)).expect("below 4")];
    match dice.roll(12) {
        0 => Event::Startup,
        1 if dice.roll(4) == 0 => Event::Shutdown,
        2 => Event::PriorityChanged(Priority::new(priority).expect("not zero")),
        3 => Event::PermitGranted { until: now + Duration::from_secs(dice.roll(9)) },
        4 if dice.roll(3) == 0 => Event::PermitLost,
        5 => Event::InterfaceUp,
        6 if dice.roll(3) == 0 => Event::InterfaceDown,
        7 => Event::ForeignClaim,
        8 | 9 if dice.roll(2) == 0 => Event::Advert(Heard {
            priority: if dice.roll(5) == 0 { 0 } else { priority },
            interval,
            source: IpAddr::from([10, 0, 0, u8::try_from(dice.roll(4)).expect("below 4")]),
        }),
        _ => Event::Timer,
    }
}

fn rolled_machine(dice: &mut Dice, interval: Interval) -> Election {
    Election::new(Config {
        version: if dice.roll(2) == 0 { Version::V2 } else { Version::V3 },
        priority: if dice.roll(3) == 0 { Priority::OWNER } else { Priority::DEFAULT },
        interval,
        primary: IpAddr::from([10, 0, 0, 2]),
        preempt: dice.roll(2) == 0,
        preempt_delay: Duration::from_secs(dice.roll(3)),
        permit_required: dice.roll(2) == 0,
        refresh: (dice.roll(2) == 0).then_some(Duration::from_secs(30)),
    })
}

#[test]
fn table_and_code_have_the_same_edges() {
    let interval = Interval::from_seconds(1).expect("fits");
    let mut dice = Dice(7);
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        let mut machine = rolled_machine(&mut dice, interval);
        let mut now = Duration::ZERO;
        for _ in 0..60 {
            now += Duration::from_millis(500 * dice.roll(6));
            let event = rolled_event(&mut dice, now, interval);
            if machine.state() == State::Active && !machine.permitted(now) {
                machine.step(now, Event::PermitLost);
            }
            let from = machine.state();
            machine.step(now, event);
            seen.insert((from, event.kind(), machine.state()));
        }
    }
    assert_eq!(seen, table_edges());
}

#[test]
fn every_pair_of_state_and_event_is_in_the_table_once() {
    let kinds: BTreeSet<EventKind> = TABLE.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds.len(), TABLE.len());
    assert!(TABLE.iter().all(|(_, row)| row.iter().all(|targets| !targets.is_empty())));
}

#[test]
fn drawing_and_table_have_the_same_edges() {
    let source = include_str!("mod.rs");
    let drawing = source.split("```").nth(1).expect("the essay has a drawing");
    let mut drawn = BTreeSet::new();
    let mut numbers = 0;
    for line in source.lines().filter_map(|line| line.strip_prefix("//! (")) {
        let (number, rest) = line.split_once(") ").expect("a number");
        let (states, kinds) = rest.split_once(": ").expect("states and events");
        let (from, to) = states.split_once(" -> ").expect("an arrow");
        assert_eq!(drawing.matches(&format!("({number})")).count(), 1, "edge {number}");
        numbers += 1;
        drawn.extend(
            kinds
                .split(", ")
                .map(|kind| (from.to_owned(), kind.trim_matches('`').to_owned(), to.to_owned())),
        );
    }
    let moves: BTreeSet<_> = table_edges()
        .into_iter()
        .filter(|(from, _, to)| from != to)
        .map(|(from, kind, to)| (format!("{from:?}"), format!("{kind:?}"), format!("{to:?}")))
        .collect();
    assert_eq!(drawn, moves);
    assert_eq!(drawing.matches('(').count(), numbers);
}
