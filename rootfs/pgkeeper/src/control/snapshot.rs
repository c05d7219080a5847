//! What the core knows, in the words of `nodectl`. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use ::control::{ChannelStatus, DatabaseStatus, PeerStatus, WitnessStatus};
use failover::{Arbiter, Heartbeat, Lsn, Policy, Side, State, Status};

use crate::gate;

/// What the core doesn't know: names. Constant for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The nodes of the pair: side A, side B.
    pub nodes: [String; 2],
    /// Which of the two this one is.
    pub side: Side,
    /// The channels, in the order of their numbers.
    pub channels: Vec<String>,
    /// Where the witness is, if there is one.
    pub witness: Option<String>,
    /// Who decides.
    pub arbiter: Arbiter,
}

impl Names {
    fn of(&self, side: Side) -> String {
        let [a, b] = &self.nodes;
        if side == Side::A { a.clone() } else { b.clone() }
    }
}

/// The word for a state.
pub fn role(state: State) -> &'static str {
    match state {
        State::Boot => "booting",
        State::Rendezvous => "looking-for-peer",
        State::PSync => "primary",
        State::PBlocked => "blocked",
        State::PSolo => "solo",
        State::HandOver => "handing-over",
        State::SSync => "standby",
        State::SCatchUp => "catching-up",
        State::SStale => "stale",
        State::Candidate => "candidate",
        State::Promoting => "promoting",
        State::Fenced => "fenced",
        State::Rewind => "rewinding",
        State::Reclone => "cloning",
    }
}

/// The status at one moment. `trouble` are sentences about what is wrong beyond the protocol, such
/// as why the witness can't be asked; they are shown as they are.
pub fn snapshot(
    status: &Status,
    names: &Names,
    gate: Option<&gate::Status>,
    trouble: &[String],
) -> DatabaseStatus {
    let config = status.record.config;
    let mut notes = notes(status);
    notes.extend_from_slice(trouble);
    DatabaseStatus {
        node: names.of(names.side),
        role: role(status.state).to_owned(),
        for_ms: milliseconds(status.in_state_for),
        epoch: config.epoch.0,
        primary: config.exists().then(|| names.of(config.leader)),
        in_sync: in_sync(status.state),
        lag_bytes: lag(status),
        gate_open: status.serving,
        sessions: gate.map(|gate| u64::try_from(gate.sessions).unwrap_or(u64::MAX)),
        maintenance: status.maintenance,
        lsn: lsn(status.lsn),
        peer: Some(peer(status, names)),
        arbiter: arbiter(names.arbiter).to_owned(),
        witness: names.witness.as_ref().map(|address| WitnessStatus {
            address: address.clone(),
            answered_ms: status.witness_age.map(milliseconds),
            because: None,
        }),
        gate_counters: gate.map(counters).unwrap_or_default(),
        notes,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As PostgreSQL writes it.
fn lsn(lsn: Lsn) -> String {
    format!("{:X}/{:X}", lsn.0 >> 32, lsn.0 & 0xffff_ffff)
}

fn in_sync(state: State) -> Option<bool> {
    match state {
        State::PSync | State::SSync => Some(true),
        State::PSolo | State::SCatchUp | State::SStale | State::Rewind | State::Reclone => {
            Some(false)
        }
        State::Boot
        | State::Rendezvous
        | State::PBlocked
        | State::HandOver
        | State::Candidate
        | State::Promoting
        | State::Fenced => None,
    }
}

/// How far the standby is behind, as the side that this is can know it.
fn lag(status: &Status) -> Option<u64> {
    if status.state.is_primary() {
        return status.peer_lsn.map(|peer| status.lsn.0.saturating_sub(peer.0));
    }
    let leads = |peer: &&Heartbeat| peer.state.is_primary();
    status.peer.as_ref().filter(leads).map(|peer| peer.lsn.0.saturating_sub(status.lsn.0))
}

fn peer(status: &Status, names: &Names) -> PeerStatus {
    let heard = |channel: usize| {
        u32::try_from(channel)
            .is_ok_and(|bit| status.hears & 1_u8.checked_shl(bit).unwrap_or(0) != 0)
    };
    PeerStatus {
        node: names.of(names.side.peer()),
        role: status.peer.map(|heartbeat| role(heartbeat.state).to_owned()),
        contact_ms: status.contact_age.map(milliseconds),
        channels: names
            .channels
            .iter()
            .enumerate()
            .map(|(at, name)| ChannelStatus { name: name.clone(), heard: heard(at) })
            .collect(),
    }
}

fn arbiter(arbiter: Arbiter) -> &'static str {
    match arbiter {
        Arbiter::Witness => "witness",
        Arbiter::Fence => "fence",
        Arbiter::Policy(Policy::Consistency) => "consistency",
        Arbiter::Policy(Policy::PrimaryBiased) => "primary-biased",
        Arbiter::Policy(Policy::StandbyBiased) => "standby-biased",
        Arbiter::Policy(Policy::Availability) => "availability",
    }
}

fn counters(gate: &gate::Status) -> BTreeMap<String, u64> {
    let counts = gate.counts;
    [
        ("accepted", counts.accepted),
        ("turned_away", counts.turned_away),
        ("refused_greetings", counts.refused_greetings),
        ("refused_log_ins", counts.refused_log_ins),
        ("refused_closed", counts.refused_closed),
        ("refused_full", counts.refused_full),
        ("refused_no_backend", counts.refused_no_backend),
        ("swallowed_cancels", counts.swallowed_cancels),
        ("sessions", counts.sessions),
        ("cut", counts.cut),
        ("bytes_in", counts.bytes_in),
        ("bytes_out", counts.bytes_out),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into()
}

/// What a person would ask next, with the mend.
fn notes(status: &Status) -> Vec<String> {
    let mut notes = Vec::new();
    if status.maintenance {
        notes.push("no automatic failover: `nodectl pg maintenance off` ends it".to_owned());
    }
    let why = match status.state {
        State::PBlocked => "commits wait for the standby, which isn't there or not far enough",
        State::PSolo => "there is no second copy of what is written now",
        State::SStale => "it was in sync and gave that up; it follows when a leader is there",
        State::Fenced => "it may not serve, and waits for a leader that it can follow",
        State::Rendezvous => "it looks for its peer and the witness before it serves",
        _ => return notes,
    };
    notes.push(why.to_owned());
    notes
}

#[cfg(test)]
mod tests;
