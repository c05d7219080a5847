//! The drawing on the crate's first page and the table are the same machine.

use std::collections::BTreeSet;

use supervise::table::{Cell, TABLE, transition};
use supervise::{Effect, Input, State};

type Edge = (String, String, String);

/// Reads lines such as `A|B --Input|Input--> C --Input--> D`.
fn drawn() -> BTreeSet<Edge> {
    let page = include_str!("../../src/lib.rs");
    let mut edges = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("//!  ") && line.contains("-->")) {
        let words: Vec<&str> = line["//!".len()..].split_whitespace().collect();
        assert!(words.len() % 2 == 1, "states and arrows alternate: {line}");
        for window in words.windows(3).step_by(2) {
            let arrow = window[1].strip_prefix("--").and_then(|arrow| arrow.strip_suffix("-->"));
            for from in window[0].split('|') {
                for input in arrow.expect(line).split('|') {
                    let edge = (from.to_owned(), input.to_owned(), window[2].to_owned());
                    assert!(edges.insert(edge), "drawn twice: {from} {input} in {line}");
                }
            }
        }
    }
    edges
}

#[test]
fn the_drawing_is_the_table() {
    let mut table = BTreeSet::new();
    for state in State::ALL {
        for input in Input::ALL {
            if let Cell::Go(to, _) = transition(state, input) {
                table.insert((format!("{state:?}"), format!("{input:?}"), format!("{to:?}")));
            }
        }
    }
    assert_eq!(drawn(), table);
}

#[test]
fn rows_and_columns_are_in_the_order_of_the_names() {
    for (row, state) in State::ALL.into_iter().enumerate() {
        for (column, input) in Input::ALL.into_iter().enumerate() {
            assert_eq!(transition(state, input), TABLE[row][column]);
        }
    }
}

/// What a move does to the world follows from where it leads.
#[test]
fn effects_follow_from_the_states() {
    for from in State::ALL {
        for input in Input::ALL {
            let Cell::Go(to, effect) = transition(from, input) else { continue };
            let expected = match to {
                State::Starting => Some(Effect::Spawn),
                State::Running => Some(Effect::Probe),
                State::Stopping => Some(Effect::Signal),
                State::Killing => Some(Effect::KillGroup),
                _ if from.has_process() && !to.has_process() => Some(Effect::KillGroup),
                _ => None,
            };
            assert_eq!(effect, expected, "{from:?} {input:?}");
        }
    }
}

#[test]
fn every_state_is_reached_and_left() {
    for state in State::ALL {
        let left = Input::ALL
            .iter()
            .any(|input| matches!(transition(state, *input), Cell::Go(to, _) if to != state));
        let reached = drawn().iter().any(|(_, _, to)| *to == format!("{state:?}"));
        assert!(left && reached, "{state:?}");
    }
}
