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
#[path = "../../../rootfs/pgkeeper/tests/support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use client::Writer;
use control::{Answer, PgRequest};
use pgkeeper::keeper::gateways::Gateways;
use site::{Arbiter, Site};

/// A failover takes a second on a machine that has time. This is for one that has none: beyond it
/// something waits that should not.
const BOUND: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, _, ..] = &words[..]
        && ["run", "witness"].contains(&word.as_str())
    {
        return pgkeeper::cli::main();
    }
    // Before the namespace: there is no network in it to fetch anything from.
    let programs = site::Programs::obtain();
    if let Err(why) = namespace::enter() {
        println!("skipped: no network namespace can be made: {why}");
        let on_ci = std::env::var_os("CI").is_some();
        return if on_ci { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let tests: [(&str, &(dyn Fn() + Sync)); 3] = [
        ("a_gateway_answers", &a_gateway_answers),
        ("a_pair_survives_by_policy", &|| survives(&programs, Arbiter::Policy)),
        ("a_pair_survives_with_a_witness", &|| survives(&programs, Arbiter::Witness)),
    ];
    let filter = words.iter().find(|word| !word.starts_with('-'));
    let wanted = |name: &str| filter.is_none_or(|word| name.contains(word.as_str()));
    // At a time: both pairs mostly wait for the protocol's holds.
    let passed = std::thread::scope(|scope| {
        let threads: Vec<_> = tests
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, test)| (name, scope.spawn(test)))
            .collect();
        let mut passed = true;
        for (name, thread) in threads {
            let ok = thread.join().is_ok();
            println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
            passed &= ok;
        }
        passed
    });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The loopback is a gateway that is always there; echo requests need no privilege.
fn a_gateway_answers() {
    let mut gateways = Gateways::new(7);
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        gateways.set(&[(address, 0).into()]).expect("it can be asked");
        let limit = Duration::from_mins(1);
        gateways.ask(sys::clock::boot());
        support::until("the gateway answers", || gateways.hear(sys::clock::boot(), limit));
        gateways.ask(sys::clock::boot());
        std::thread::sleep(Duration::from_millis(2));
        let late = gateways.hear(sys::clock::boot(), Duration::ZERO);
        assert!(!late, "an answer that took too long doesn't count");
    }
}

/// One life of a pair, from nothing to its end in good order.
fn survives(programs: &site::Programs, arbiter: Arbiter) {
    let mut site = Site::in_sync(programs, arbiter);
    let tell = |what: &str, gap: Duration| {
        println!("  {arbiter:?}: {what}; next acknowledged write after {gap:?}");
        assert!(gap < BOUND, "{what}: {gap:?}");
    };
    let writer = Writer::start(&site);
    writer.await_more(20);

    tell("the leader's keeper is killed", writer.gap_of(|| site.kill(0)));
    site.await_no_postgres(0);
    site.start(0);
    site.await_state(0, "standby, in sync");
    site.await_state(1, "primary, in sync");

    tell("the leader is asked to end", writer.gap_of(|| site.end(1)));
    site.start(1);
    site.await_state(1, "standby, in sync");
    site.await_state(0, "primary, in sync");

    let gap = writer.gap_of(|| {
        site.forget(1);
        assert_eq!(site.order(0, PgRequest::Switchover), Answer::Accepted);
        // Not as its last state: its standby may be in sync again before anybody looks.
        support::until("the other node leads", || {
            site.said_alive(1).lines().any(|line| line.starts_with("primary, alone, was "))
        });
    });
    tell("a switchover is ordered", gap);
    site.await_state(0, "standby, in sync");
    site.await_state(1, "primary, in sync");

    tell("the leader and its PostgreSQL stand still", writer.gap_of(|| site.pause(1)));
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
    println!("  {arbiter:?}: {} rows were acknowledged, none is lost", acknowledged.len());
    site.end(0);
    site.end(1);
}
