//! A pair: two keepers, two real PostgreSQL 17, and a client that writes all the time.
//!
//! Both nodes are on this machine, in a network namespace of the test's own. The judge is the
//! client's ledger: whatever was acknowledged is there in the end, and after each fault the next
//! write is acknowledged within a bound. The gaps are in the test's output.
//!
//! This program is also the keeper and the witness: called with their words it is `pgkeeper`.

mod client;
mod namespace;
mod site;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../../../rootfs/pgkeeper/tests/support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use client::Writer;
use control::{Answer, PgRequest};
use pgkeeper::keeper::gateways::Gateways;
use site::{Arbiter, Site};

/// A failover takes a second on a machine that has time. This is for one that has none: beyond it
/// something waits that should not.
const BOUND: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    if ["run", "witness"].contains(&word.as_str()) {
        return pgkeeper::cli::main();
    }
    // Before the namespace: there is no network in it to fetch anything from.
    let programs = site::Programs::obtain();
    if let Err(why) = namespace::enter() {
        println!("skipped: no network namespace can be made: {why}");
        let on_ci = std::env::var_os("CI").is_some();
        return if on_ci { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    a_gateway_answers();
    for (name, arbiter) in [("policy", Arbiter::Policy), ("witness", Arbiter::Witness)] {
        if word.is_empty() || word.starts_with('-') || name.contains(&word) {
            println!("test a_pair_survives_with_{name} ...");
            let begin = Instant::now();
            survives(&programs, arbiter);
            println!("test a_pair_survives_with_{name} ... ok, {:?}", begin.elapsed());
        }
    }
    ExitCode::SUCCESS
}

/// The loopback is a gateway that is always there; echo requests need no privilege.
fn a_gateway_answers() {
    let mut gateways = Gateways::new(7);
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        gateways.set(&[address]).expect("it can be asked");
        let limit = Duration::from_mins(1);
        gateways.ask(sys::clock::boot());
        support::until("the gateway answers", || gateways.hear(sys::clock::boot(), limit));
        gateways.ask(sys::clock::boot());
        std::thread::sleep(Duration::from_millis(2));
        let late = gateways.hear(sys::clock::boot(), Duration::ZERO);
        assert!(!late, "an answer that took too long doesn't count");
    }
    println!("test a_gateway_answers ... ok");
}

/// One life of a pair, from nothing to its end in good order.
fn survives(programs: &site::Programs, arbiter: Arbiter) {
    let mut site = Site::new(programs, arbiter);
    site.start(0);
    site.start(1);
    site.await_state(0, "primary, in sync");
    site.await_state(1, "standby, in sync");
    let writer = Writer::start(&site);
    writer.await_more(20);

    println!("  the leader's keeper is killed");
    let gap = writer.gap_of(|| site.kill(0));
    println!("  next acknowledged write after {gap:?}");
    assert!(gap < BOUND, "{gap:?}");
    site.await_no_postgres(0);
    site.start(0);
    site.await_state(0, "standby, in sync");
    site.await_state(1, "primary, in sync");

    println!("  the leader is asked to end");
    let gap = writer.gap_of(|| site.end(1));
    println!("  next acknowledged write after {gap:?}");
    assert!(gap < BOUND, "{gap:?}");
    site.start(1);
    site.await_state(1, "standby, in sync");
    site.await_state(0, "primary, in sync");

    println!("  a switchover is ordered");
    let gap = writer.gap_of(|| {
        let answer = site.order(0, PgRequest::Switchover);
        assert_eq!(answer, Answer::Accepted);
        site.await_state(1, "primary, alone");
    });
    println!("  next acknowledged write after {gap:?}");
    assert!(gap < BOUND, "{gap:?}");
    site.await_state(0, "standby, in sync");
    site.await_state(1, "primary, in sync");

    println!("  the leader and its PostgreSQL stand still");
    let gap = writer.gap_of(|| site.pause(1));
    println!("  next acknowledged write after {gap:?}");
    assert!(gap < BOUND, "{gap:?}");
    writer.await_more(20);
    site.go_on(1);
    site.await_state(1, "standby, in sync");
    site.await_state(0, "primary, in sync");
    let said = site.refusal(1);
    assert!(said.contains("not accepting connections on this node"), "{said}");

    let acknowledged = writer.end();
    let found = site.rows();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "{} acknowledged rows are gone: {lost:?}", lost.len());
    println!("  {} acknowledged rows, none lost; {} found", acknowledged.len(), found.len());
    site.end(0);
    site.end(1);
}
