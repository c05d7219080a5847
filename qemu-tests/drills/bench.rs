//! Measurements in the rig: `bench failover`.
//!
//! Whoever has the address is struck, since that is what every system here has in common. Ours says
//! when it is in sync again; peers can't be asked, and aren't waited for.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use control::PgRequest;
use qemu_tests::bench::failover::{self, System};
use qemu_tests::rig::cli;
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Body, Entry, Site, Steady, Topology};
use qemu_tests::rig::expect::answers;
use qemu_tests::rig::fault::{Fault, Injected, Node, Stop};

use crate::pg::{HEAL_LIMIT, LIMIT};
use crate::{PG_PAIR, PG_WITNESS};

const USAGE: &str = "usage: bench failover [--rounds N] [--seed N] [--system PART] [--report DIR]

Strikes ours (without and with a witness), repmgr with keepalived, and Patroni on etcd in turns, and
prints a table. N is 5 unless told; PART is a part of the names of the systems that are wanted.";

/// Seed 000's pair, on the seeds of the lab.
const REPMGR: Topology = Topology {
    name: "repmgr and keepalived, tester",
    site: Site::Seeds(&["images/lab/node1.toml", "images/lab/node2.toml"]),
    image: "qemu-tests/peers/images/keepalived-repmgr.toml",
    tester: true,
    steady: Steady::Logged("repmgrd", "monitoring connection to upstream node"),
};

/// Three members of Patroni, on three of etcd.
const PATRONI: Topology = Topology {
    name: "Patroni on etcd and keepalived, tester",
    site: Site::Cluster {
        v4: "qemu-tests/peers/clusters/patroni.toml",
        v6: "qemu-tests/peers/clusters/patroni.toml",
    },
    image: "qemu-tests/peers/images/patroni-etcd.toml",
    tester: true,
    steady: Steady::Logged("patroni", "a secondary, and following a leader"),
};

const POWER_CUT: &str = "power cut of the primary";
const KILL: &str = "PostgreSQL killed on the primary";
const FREEZE: &str = "primary frozen";
const SWITCHOVER: &str = "planned switchover";

const SYSTEMS: [System; 4] = [
    System { name: "edgepair", strikes: &ours(PG_PAIR) },
    System { name: "edgepair with a witness", strikes: &ours(PG_WITNESS) },
    System { name: "repmgr, keepalived", strikes: &theirs(REPMGR) },
    System { name: "Patroni, etcd, keepalived", strikes: &theirs(PATRONI) },
];

/// How long anybody may take to be back.
const BACK_LIMIT: Duration = Duration::from_secs(90);
/// A fault that isn't over by itself ends so long after clients are answered again.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Faults come at different moments of everybody's periods.
const STEPS: u64 = 20;
const STEP_MS: u64 = 75;

const fn strike(topology: Topology, body: Body) -> Entry {
    Entry::new("bench_failover", "how long clients wait when something goes wrong", topology, body)
        .within(LIMIT)
        .on_demand()
        .on_v4()
}

const fn ours(topology: Topology) -> [(&'static str, Entry); 4] {
    [
        (POWER_CUT, strike(topology, our_power_cut)),
        (KILL, strike(topology, our_kill)),
        (FREEZE, strike(topology, our_freeze)),
        (SWITCHOVER, strike(topology, our_switchover)),
    ]
}

const fn theirs(topology: Topology) -> [(&'static str, Entry); 3] {
    [
        (POWER_CUT, strike(topology, their_power_cut)),
        (KILL, strike(topology, their_kill)),
        (FREEZE, strike(topology, their_freeze)),
    ]
}

fn our_power_cut(t: &mut Drill) -> Result<(), Stop> {
    strike_ours(t, Node::power_cut, true)
}

fn our_kill(t: &mut Drill) -> Result<(), Stop> {
    strike_ours(t, |node| node.kill9("postgres"), false)
}

fn our_freeze(t: &mut Drill) -> Result<(), Stop> {
    strike_ours(t, Node::freeze, false)
}

fn our_switchover(t: &mut Drill) -> Result<(), Stop> {
    let (primary, _) = t.vip_roles()?;
    let clients = t.start_writers()?;
    t.let_pass(spread(t.seed))?;
    t.order(primary, PgRequest::Switchover)?;
    t.mark();
    t.let_pass(AFTERWARDS)?;
    t.expect("a row is acknowledged again", answers(), BACK_LIMIT)?;
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, BACK_LIMIT).map(drop)
}

fn strike_ours(t: &mut Drill, fault: fn(Node) -> Fault, boots: bool) -> Result<(), Stop> {
    let (primary, _) = t.vip_roles()?;
    let clients = t.start_writers()?;
    let injected = hit(t, fault(primary))?;
    t.heal(injected)?;
    if boots {
        t.wait_ready(primary)?;
    }
    t.settle_pair(HEAL_LIMIT)?;
    t.finish_writers(clients, BACK_LIMIT).map(drop)
}

fn their_power_cut(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, Node::power_cut)
}

fn their_kill(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, |node| node.kill9("postgres"))
}

fn their_freeze(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, Node::freeze)
}

fn strike_theirs(t: &mut Drill, fault: fn(Node) -> Fault) -> Result<(), Stop> {
    let (primary, _) = t.vip_roles()?;
    let clients = t.start_plain_writers()?;
    let injected = hit(t, fault(primary))?;
    t.heal(injected)?;
    t.let_pass(AFTERWARDS)?;
    t.finish_writers(clients, BACK_LIMIT).map(drop)
}

/// Strikes, and waits until clients are answered again.
fn hit(t: &mut Drill, fault: Fault) -> Result<Injected, Stop> {
    t.let_pass(spread(t.seed))?;
    let injected = t.inject(fault)?;
    // What was on its way when it struck is still answered.
    t.let_pass(Duration::from_millis(STEP_MS))?;
    t.mark();
    t.expect("a row is acknowledged again", answers(), BACK_LIMIT)?;
    t.let_pass(AFTERWARDS)?;
    Ok(injected)
}

fn spread(seed: u64) -> Duration {
    Duration::from_millis((1 + seed % STEPS) * STEP_MS)
}

struct Request {
    rounds: u32,
    seed: u64,
    system: String,
    report: PathBuf,
}

/// `bench` and what follows.
pub(crate) fn main(words: &[String]) -> ExitCode {
    let request = match parse(words) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("error: {problem}\n{USAGE}");
            return ExitCode::from(cli::USAGE);
        }
    };
    match measure(&request) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(cli::FAILED)
        }
    }
}

fn measure(request: &Request) -> Result<String, Box<dyn Error>> {
    let wanted = |system: &System| system.name.contains(&request.system);
    let systems: Vec<System> = SYSTEMS.into_iter().filter(wanted).collect();
    if systems.is_empty() {
        let names = SYSTEMS.map(|system| system.name).join("; ");
        return Err(format!("no system is called {:?}; there are {names}", request.system).into());
    }
    let (mut runner, _guards) = cli::prepare(&request.report, cli::Manner::default())?;
    let table = failover::run(&systems, request.rounds, request.seed, &mut runner)?;
    report::index::write(&request.report)?;
    Ok(table)
}

fn parse(words: &[String]) -> Result<Request, String> {
    let mut words = words.iter();
    match words.next().map(String::as_str) {
        Some("failover") => {}
        Some(other) => return Err(format!("there is no bench {other:?}")),
        None => return Err("which bench?".to_owned()),
    }
    let mut request =
        Request { rounds: 5, seed: 1, system: String::new(), report: "out/bench".into() };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let no_number = |_| format!("{value:?} is no number");
        match word.as_str() {
            "--rounds" => request.rounds = value.parse().map_err(no_number)?,
            "--seed" => request.seed = value.parse().map_err(no_number)?,
            "--system" => request.system.clone_from(value),
            "--report" => request.report = value.into(),
            _ => return Err(format!("what is {word:?}?")),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use qemu_tests::rig::entry::Ip;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_request_is_read_and_mistakes_are_named() {
        let request = parse(&words("failover --rounds 30 --system edgepair")).expect("read");
        assert_eq!((request.rounds, request.system.as_str()), (30, "edgepair"));
        for (line, part) in [
            ("takeover", "takeover"),
            ("failover --rounds", "wants a value"),
            ("failover --rounds many", "no number"),
            ("failover --turns 3", "--turns"),
        ] {
            let problem = parse(&words(line)).err().expect(line);
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn every_system_is_struck_by_a_power_cut() {
        for system in SYSTEMS {
            assert!(system.strikes.iter().any(|(class, _)| *class == POWER_CUT), "{}", system.name);
            assert!(system.strikes.iter().all(|(_, entry)| entry.ips == [Ip::V4]));
        }
    }
}
