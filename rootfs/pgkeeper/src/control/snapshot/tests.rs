//! Each state has its word, and figures are those of the side that knows them.

use failover::{Configuration, Epoch, Members, Record};

use super::*;

fn names() -> Names {
    Names {
        nodes: ["node1".to_owned(), "node2".to_owned()],
        side: Side::A,
        channels: vec!["lan".to_owned(), "crossover".to_owned()],
        witness: None,
        arbiter: Arbiter::Policy(Policy::Availability),
    }
}

fn status(state: State) -> Status {
    let config =
        Configuration { epoch: Epoch(7), base: Epoch(5), leader: Side::A, members: Members::Both };
    Status {
        state,
        in_state_for: Duration::from_millis(1500),
        record: Record { config, ..Record::blank(1, Side::A) },
        serving: true,
        contact_age: Some(Duration::from_millis(40)),
        hears: 0b10,
        peer: None,
        witness_age: None,
        lsn: Lsn(0x1_2345_6789),
        peer_lsn: Some(Lsn(0x1_2345_6780)),
        peer_has_all: true,
        hold_down: Duration::ZERO,
        maintenance: false,
    }
}

#[test]
fn words_of_states_differ() {
    let mut words: Vec<&str> = State::ALL.map(role).to_vec();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), State::ALL.len());
}

#[test]
fn a_primary_tells_how_far_its_standby_is() {
    let told = snapshot(&status(State::PSync), &names(), None, &[]);
    assert_eq!((told.epoch, told.primary.as_deref()), (7, Some("node1")));
    assert_eq!((told.lag_bytes, told.in_sync, told.gate_open), (Some(9), Some(true), true));
    assert_eq!((told.lsn.as_str(), told.for_ms), ("1/23456789", 1500));
    let heard: Vec<bool> = told.peer.expect("a peer").channels.iter().map(|it| it.heard).collect();
    assert_eq!(heard, [false, true]);
    assert_eq!((told.arbiter.as_str(), told.witness), ("availability", None));
    assert!(told.notes.is_empty());
}

#[test]
fn a_standby_without_its_leaders_words_has_no_lag() {
    let told = snapshot(&status(State::SSync), &names(), None, &[]);
    assert_eq!((told.lag_bytes, told.in_sync), (None, Some(true)));
}

#[test]
fn what_needs_explaining_is_explained() {
    let mut trouble = status(State::PSolo);
    trouble.maintenance = true;
    let told = snapshot(&trouble, &names(), None, &[]);
    assert_eq!(told.notes.len(), 2, "{:?}", told.notes);
    assert!(told.notes.iter().any(|note| note.contains("maintenance off")));
    assert_eq!(told.in_sync, Some(false));
}
