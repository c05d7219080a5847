//! The load balancer: every front end has servers, and exactly one way of naming them.

use super::{Findings, Rule, repeated, rule};
use crate::section::Seed;

pub(super) const RULES: &[Rule] = &[
    rule(&["balancer"], some_frontend),
    rule(&["balancer"], timers_fit),
    rule(&["balancer", "cluster"], frontends_have_servers),
];

/// HAProxy counts milliseconds with 31 bits, which are some 24 days.
const MAX_TIMER_MS: u64 = 0x7fff_ffff;

fn timers_fit(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(balancer) = &seed.balancer else {
        return;
    };
    let timers = [
        ("connect_timeout", balancer.connect_timeout, "5s"),
        ("idle_timeout", balancer.idle_timeout, "1h"),
        ("check.interval", balancer.check.interval, "2s"),
    ];
    for (key, timer, usual) in timers {
        if !(1..=MAX_TIMER_MS).contains(&timer.milliseconds()) {
            findings.at(
                &format!("balancer.{key}"),
                "a timer of HAProxy lasts from 1 ms to 24 days",
                "does not",
                format!("write for example `{key} = \"{usual}\"`"),
            );
        }
    }
}

fn some_frontend(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(balancer) = &seed.balancer else {
        return;
    };
    if balancer.frontends.is_empty() {
        findings.at(
            "balancer.frontends",
            "a balancer needs something to balance",
            "no front end",
            "add [[balancer.frontends]] with name, port and server_role",
        );
    }
    let names: Vec<_> = balancer.frontends.iter().map(|frontend| &frontend.name).collect();
    for (index, _) in repeated(&names) {
        findings.at(
            &format!("balancer.frontends[{index}].name"),
            format!("two front ends are called \"{}\"", names[index]),
            "named before",
            "give each front end its own name",
        );
    }
}

fn frontends_have_servers(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(balancer) = &seed.balancer else {
        return;
    };
    for (index, frontend) in balancer.frontends.iter().enumerate() {
        let path = format!("balancer.frontends[{index}]");
        match (frontend.server_role, frontend.servers.is_empty()) {
            (None, true) => findings.at(
                &path,
                "a front end needs servers",
                "has neither `server_role` nor `servers`",
                "add `server_role = \"server\"`, or [[balancer.frontends.servers]]",
            ),
            (Some(_), false) => findings.at(
                &format!("{path}.server_role"),
                "a front end names its servers by role or by list",
                "there is a list of `servers` too",
                "keep one of the two",
            ),
            (Some(role), true) if seed.cluster.with_role(role).count() == 0 => findings.at(
                &format!("{path}.server_role"),
                "a front end needs servers",
                format!("no node has the role \"{role}\""),
                "correct the role, or list `servers`",
            ),
            _ => {}
        }
        let names: Vec<_> = frontend.servers.iter().map(|server| &server.name).collect();
        for (position, _) in repeated(&names) {
            findings.at(
                &format!("{path}.servers[{position}].name"),
                format!("two servers are called \"{}\"", names[position]),
                "named before",
                "give each server its own name",
            );
        }
    }
}
