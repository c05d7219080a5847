//! The PostgreSQL pair, its failover, Patroni, and etcd's timers.

use std::net::IpAddr;

use super::{Findings, Rule, repeated, rule};
use crate::scalar::{Destination, can_be_reached};
use crate::section::{Permit, Policy, Role, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["database", "vips", "node"], primary_can_be_found),
    rule(&["database"], users_are_distinct),
    rule(&["database"], settings_are_free),
    rule(&["database"], the_database_is_our_own),
    rule(&["database"], sizes_are_possible),
    rule(&["failover"], heartbeat_has_margin),
    rule(&["failover", "cluster"], witness_is_a_third),
    rule(&["failover"], fence_is_a_program),
    rule(&["failover", "links", "vips"], gateways_are_others),
    rule(&["failover", "links", "routes"], somebody_is_beyond_the_switch),
    rule(&["patroni"], patroni_timers),
    rule(&["patroni", "cluster", "node"], patroni_has_etcd),
    rule(&["etcd"], etcd_timers),
];

/// Settings that pgkeeper, or Patroni, writes itself: another value breaks safety, not taste.
const KEPT_SETTINGS: &[&str] = &[
    "archive_command",
    "archive_mode",
    "cluster_name",
    "data_directory",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "max_connections",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_target_timeline",
    "restore_command",
    "shared_buffers",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_key_file",
    "synchronous_commit",
    "synchronous_standby_names",
    "unix_socket_directories",
    "wal_level",
    "wal_log_hints",
];

/// PostgreSQL's bounds: sixteen blocks, and as many as it can count.
const LEAST_SHARED_BUFFERS: u64 = 128 << 10;
const MAX_SHARED_BUFFERS: u64 = 8 << 40;
/// Roles that PostgreSQL, or the peer, already has, and those that PostgreSQL makes none of, quoted or
/// not; `pgkeeper` lets no client be one of the first two.
const KEPT_ROLES: [&str; 4] = ["postgres", "replication", "public", "none"];
/// Databases that are there from the start, and can't be used like others.
const KEPT_DATABASES: [&str; 2] = ["template0", "template1"];
/// A heartbeat may get lost; the peer is not. So the limit spans several of them. `pgkeeper` has the
/// same bounds.
const LEAST_HEARTBEATS_IN_LOSS: u64 = 5;
const LEAST_INTERVAL_MS: u64 = 20;
const LONGEST_LOSS_MS: u64 = 60_000;
/// Patroni refuses a smaller ttl.
const LEAST_PATRONI_TTL_MS: u64 = 20_000;
/// etcd refuses an election timeout of fewer heartbeats.
const LEAST_HEARTBEATS_IN_ELECTION: u64 = 5;

fn primary_can_be_found(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let member = seed.node.roles.contains(&Role::Database) && seed.database.is_some();
    if member && !seed.vips.iter().any(|vip| vip.permit == Permit::Database) {
        findings.at(
            "database",
            "clients find the primary by a VIP that follows it",
            "no VIP has `permit = \"database\"`",
            "add [[vips]] with `permit = \"database\"`",
        );
    }
}

fn users_are_distinct(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(database) = &seed.database else {
        return;
    };
    if database.users.is_empty() {
        findings.at(
            "database",
            "a database that nobody may log in to is of no use",
            "no [[database.users]]",
            "add [[database.users]] with `name = \"k3s\"` and `clients = [\"k3s\"]`",
        );
    }
    let names: Vec<_> = database.users.iter().map(|user| &user.name).collect();
    for (index, _) in repeated(&names) {
        findings.at(
            &format!("database.users[{index}].name"),
            format!("two database users are called \"{}\"", names[index]),
            "named before",
            "put all clients of a user into one list",
        );
    }
    for (index, name) in names.iter().enumerate() {
        if KEPT_ROLES.contains(&name.as_str()) {
            findings.at(
                &format!("database.users[{index}].name"),
                format!("the role \"{name}\" is kept by the node or by PostgreSQL"),
                "no client can log in as it",
                "choose another name, such as \"k3s\"",
            );
        }
    }
    let mut seen = Vec::new();
    for (index, user) in database.users.iter().enumerate() {
        for (position, client) in user.clients.iter().enumerate() {
            if seen.contains(&client) {
                findings.at(
                    &format!("database.users[{index}].clients[{position}]"),
                    format!("the client certificate \"{client}\" logs in as one user only"),
                    "named before",
                    "give the second user a client certificate of its own",
                );
            }
            seen.push(client);
        }
    }
}

fn the_database_is_our_own(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let name = seed.database.as_ref().map(|database| database.name.as_str());
    if let Some(name) = name.filter(|name| KEPT_DATABASES.contains(name)) {
        findings.at(
            "database.name",
            format!("PostgreSQL makes new databases from \"{name}\""),
            "is there already, and is no place for data",
            "choose another name, such as \"kubernetes\"",
        );
    }
}

fn sizes_are_possible(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(database) = &seed.database else {
        return;
    };
    if !(LEAST_SHARED_BUFFERS..MAX_SHARED_BUFFERS).contains(&database.shared_buffers.get()) {
        findings.at(
            "database.shared_buffers",
            "PostgreSQL's cache has 128 KiB at least, and less than 8 TiB",
            "PostgreSQL would not start",
            "write for example `shared_buffers = \"128MiB\"`",
        );
    }
    if database.backup.as_ref().is_some_and(|backup| backup.every.milliseconds() < 1000) {
        findings.at(
            "database.backup.every",
            "between two base backups is some time",
            "is less than a second",
            "write for example `every = \"1d\"`",
        );
    }
}

fn settings_are_free(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(database) = &seed.database else {
        return;
    };
    for name in database.settings.keys() {
        let path = format!("database.settings.{name}");
        if KEPT_SETTINGS.contains(&name.as_str()) {
            findings.at(
                &path,
                format!("the setting {name} is kept by the node itself"),
                "another value could lose data or cut off the peer",
                match name.as_str() {
                    "port" | "max_connections" | "shared_buffers" => {
                        format!("write `{name}` in [database] itself")
                    }
                    "synchronous_commit" => "use `synchronous` in [database]".to_owned(),
                    _ => "remove it".to_owned(),
                },
            );
        } else if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b))
        {
            findings.at(
                &path,
                "a setting's name consists of a-z, 0-9, '_' and '.'",
                "is no such name",
                "write it as in postgresql.conf",
            );
        }
    }
}

fn heartbeat_has_margin(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(failover) = &seed.failover else {
        return;
    };
    let (interval, loss) =
        (failover.heartbeat.interval.milliseconds(), failover.heartbeat.loss.milliseconds());
    let mend = "write for example `interval = \"100ms\"` and `loss = \"500ms\"`";
    if interval < LEAST_INTERVAL_MS || loss > LONGEST_LOSS_MS {
        findings.at(
            "failover.heartbeat",
            "the pair must notice a death in time, and not be busy with looking for one",
            format!(
                "`interval` is {LEAST_INTERVAL_MS} ms at least, `loss` {} s at most",
                LONGEST_LOSS_MS / 1000
            ),
            mend,
        );
    } else if loss < interval.saturating_mul(LEAST_HEARTBEATS_IN_LOSS) {
        findings.at(
            "failover.heartbeat",
            "one lost heartbeat must not look like a dead peer",
            format!("`loss` is less than {LEAST_HEARTBEATS_IN_LOSS} times `interval`"),
            mend,
        );
    }
}

fn witness_is_a_third(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(witness) = seed.failover.as_ref().and_then(|failover| failover.witness.as_ref())
    else {
        return;
    };
    let host = witness.address.as_str();
    let address = host.parse().ok();
    let member = seed.cluster.with_role(Role::Database).find(|node| {
        node.name.as_str() == host || address.is_some_and(|ip| node.addresses.contains(&ip))
    });
    if let Some(member) = member {
        findings.at(
            "failover.witness.address",
            "the witness must outlive either node of the pair",
            format!("is \"{}\", a node of the pair", member.name),
            "name a third machine, or remove the witness",
        );
    }
}

fn gateways_are_others(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(failover) = &seed.failover else {
        return;
    };
    for (index, gateway) in failover.gateways.iter().enumerate() {
        let of_links = seed.links.iter().flat_map(|link| &link.addresses);
        let of_vips = seed.vips.iter().flat_map(|vip| &vip.addresses);
        let why = if of_links.into_iter().any(|own| own.address() == *gateway) {
            "is an address of this node"
        } else if of_vips.into_iter().any(|own| own.address() == *gateway) {
            "is a virtual address, which answers itself wherever it is"
        } else if can_be_reached(*gateway) {
            ""
        } else {
            "is no other machine's address"
        };
        if !why.is_empty() {
            findings.at(
                &format!("failover.gateways[{index}]"),
                "asking oneself proves no connection",
                why,
                "name the router or another address beyond the switch",
            );
        }
        if matches!(gateway, IpAddr::V6(six) if six.is_unicast_link_local()) {
            findings.at(
                &format!("failover.gateways[{index}]"),
                "the address is another machine's on every link",
                "is known on one link only",
                "name another of its addresses, or none: the routers of default routes are asked",
            );
        }
    }
}

fn fence_is_a_program(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let program = seed.failover.as_ref().and_then(|failover| failover.fence.first());
    if program.is_some_and(|program| !program.as_str().starts_with('/')) {
        findings.at(
            "failover.fence[0]",
            "a fence begins with the program's whole path",
            "does not begin with '/'",
            "write it like `fence = [\"/usr/bin/ipmitool\", \"chassis\", \"power\", \"off\"]`",
        );
    }
}

/// Without a witness a node goes on alone only while it reaches a gateway: otherwise it may be the one
/// that is cut off. Where there is none to reach, nobody ever goes on.
fn somebody_is_beyond_the_switch(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(failover) = &seed.failover else { return };
    let by_policy = failover.policy == Some(Policy::Availability) && failover.witness.is_none();
    let advertised = seed.links.iter().any(|link| link.accept_router_advertisements);
    let routed = seed.routes.iter().any(|route| route.to == Destination::Default);
    if by_policy && failover.gateways.is_empty() && !routed && !advertised {
        findings.at(
            "failover.policy",
            "a node goes on alone only while it reaches a gateway",
            "has no gateway to ask",
            "add `gateways = [\"192.0.2.1\"]` with the router's address, or a default route",
        );
    }
}

fn patroni_timers(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(patroni) = &seed.patroni else { return };
    let timers = [
        ("ttl", patroni.ttl),
        ("loop_wait", patroni.loop_wait),
        ("retry_timeout", patroni.retry_timeout),
    ];
    for (key, timer) in timers {
        if timer.milliseconds() == 0 || !timer.milliseconds().is_multiple_of(1000) {
            findings.at(
                &format!("patroni.{key}"),
                "Patroni counts whole seconds",
                "is not whole seconds",
                format!("write `{key} = \"10s\"`"),
            );
            return;
        }
    }
    let ttl = patroni.ttl.milliseconds();
    if ttl < LEAST_PATRONI_TTL_MS {
        findings.at(
            "patroni.ttl",
            "Patroni's leader lock lasts at least 20s",
            "is shorter",
            "write `ttl = \"20s\"` or more",
        );
        return;
    }
    let cycle = patroni.loop_wait.milliseconds() + 2 * patroni.retry_timeout.milliseconds();
    if cycle > ttl {
        findings.at(
            "patroni.ttl",
            "a leader must be able to renew its lock in time",
            "is less than loop_wait + 2 × retry_timeout",
            format!("write `ttl = \"{}s\"` or more", cycle / 1000),
        );
    }
}

fn patroni_has_etcd(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(patroni) = &seed.patroni else { return };
    if patroni.etcd.is_empty() && seed.cluster.with_role(Role::Etcd).count() == 0 {
        findings.at(
            "patroni",
            "Patroni keeps its state in etcd",
            "there is no etcd",
            "give three nodes the role \"etcd\", or name addresses in `patroni.etcd`",
        );
    }
}

fn etcd_timers(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(etcd) = &seed.etcd else { return };
    let (heartbeat, election) = (etcd.heartbeat.milliseconds(), etcd.election.milliseconds());
    if heartbeat == 0 || election < heartbeat.saturating_mul(LEAST_HEARTBEATS_IN_ELECTION) {
        findings.at(
            "etcd.election",
            "an election of etcd takes at least five heartbeats",
            format!("`election` is less than five times `heartbeat` ({})", etcd.heartbeat),
            format!("write `election = \"{}ms\"` or more", heartbeat.max(1).saturating_mul(10)),
        );
    }
}
