//! How long a database is gone.
//!
//! Whoever has the address is struck, since that is what every system here has in common. Ours and
//! Patroni say when they are whole again; repmgr leaves that to a person, and isn't waited for.

use std::time::{Duration, Instant};

use control::{Answer, PgRequest};
use qemu_tests::bench::compare::{Question, STRUCK, System};
use qemu_tests::rig::drill::{Clients, Drill};
use qemu_tests::rig::entry::{Body, Entry, Site, Steady, Topology};
use qemu_tests::rig::expect::{answers, claims};
use qemu_tests::rig::fault::{Fault, Injected, Node, Stop};
use qemu_tests::rig::pair::GAP;

use super::{etcd, patroni, spread};
use crate::pg::HEAL_LIMIT;
use crate::{PG_PAIR, PG_WITNESS};

pub(super) const QUESTION: Question = Question {
    title: "Longest time between two acknowledged rows; each dot is a fault",
    heading: "without an acknowledged row, p50 / p99 / max",
    measure: GAP,
    database: true,
};

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
    // Without one that has it Patroni rightly promotes nobody.
    steady: Steady::Logged("patroni", "Synchronous standby status assigned to"),
};

/// The same with the smallest times that Patroni allows.
const PATRONI_SMALLEST: Topology = Topology {
    name: "Patroni with its smallest times on etcd and keepalived, tester",
    site: Site::Cluster {
        v4: "qemu-tests/peers/clusters/patroni-smallest.toml",
        v6: "qemu-tests/peers/clusters/patroni-smallest.toml",
    },
    ..PATRONI
};

const POWER_CUT: &str = "power cut of the primary";
const KILL: &str = "PostgreSQL killed on the primary";
const FREEZE: &str = "primary frozen";
const SWITCHOVER: &str = "planned switchover";

pub(super) const SYSTEMS: &[System] = &[
    System { name: "edgepair", method: 1, strikes: &ours(PG_PAIR) },
    System { name: "edgepair with a witness", method: 1, strikes: &ours(PG_WITNESS) },
    System { name: "repmgr, keepalived", method: 1, strikes: &theirs(REPMGR) },
    // By the first method one machine led etcd in all strikes, which decided what came out.
    System { name: "Patroni, etcd, keepalived", method: 2, strikes: &patronis::<10_000>(PATRONI) },
    System {
        name: "Patroni at its smallest times",
        method: 2,
        strikes: &patronis::<1_000>(PATRONI_SMALLEST),
    },
];

/// Rounds of any number of strikes spread evenly over a period that is cut by the golden ratio.
const GOLDEN_PER_MILLE: u64 = 618;
/// Forming a cluster of peers takes most of it.
const STRIKE_LIMIT: Duration = Duration::from_mins(15);
/// It takes a minute until a member of Patroni that lost its power follows again, so only some runs wait
/// for that.
const ASKED_EVERY: u64 = 4;
/// How long anybody may take to be back. Patroni's lease alone is thirty seconds.
const BACK_LIMIT: Duration = Duration::from_mins(3);
/// A fault that isn't over by itself ends so long after clients are answered again.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// A primary of a peer that was thawed may have the address until it knows better. What it answers is no
/// proof of what is lost, so it gets three of Patroni's longest rounds before the last read.
const TO_KNOW_BETTER: Duration = Duration::from_secs(30);
/// What was on its way when it struck is still answered.
const ON_ITS_WAY: Duration = Duration::from_millis(75);

const fn strike(topology: Topology, body: Body) -> Entry {
    Entry::new("bench_failover", "how long clients wait when something goes wrong", topology, body)
        .within(STRIKE_LIMIT)
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

/// One can ask Patroni for a switchover. repmgr wants SSH between the nodes for it.
const fn patronis<const ROUND_MS: u64>(topology: Topology) -> [(&'static str, Entry); 4] {
    [
        (POWER_CUT, strike(topology, patronis_power_cut::<ROUND_MS>)),
        (KILL, strike(topology, patronis_kill::<ROUND_MS>)),
        (FREEZE, strike(topology, patronis_freeze::<ROUND_MS>)),
        (SWITCHOVER, strike(topology, patronis_switchover::<ROUND_MS>)),
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
    let (primary, standby) = t.vip_roles()?;
    let clients = t.start_writers()?;
    t.let_pass(spread(t.seed))?;
    t.mark();
    let said = t.order(primary, PgRequest::Switchover)?;
    if said != Answer::Accepted {
        return Err(Stop::Unknown(format!("the switchover is refused: {said:?}")));
    }
    t.measure(STRUCK, 1);
    t.expect("the other node has the address", claims(standby), BACK_LIMIT)?;
    t.let_pass(AFTERWARDS)?;
    wait_for_answers(t)?;
    settle_and_finish(t, clients)
}

/// A pair that isn't in sync again in time has had its clients wait, and may have lost rows, all the
/// same.
fn settle_and_finish(t: &mut Drill, clients: Clients) -> Result<(), Stop> {
    let settled = t.settle_pair(HEAL_LIMIT);
    t.finish_writers(clients, BACK_LIMIT)?;
    settled
}

/// Minutes without an answer are no answer, however late the desk was for a moment.
fn wait_for_answers(t: &mut Drill) -> Result<(), Stop> {
    let begin = Instant::now();
    match t.expect("a row is acknowledged again", answers(), BACK_LIMIT) {
        Err(Stop::Unknown(why)) if begin.elapsed() >= BACK_LIMIT => Err(Stop::Violated(why)),
        other => other.map(drop),
    }
}

fn strike_ours(t: &mut Drill, fault: fn(Node) -> Fault, boots: bool) -> Result<(), Stop> {
    let (primary, _) = t.vip_roles()?;
    let clients = t.start_writers()?;
    t.let_pass(spread(t.seed))?;
    let injected = hit(t, fault(primary))?;
    t.heal(injected)?;
    if boots {
        t.wait_ready(primary)?;
    }
    settle_and_finish(t, clients)
}

fn their_power_cut(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, Node::power_cut, before_repmgr, AFTERWARDS).map(drop)
}

fn their_kill(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, |node| node.kill9("postgres"), before_repmgr, AFTERWARDS).map(drop)
}

fn their_freeze(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, Node::freeze, before_repmgr, TO_KNOW_BETTER).map(drop)
}

fn patronis_power_cut<const ROUND_MS: u64>(t: &mut Drill) -> Result<(), Stop> {
    let struck = strike_theirs(t, Node::power_cut, before_patroni::<ROUND_MS>, AFTERWARDS)?;
    if t.seed.is_multiple_of(ASKED_EVERY) { patroni::wait_until_whole(t, struck) } else { Ok(()) }
}

fn patronis_kill<const ROUND_MS: u64>(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, |node| node.kill9("postgres"), before_patroni::<ROUND_MS>, AFTERWARDS)
        .map(drop)
}

fn patronis_freeze<const ROUND_MS: u64>(t: &mut Drill) -> Result<(), Stop> {
    strike_theirs(t, Node::freeze, before_patroni::<ROUND_MS>, TO_KNOW_BETTER).map(drop)
}

fn before_repmgr(t: &mut Drill, _: Node) -> Result<(), Stop> {
    t.let_pass(spread(t.seed))
}

/// The members of etcd lead in turn. Then a whole round of Patroni passes, since a change of leaders
/// extends the primary's lease, and a part of another, since its phase was saved with the cluster.
fn before_patroni<const ROUND_MS: u64>(t: &mut Drill, primary: Node) -> Result<(), Stop> {
    etcd::take_turns(t, primary)?;
    let part = t.seed.wrapping_mul(GOLDEN_PER_MILLE) % 1000 * ROUND_MS / 1000;
    t.let_pass(Duration::from_millis(ROUND_MS + part))
}

/// Gives whom it struck.
fn strike_theirs(
    t: &mut Drill,
    fault: fn(Node) -> Fault,
    before: fn(&mut Drill, Node) -> Result<(), Stop>,
    before_last_read: Duration,
) -> Result<Node, Stop> {
    let (primary, _) = t.vip_roles()?;
    let clients = t.start_plain_writers()?;
    before(t, primary)?;
    let injected = hit(t, fault(primary))?;
    t.heal(injected)?;
    t.let_pass(before_last_read)?;
    t.finish_writers(clients, BACK_LIMIT)?;
    Ok(primary)
}

fn patronis_switchover<const ROUND_MS: u64>(t: &mut Drill) -> Result<(), Stop> {
    let (primary, _) = t.vip_roles()?;
    let clients = t.start_plain_writers()?;
    before_patroni::<ROUND_MS>(t, primary)?;
    let order = format!("{{\"leader\":\"{}\"}}", t.name(primary));
    // Members that nobody has asked for a while take longer to answer than their leader waits, which
    // then finds no candidate. Whoever orders this orders it again.
    t.post_until_accepted(primary, patroni::PORT, "/switchover", &order, BACK_LIMIT)?;
    t.measure(STRUCK, 1);
    t.mark();
    t.let_pass(AFTERWARDS)?;
    wait_for_answers(t)?;
    t.finish_writers(clients, BACK_LIMIT).map(drop)
}

/// Strikes, and waits until clients are answered again.
fn hit(t: &mut Drill, fault: Fault) -> Result<Injected, Stop> {
    let injected = t.inject(fault)?;
    t.measure(STRUCK, 1);
    t.let_pass(ON_ITS_WAY)?;
    t.mark();
    wait_for_answers(t)?;
    t.let_pass(AFTERWARDS)?;
    Ok(injected)
}
