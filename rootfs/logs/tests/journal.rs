//! The journal, seen from outside: whatever is written in whatever pieces.

use std::time::Duration;

use logs::{Harmless, Journal, KEEP_BURST, KEEP_RATE, Kind, LINE_BYTES, READ_BURST};
use proptest::prelude::*;

const RING: usize = 8 * 1024;
const START: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

fn texts(journal: &Journal, source: Option<usize>) -> Vec<String> {
    journal.since(source, 0).map(|record| Harmless(record.bytes).to_string()).collect()
}

#[test]
fn records_of_all_sources_come_in_one_order() {
    let mut journal = Journal::new(&["init", "postgres"], RING);
    assert_eq!(journal.push(1, SECOND, b"one\ntwo\nthr"), 1..3);
    assert_eq!(journal.note(0, SECOND, format_args!("postgres is {}", "ready")), 3..4);
    assert_eq!(journal.push(1, SECOND * 2, b"ee\n"), 4..5);
    assert_eq!(texts(&journal, None), ["one", "two", "postgres is ready", "three"]);
    assert_eq!(texts(&journal, Some(1)), ["one", "two", "three"]);
    let later: Vec<u64> = journal.since(None, 2).map(|record| record.seq).collect();
    assert_eq!(later, [3, 4]);
    assert_eq!(journal.last_seq(), 4);
    let shown: Vec<String> =
        journal.since(None, 2).map(|record| journal.show(record).to_string()).collect();
    assert_eq!(
        shown,
        ["[    1.000000] init -- postgres is ready", "[    2.000000] postgres: three"]
    );
}

#[test]
fn the_end_of_a_stream_ends_its_line() {
    let mut journal = Journal::new(&["a"], RING);
    assert_eq!(journal.push(0, START, b"last words"), 1..1);
    assert_eq!(journal.finish(0, START), 1..2);
    assert_eq!(journal.finish(0, START), 2..2);
    assert_eq!(texts(&journal, None), ["last words"]);
}

#[test]
fn who_writes_much_pushes_out_only_own_lines() {
    let mut journal = Journal::new(&["quiet", "chatty"], RING);
    journal.push(0, START, b"I said one thing\n");
    for _ in 0..1000 {
        journal.push(1, START, &[b'x'; 100]);
        journal.push(1, START, b"\n");
    }
    assert_eq!(texts(&journal, Some(0)), ["I said one thing"]);
    let kept: usize = journal.since(Some(1), 0).map(|record| record.bytes.len()).sum();
    assert!((RING - 200..=RING).contains(&kept), "the ring is used: {kept}");
}

#[test]
fn what_is_too_much_is_dropped_counted_and_said_once() {
    let mut journal = Journal::new(&["storm"], RING);
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let lines = 3 * KEEP_BURST / 100;
    for _ in 0..lines {
        journal.push(0, START, &line);
    }
    let lost = journal.dropped(0);
    assert!(lost.lines > lines / 2 && lost.bytes == lost.lines * 99, "{lost:?}");
    assert_eq!(journal.last_seq() + lost.lines, lines);
    // It went silent, so only the tick can say it.
    let when = journal.next_deadline().expect("something to say");
    assert_eq!(journal.tick(START).count(), 0);
    assert_eq!(journal.tick(when).count(), 1);
    let last = journal.since(None, journal.last_seq() - 1).next().expect("the remark");
    assert_eq!(last.kind, Kind::Note);
    let said = Harmless(last.bytes).to_string();
    assert!(said.starts_with(&format!("{} lines of {} bytes", lost.lines, lost.bytes)), "{said}");
    assert_eq!(journal.next_deadline(), None);
    // And what follows is kept again.
    assert_eq!(journal.push(0, when, &line).count(), 1);
    // A second storm counts for itself.
    for _ in 0..lines {
        journal.push(0, when, &line);
    }
    let second = journal.dropped(0).lines - lost.lines;
    let later = journal.next_deadline().expect("something to say");
    // Until then nothing is kept: lines with holes everywhere would help nobody.
    let soon = when + (later.saturating_sub(when)) / 2;
    assert_eq!(journal.push(0, soon, b"short\n").count(), 0);
    assert_eq!(journal.tick(later).count(), 1);
    let last = journal.since(None, journal.last_seq() - 1).next().expect("the remark");
    let said = Harmless(last.bytes).to_string();
    assert!(said.starts_with(&format!("{} lines", second + 1)), "{said} {second}");
}

#[test]
fn an_endless_writer_keeps_no_more_than_the_rate() {
    let mut journal = Journal::new(&["storm"], 1024 * 1024);
    let line = [&[b'x'; 67][..], b"\n"].concat();
    for tenth in 0..600_u32 {
        for _ in 0..300 {
            journal.push(0, Duration::from_millis(100) * tenth, &line);
        }
    }
    let most = (KEEP_BURST + 60 * KEEP_RATE) / (67 + 32);
    let notes = 60;
    assert!(journal.last_seq() <= most + notes, "{} of {most}", journal.last_seq());
    assert!(journal.last_seq() >= most * 9 / 10);
}

#[test]
fn only_an_endless_writer_waits() {
    let mut journal = Journal::new(&["a", "b"], RING);
    let chunk = vec![0; 64 * 1024];
    for _ in 1..READ_BURST / 65536 {
        journal.push(0, START, &chunk);
        assert_eq!(journal.paused_until(0, START), None);
    }
    journal.push(0, START, &chunk);
    let until = journal.paused_until(0, START).expect("a pause");
    assert!(until > START && until < SECOND);
    assert_eq!(journal.paused_until(1, START), None);
    assert_eq!(journal.paused_until(0, until), None);
}

#[test]
fn empty_lines_hold_no_place_that_others_need() {
    let mut journal = Journal::new(&["a"], LINE_BYTES);
    for round in 0..50 {
        journal.push(0, START, b"\n\nshort\n\n");
        journal.push(0, START, &[b'a' + round % 26; 900]);
        journal.push(0, START, b"\n");
        for record in journal.since(None, 0).filter(|record| record.bytes.len() == 900) {
            assert!(record.bytes.iter().all(|byte| *byte == record.bytes[0]), "{round}");
        }
    }
}

#[test]
fn sources_that_do_not_exist_say_nothing() {
    let mut journal = Journal::new(&["a"], RING);
    assert!(journal.push(1, START, b"x\n").is_empty());
    assert!(journal.finish(1, START).is_empty());
    assert!(journal.note(1, START, format_args!("x")).is_empty());
    assert_eq!(journal.since(Some(1), 0).count(), 0);
    assert_eq!(journal.name(1), "");
    assert_eq!(journal.find("a"), Some(0));
}

#[test]
fn a_remark_is_bounded_too() {
    let mut journal = Journal::new(&["a"], RING);
    journal.note(0, START, format_args!("{}", "€".repeat(LINE_BYTES)));
    let record = journal.since(None, 0).next().expect("a remark");
    assert_eq!(record.bytes.len(), LINE_BYTES / 3 * 3);
}

fn pieces() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let byte = prop_oneof![4 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()];
    let short = prop::collection::vec(byte, 0..80);
    let long = (1..3 * LINE_BYTES).prop_map(|length| vec![b'z'; length]);
    let piece = (0..4_usize, prop_oneof![8 => short, 1 => long]);
    prop::collection::vec(piece, 0..120)
}

/// The lines of a text as anybody would split it.
fn plain_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
        .collect();
    // Whatever follows the last line end is a line only if there is something.
    let last = text.split(|byte| *byte == b'\n').next_back().unwrap_or_default().to_vec();
    lines.pop();
    lines.extend((!last.is_empty()).then_some(last));
    lines
}

proptest! {
    // Each case is some thousand lines.
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn any_pieces_give_the_last_lines_in_order(pieces in pieces(), ring in 0..4 * LINE_BYTES) {
        let mut journal = Journal::new(&["a", "b", "c"], ring);
        let mut written = vec![Vec::new(); 3];
        for (time, (source, bytes)) in pieces.iter().enumerate() {
            let before = journal.last_seq();
            let new = journal.push(*source, Duration::from_millis(time as u64), bytes);
            prop_assert_eq!(new.clone(), before + 1..journal.last_seq() + 1);
            if let Some(text) = written.get_mut(*source) {
                text.extend(bytes);
            }
        }
        for source in 0..3 {
            journal.finish(source, SECOND);
        }
        let seqs: Vec<u64> = journal.since(None, 0).map(|record| record.seq).collect();
        prop_assert!(seqs.is_sorted_by(|one, other| one < other));
        let parts: usize = (0..3).map(|source| journal.since(Some(source), 0).count()).sum();
        prop_assert_eq!(parts, seqs.len());
        for (source, text) in written.iter().enumerate() {
            let lines = plain_lines(text);
            let kept: Vec<_> = journal.since(Some(source), 0).collect();
            prop_assert!(kept.len() <= lines.len());
            prop_assert!(kept.len() == lines.len() || !kept.is_empty(), "a ring is never emptied");
            for (record, line) in kept.iter().rev().zip(lines.iter().rev()) {
                if record.kind == Kind::Cut {
                    prop_assert!(line.len() > LINE_BYTES - 1 && line.starts_with(record.bytes));
                    prop_assert!(record.bytes.len() + 4 > LINE_BYTES);
                } else {
                    prop_assert_eq!(record.bytes, line.as_slice());
                }
            }
            prop_assert_eq!(journal.dropped(source).lines, 0, "too little for the rate");
        }
    }

    #[test]
    fn what_is_shown_is_one_harmless_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let shown = Harmless(&bytes).to_string();
        prop_assert!(shown.chars().all(|letter| letter == '\t' || !letter.is_control()));
        prop_assert!(shown.len() <= 4 * bytes.len());
    }
}
