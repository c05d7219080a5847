//! Made-up runs: a pair whose primary is frozen past the takeover, with everything a page can show.
#![allow(dead_code, reason = "each program uses a part of it")]

use ledger::check::ownership::Reign;
use ledger::{Finding, History, Kind, Micros, Operation, Outcome, Row, Verdict};
use report::run::{
    Address, Announcement, Assertion, Fact, Fault, Lane, Mark, MarkKind, Patience, Power,
    PowerSpan, RoleKind, RoleSpan, Run,
};

pub(crate) fn ms(millis: u64) -> Micros {
    Micros(millis * 1000)
}

/// A small generator, so that every gallery is the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % (most + 1)
    }
}

fn power(from: u64, until: u64, power: Power) -> PowerSpan {
    PowerSpan { from: ms(from), until: ms(until), power }
}

fn role(from: u64, until: u64, kind: RoleKind, role: &str) -> RoleSpan {
    RoleSpan { from: ms(from), until: ms(until), kind, role: role.to_owned() }
}

fn mark(at: u64, kind: MarkKind, text: &str) -> Mark {
    Mark { at: ms(at), kind, text: text.to_owned() }
}

fn reign(owner: &str, from: u64, until: u64) -> Reign {
    Reign { owner: owner.to_owned(), from: ms(from), until: ms(until) }
}

fn said(by: &str, at: u64) -> Announcement {
    Announcement { at: ms(at), by: by.to_owned() }
}

fn asserted(text: &str, from: u64, deadline: u64, met: Option<u64>) -> Assertion {
    Assertion { text: text.to_owned(), from: ms(from), deadline: ms(deadline), met: met.map(ms) }
}

fn fact(name: &str, value: &str) -> Fact {
    Fact { name: name.to_owned(), value: value.to_owned() }
}

fn lanes(back: u64) -> Vec<Lane> {
    vec![
        Lane {
            name: "node1".to_owned(),
            note: "192.168.77.11, priority 110".to_owned(),
            power: vec![
                power(0, 7_400, Power::Booting),
                power(7_400, 16_000, Power::On),
                power(16_000, 21_000, Power::Frozen),
                power(21_000, 34_000, Power::On),
            ],
            roles: vec![
                role(9_100, 21_060, RoleKind::Leader, "primary, epoch 1"),
                role(21_060, 24_800, RoleKind::Between, "rewinding"),
                role(24_800, 34_000, RoleKind::Follower, "standby, streaming"),
            ],
            marks: vec![
                mark(7_400, MarkKind::Good, "ready"),
                mark(21_060, MarkKind::Note, "met epoch 2, closed its gate"),
            ],
        },
        Lane {
            name: "node2".to_owned(),
            note: "192.168.77.12, priority 100".to_owned(),
            power: vec![power(0, 7_900, Power::Booting), power(7_900, 34_000, Power::On)],
            roles: vec![
                role(10_200, 16_400, RoleKind::Follower, "standby, streaming"),
                role(16_400, back - 60, RoleKind::Between, "promoting"),
                role(back - 60, 34_000, RoleKind::Leader, "primary, epoch 2"),
            ],
            marks: vec![
                mark(7_900, MarkKind::Good, "ready"),
                mark(16_380, MarkKind::Note, "misses its peer, asks the witness"),
                mark(back - 60, MarkKind::Good, "promoted, timeline 2"),
            ],
        },
        Lane {
            name: "witness".to_owned(),
            note: "192.168.77.13".to_owned(),
            power: vec![power(0, 6_100, Power::Booting), power(6_100, 34_000, Power::On)],
            roles: Vec::new(),
            marks: vec![mark(16_395, MarkKind::Note, "grants epoch 2 to node2")],
        },
        Lane {
            name: "tester".to_owned(),
            note: "4 clients append, 1 pings".to_owned(),
            power: vec![power(0, 2_300, Power::Booting), power(2_300, 34_000, Power::On)],
            roles: Vec::new(),
            marks: Vec::new(),
        },
    ]
}

fn findings() -> Vec<Finding> {
    vec![
        Finding::pass("clients wait at most 2500 ms", "the longest gap was shorter"),
        Finding::pass("nothing acknowledged is lost", "2 reads, the largest with 1480 rows"),
        Finding::pass("nothing that certainly failed is present", "2 reads"),
        Finding::pass("every row was appended by a client", "2 reads"),
        Finding::pass("no row is there twice", "2 reads"),
        Finding::pass("each client's rows are in its order", "2 reads"),
        Finding::pass(
            "no acknowledgement on an old timeline once a newer one has answered",
            "1480 answers of timelines 1 to 2",
        ),
        Finding::pass(
            "the address has one owner at a time",
            "2 reigns, at most 0 ms of two at once",
        ),
        Finding::pass(
            "after the heal: one primary, streaming standbys, the address on the primary",
            "node2 leads",
        ),
        Finding::pass(
            "no console tells of a crash, a hang, or a broken disk",
            "1204 lines, none of them",
        ),
    ]
}

/// Node 1 leads, is frozen at 16 s and thawed at 21 s. `gap` is how long nobody leads, in ms.
pub(crate) fn freeze(seed: u64, gap: u64, started_unix: u64) -> Run {
    let back = 16_000 + gap;
    let mut run = Run {
        drill: "pg_freeze_thaw".to_owned(),
        family: "pg".to_owned(),
        variant: "IPv4".to_owned(),
        claim: "A primary that is frozen past the takeover acknowledges nothing when it wakes up."
            .to_owned(),
        seed,
        started_unix,
        length: ms(34_000),
        verdict: Verdict::Unknown,
        rerun: format!("builder drill pg_freeze_thaw --seed {seed} --keep"),
        facts: vec![
            fact("image", "lab 0.1.0 (root hash 5f0c…91aa)"),
            fact("QEMU", "10.0.2, TCG, q35"),
            fact("topology", "pair and tester"),
            fact("advert interval", "100 ms"),
            fact("host's lag", "at most 11 ms"),
        ],
        lanes: lanes(back),
        addresses: vec![Address {
            name: "api 192.168.77.10".to_owned(),
            reigns: vec![reign("node1", 9_300, 15_960), reign("node2", back - 40, 34_000)],
            announcements: vec![
                said("node1", 9_300),
                said("node2", back - 40),
                said("node2", back + 960),
                said("node2", 21_110),
            ],
        }],
        faults: vec![Fault {
            label: "freeze node1".to_owned(),
            targets: vec!["node1".to_owned()],
            from: ms(16_000),
            until: Some(ms(21_000)),
            bit: true,
            proof: "QEMU says paused, and the wire heard nothing of it".to_owned(),
        }],
        assertions: vec![
            asserted("node2 claims the address", 16_000, 17_500, Some(back - 40)),
            asserted("node2 acknowledges a write", 16_000, 19_000, Some(back + 12)),
            asserted("node1 is silent after it woke up", 21_000, 21_100, Some(21_060)),
            asserted("node2 announces the address again", 21_000, 21_200, Some(21_110)),
            asserted("node1 streams from node2", 21_000, 31_000, Some(24_800)),
        ],
        findings: findings(),
        measures: Vec::new(),
        patience: Some(Patience {
            kind: Kind::Append,
            from: ms(12_000),
            until: ms(32_000),
            budget: Some(ms(2_500)),
        }),
        log: vec![
            mark(9_300, MarkKind::Note, "node1 has the address, node2 watches"),
            mark(16_000, MarkKind::Note, "FAULT freeze node1"),
            mark(back - 40, MarkKind::Note, "ok    node2 claims the address"),
            mark(21_000, MarkKind::Note, "HEAL  freeze node1"),
            mark(24_800, MarkKind::Note, "ok    node1 streams from node2"),
        ],
    };
    run.judge();
    run
}

/// What clients of such a run went through.
pub(crate) fn clients(seed: u64, gap: u64) -> History {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (down, up) = (16_000, 16_000 + gap);
    let mut operations = Vec::new();
    let mut rows = Vec::new();
    for worker in 0..4_u32 {
        let (mut process, mut now) = (worker, 12_000 + u64::from(worker) * 13);
        while now < 31_500 {
            let took = 6 + dice.up_to(14);
            let led = if now < down { ("node1", 1) } else { ("node2", 2) };
            let refused_at_once = worker == 3 && now >= down + 250;
            let (outcome, took, note) = if now + took < down || now >= up {
                (Outcome::Ok, took, "")
            } else if !refused_at_once {
                (
                    Outcome::Info,
                    2_000.min(if worker == 3 { 260 } else { up + 700 - now }),
                    "no answer in time",
                )
            } else {
                let refused = "connecting: FATAL 57P03: the database system is not accepting \
                               connections on this node";
                (Outcome::Fail, 3, refused)
            };
            let value = u64::try_from(operations.len()).unwrap_or(0) + 1;
            let ok = outcome == Outcome::Ok;
            if ok {
                rows.push(Row(process, value));
            }
            operations.push(Operation {
                process,
                kind: Kind::Append,
                value: Some(value),
                invoked: Micros(now * 1000 + dice.up_to(900)),
                completed: Micros((now + took) * 1000 + dice.up_to(900)),
                outcome,
                node: ok.then(|| led.0.to_owned()),
                timeline: ok.then_some(led.1),
                epoch: None,
                rows: None,
                note: note.to_owned(),
            });
            if outcome == Outcome::Info {
                process += 4;
            }
            now = (now + 50).max(now + took + 4);
        }
    }
    for at in (12_000..32_000).step_by(50) {
        let up_again = at >= up - 40;
        let ok = at + 20 < down || up_again;
        operations.push(Operation {
            process: 100 + u32::try_from(at / 50 % 5).unwrap_or(0),
            kind: Kind::Ping,
            value: None,
            invoked: ms(at),
            completed: ms(if ok { at + 2 + dice.up_to(4) } else { at + 200 }),
            outcome: if ok { Outcome::Ok } else { Outcome::Info },
            node: None,
            timeline: None,
            epoch: None,
            rows: None,
            note: if ok { String::new() } else { "no answer within 200 ms".to_owned() },
        });
    }
    let read = |at: u64, node: &str| Operation {
        process: 200,
        kind: Kind::Read,
        value: None,
        invoked: ms(at),
        completed: ms(at + 140),
        outcome: Outcome::Ok,
        node: Some(node.to_owned()),
        timeline: Some(2),
        epoch: None,
        rows: Some(rows.clone()),
        note: String::new(),
    };
    let reads = [read(32_200, "node2"), read(32_500, "node2")];
    operations.extend(reads);
    operations.sort_by_key(|operation| operation.completed);
    History { operations }
}

/// The same drill on a bad day: two owners, a lost row, a missed deadline, a fault that never bit.
pub(crate) fn split(started_unix: u64) -> Run {
    let mut run = freeze(4711, 1_140, started_unix);
    run.variant = String::from("IPv6");
    run.addresses[0].name = String::from("api fd77::10");
    run.addresses[0].reigns.insert(1, reign("node1", 21_020, 21_660));
    run.addresses[0].announcements.push(said("node1", 21_030));
    run.assertions[2].met = Some(ms(21_660));
    run.patience = run.patience.map(|p| Patience { budget: Some(ms(1_100)), ..p });
    run.findings[0] = Finding::violated(
        "clients wait at most 1100 ms",
        "the longest gap was 1155 ms, from 15.9 s on",
    )
    .at(ms(15_990));
    run.findings[1] = Finding::violated(
        "nothing acknowledged is lost",
        "row 874, acknowledged at 21.1 s by node1, is not in the read at 32.2 s on node2",
    )
    .at(ms(21_080));
    run.findings[7] = Finding::violated(
        "the address has one owner at a time",
        "node1 and node2 both for 640 ms, from 21.0 s on",
    )
    .at(ms(21_020));
    run.lanes[0].marks.push(mark(21_700, MarkKind::Bad, "stage 2 failed: gate still open"));
    run.faults.push(Fault {
        label: "drop 20 % of adverts".to_owned(),
        targets: Vec::new(),
        from: ms(20_000),
        until: Some(ms(23_000)),
        bit: false,
        proof: "the rule matched no frame".to_owned(),
    });
    run.faults.push(Fault {
        label: "kill -9 vipd on node2".to_owned(),
        targets: vec!["node2".to_owned()],
        from: ms(25_200),
        until: None,
        bit: true,
        proof: "the process ended by signal 9".to_owned(),
    });
    run.judge();
    run
}

/// A small run, full of names that would break a careless page.
pub(crate) fn nasty() -> (Run, History) {
    let mut run = freeze(7, 700, 1_795_812_000);
    let bad = "</script><img src=x onerror=\"alert('&')\">";
    run.drill = format!("drill {bad}");
    run.family = String::from(bad);
    run.variant = String::from(bad);
    run.claim = String::from(bad);
    run.rerun = format!("builder drill '{bad}' \u{1b}[31m");
    run.facts = vec![fact(bad, bad)];
    run.lanes[0].name = String::from(bad);
    run.lanes[0].marks[0].text = String::from(bad);
    run.addresses[0].name = String::from(bad);
    run.faults[0].label = String::from(bad);
    run.faults[0].proof = String::from(bad);
    run.assertions[0].text = String::from(bad);
    run.assertions[0].met = None;
    run.findings[0] = Finding::violated(bad, bad).at(ms(3));
    run.judge();
    let mut history = clients(7, 700);
    history.operations.truncate(3);
    history.operations[0].note = String::from(bad);
    history.operations[0].node = Some(String::from(bad));
    (run, history)
}
