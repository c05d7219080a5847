//! The drawing on the crate's first page and the table are the same machine.

use std::collections::BTreeSet;

use failover::table::{TABLE, transition};
use failover::{Input, State};

type Edge = (String, String, String);

/// Reads lines such as `A|B --Input|Input--> C --Input--> D`.
fn drawn() -> BTreeSet<Edge> {
    let page = include_str!("../src/lib.rs");
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
            if let Some(to) = transition(state, input) {
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

#[test]
fn every_state_is_reached_and_left() {
    for state in State::ALL {
        let name = format!("{state:?}");
        assert!(drawn().iter().any(|(from, _, _)| *from == name), "{name} can't be left");
        let begins = state == State::Boot;
        assert!(begins || drawn().iter().any(|(_, _, to)| *to == name), "{name} isn't reached");
    }
}

/// Whoever leads must be able to be superseded, and whoever decides anything must be able to write.
#[test]
fn power_can_always_be_taken_away() {
    for state in State::ALL {
        if state.is_leading() || state == State::HandOver {
            assert_eq!(transition(state, Input::Superseded), Some(State::Fenced), "{state:?}");
        }
        if !matches!(state, State::Boot | State::Fenced) {
            assert_eq!(transition(state, Input::StorageFailed), Some(State::Fenced), "{state:?}");
        }
    }
}
