//! What a run leaves behind: consoles beside the switch's capture, and the run as data, from which
//! `report` makes verdict, `JUnit` and the page.

use std::time::Duration;

use ::probe::words::Ask;
use builder::unfinished::{UnfinishedError, write_whole};
use ledger::{Micros, Verdict};
use report::folder::ReportError;
use report::run::{
    Address, Announcement, Assertion, Fact, Fault, Lane, Mark, MarkKind, Power, PowerSpan,
    RoleKind, RoleSpan,
};
use report::{Folder, Run};
use serde_json::Value;
use thiserror::Error;

use super::cluster::TESTER;
use super::drill::{Drill, READY};
use super::entry::{Entry, Ip};
use super::fault::Node;
use super::kit::Kit;
use super::log::Moment;
use super::machine::Machine;
use super::qemu_told;

#[derive(Debug, Error)]
pub enum EvidenceError {
    #[error(transparent)]
    Console(#[from] UnfinishedError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// What is told of a run beside what the drill knows.
#[derive(Debug)]
pub struct Told<'a> {
    pub entry: &'a Entry,
    pub ip: Option<Ip>,
    /// Since 1970.
    pub started: Duration,
    pub took: Duration,
    pub verdict: Verdict,
    pub kit: &'a Kit,
}

/// Services whose words are kept: ours, and those of peers.
const LOGGED: [&str; 7] =
    ["vipd", "pgkeeper", "witness", "keepalived", "repmgrd", "patroni", "etcd"];
const LOG_LIMIT: Duration = Duration::from_secs(3);

/// A run's name, such as `vip_power_cut/v6`.
pub fn title(entry: &Entry, ip: Option<Ip>) -> String {
    ip.map_or_else(|| entry.name.to_owned(), |ip| format!("{}/{}", entry.name, ip.word()))
}

/// Writes everything but the capture, which the switch has written.
pub fn write(folder: &Folder, drill: &Drill, told: &Told<'_>) -> Result<(), EvidenceError> {
    for machine in drill.cluster.nodes.iter().chain(&drill.cluster.tester) {
        let path = folder.path().join(format!("consoles/{}.log", machine.name));
        write_whole(&path, machine.console.transcript().as_bytes())?;
    }
    write_logs(folder, drill)?;
    Ok(folder.write(&run_of(drill, told), &drill.history)?)
}

/// What the services that fence said, for whoever looks for a cause. No drill is judged by it, so a
/// node that can't be asked any more costs nothing but these.
fn write_logs(folder: &Folder, drill: &Drill) -> Result<(), EvidenceError> {
    for machine in &drill.cluster.nodes {
        for service in LOGGED {
            let ask = Ask::ReadFile { path: format!("/state/logs/{service}.log") };
            let Ok(Value::String(text)) = machine.probe.ask_for(ask, LOG_LIMIT) else { continue };
            let path = folder.path().join(format!("consoles/{}-{service}.log", machine.name));
            write_whole(&path, text.as_bytes())?;
        }
    }
    Ok(())
}

fn run_of(drill: &Drill, told: &Told<'_>) -> Run {
    let end = Micros::from(told.took);
    let mut lanes: Vec<Lane> =
        drill.nodes().into_iter().map(|node| lane_of(drill, node, end)).collect();
    if let Some(tester) = &drill.cluster.tester {
        let power = vec![PowerSpan { from: Micros(0), until: end, power: Power::On }];
        let note = "clients".to_owned();
        lanes.push(Lane { power, note, ..named(tester) });
    }
    let faults = drill.faults.iter().map(|span| Fault {
        label: span.label.clone(),
        targets: span.nodes.iter().map(|node| drill.name(*node).to_owned()).collect(),
        from: span.from.into(),
        until: span.until.map(Micros::from),
        bit: span.proof.as_ref().is_some_and(|proof| proof.bit),
        proof: span.proof.as_ref().map_or_else(String::new, |proof| proof.how.clone()),
    });
    let assertions = drill.expected.iter().map(|expected| Assertion {
        text: expected.what.clone(),
        from: expected.from.into(),
        deadline: expected.deadline.into(),
        met: expected.met.map(Micros::from),
    });
    Run {
        drill: told.entry.name.to_owned(),
        family: told.entry.family().to_owned(),
        variant: told.ip.map_or_else(String::new, |ip| ip.to_string()),
        claim: told.entry.claim.to_owned(),
        seed: drill.seed,
        started_unix: told.started.as_secs(),
        length: end,
        verdict: told.verdict,
        rerun: format!("builder drill {} --seed {}", title(told.entry, told.ip), drill.seed),
        facts: facts(drill, told),
        lanes,
        addresses: addresses(drill),
        faults: faults.collect(),
        assertions: assertions.collect(),
        findings: drill.findings.clone(),
        measures: drill.measures.clone(),
        patience: drill.patience,
        log: drill.log.moments().into_iter().map(mark_of).collect(),
    }
}

fn mark_of(moment: Moment) -> Mark {
    Mark { at: moment.at.into(), text: moment.text, kind: MarkKind::Note }
}

fn facts(drill: &Drill, told: &Told<'_>) -> Vec<Fact> {
    let lag = drill.worst_lag(Duration::ZERO).as_millis();
    let facts = [
        ("topology", told.entry.topology.name.to_owned()),
        ("image", format!("{} {}", told.entry.topology.image, told.kit.verity_root)),
        ("qemu", told.kit.qemu.describe()),
        ("acceleration", format!("{:?}", told.kit.acceleration)),
        ("worst lag of the desk", format!("{lag} ms")),
    ];
    facts.map(|(name, value)| Fact { name: name.to_owned(), value }).to_vec()
}

fn named(machine: &Machine) -> Lane {
    Lane { name: machine.name.clone(), ..Lane::default() }
}

fn lane_of(drill: &Drill, node: Node, end: Micros) -> Lane {
    let Some(machine) = drill.cluster.nodes.get(node.0) else { return Lane::default() };
    let mut power: Vec<PowerSpan> = Vec::new();
    let mut changes: Vec<_> = drill.power.iter().filter(|change| change.node == node).collect();
    changes.sort_by_key(|change| change.at);
    for change in changes {
        let from = change.at.into();
        if let Some(last) = power.last_mut() {
            last.until = from;
        }
        power.push(PowerSpan { from, until: end, power: change.power });
    }
    let owned = drill.reigns().into_iter().filter(|reign| reign.port == machine.port);
    let roles = owned.map(|reign| RoleSpan {
        from: reign.from.into(),
        until: reign.until.into(),
        kind: RoleKind::Leader,
        role: "has the address".to_owned(),
    });
    let ready = machine.console.lines().into_iter().filter(|line| line.text.contains(READY));
    let trouble = machine.console.trouble().into_iter();
    let mark =
        |line: crate::console::Line, kind| Mark { at: line.after.into(), text: line.text, kind };
    let ready = ready.map(|line| mark(line, MarkKind::Good));
    let marks = ready.chain(trouble.map(|line| mark(line, MarkKind::Bad)));
    let events = machine.events.all();
    let marks = marks.chain(events.iter().filter_map(qemu_told::mark));
    Lane { power, roles: roles.collect(), marks: marks.collect(), ..named(machine) }
}

fn addresses(drill: &Drill) -> Vec<Address> {
    let Some(vip) = drill.cluster.vips.first() else { return Vec::new() };
    let announced: Vec<_> =
        drill.cluster.switch.with_wire(|wire| wire.announcements(vip.address).collect());
    let announcements = announced.into_iter().map(|(at, port)| Announcement {
        at: at.into(),
        by: drill.cluster.name_of(port).to_owned(),
    });
    vec![Address {
        name: format!("{} {}", vip.name, vip.address),
        reigns: drill.ledger_reigns(),
        announcements: announcements.filter(|said| said.by != TESTER).collect(),
    }]
}
