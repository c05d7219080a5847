//! The judge: what must never be seen, and what was seen at times.

use failover::{
    Arbiter, Configuration, Epoch, Heartbeat, Input, Members, PgCommand, Policy, Record, Side,
    State,
};

use crate::plan::{Micros, micros};
use crate::world::World;

/// An invariant that didn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one: `I1` to `I13`.
    pub invariant: &'static str,
    /// When, in microseconds of the world's time.
    pub at: Micros,
    /// What was seen.
    pub text: String,
}

/// What the judge remembers of a history.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Excuses and states of mind, each for itself.
pub(crate) struct Judge {
    pub(crate) violation: Option<Violation>,
    /// Acknowledged commits: WAL place and serial number.
    pub(crate) acked: Vec<(usize, u32)>,
    /// What clients have read, whether or not it was acknowledged.
    seen: Vec<(usize, u32)>,
    /// Configurations that came into force.
    configs: Vec<Configuration>,
    epochs: [Epoch; 2],
    pub(crate) acks: u64,
    /// When a client was last told of a commit, and the longest time between two.
    pub(crate) last_ack: Option<Micros>,
    pub(crate) longest_silence: Micros,
    pub(crate) syncs: u64,
    pub(crate) lost: u64,
    pub(crate) only_copies_lost: u64,
    pub(crate) diverged: u64,
    /// The policy `availability` acted although the peer was alive and could act as well.
    pub(crate) policy_lies: bool,
    /// Steps during which a leader of yesterday still had its gate open.
    pub(crate) stale_gates: u64,
    pub(crate) forced: bool,
    /// After a forced promotion the other side still served clients.
    pub(crate) split_by_operator: bool,
    /// A node lost its memory.
    pub(crate) memory_lost: bool,
    pub(crate) moves: [[u64; Input::ALL.len()]; State::ALL.len()],
    pub(crate) sources: [u64; 6],
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            violation: None,
            acked: Vec::new(),
            seen: Vec::new(),
            configs: Vec::new(),
            epochs: [Epoch::NONE; 2],
            acks: 0,
            last_ack: None,
            longest_silence: 0,
            syncs: 0,
            lost: 0,
            only_copies_lost: 0,
            diverged: 0,
            policy_lies: false,
            stale_gates: 0,
            forced: false,
            split_by_operator: false,
            memory_lost: false,
            moves: [[0; Input::ALL.len()]; State::ALL.len()],
            sources: [0; 6],
        }
    }
}

impl Judge {
    pub(crate) fn violate(
        &mut self,
        invariant: &'static str,
        at: Micros,
        text: impl FnOnce() -> String,
    ) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, at, text: text() });
        }
    }

    /// Losses that the operator or the policy has accepted beforehand.
    fn excused(&self) -> bool {
        self.policy_lies || self.forced
    }

    /// A client is told of a commit.
    pub(crate) fn acknowledged(&mut self, place: usize, serial: u32, at: Micros) {
        self.acked.push((place, serial));
        self.acks += 1;
        let silence = self.last_ack.map_or(0, |last| at - last);
        self.longest_silence = self.longest_silence.max(silence);
        self.last_ack = Some(at);
    }

    /// A configuration came into force.
    pub(crate) fn chosen(&mut self, config: Configuration) {
        if !self.configs.contains(&config) {
            self.configs.push(config);
        }
    }

    /// A record is on disk; `None` is one that can't be read any more.
    pub(crate) fn written(&mut self, side: Side, record: Option<Record>, at: Micros) {
        let Some(record) = record else {
            self.epochs[side.index()] = Epoch::NONE;
            return;
        };
        let before = self.epochs[side.index()];
        let config = record.config;
        if config.epoch < before {
            self.violate("I6", at, || format!("{side:?} went from {before:?} to {config}"));
        }
        self.epochs[side.index()] = config.epoch;
        let same_epoch = |known: &&Configuration| known.epoch == config.epoch;
        if let Some(known) = self.configs.iter().find(same_epoch).copied()
            && known != config
        {
            self.violate("I3", at, || format!("{known} and {config}"));
        }
        if config.led_by(side) && record.voter {
            self.successor(side, config, at);
            self.chosen(config);
        }
    }

    /// A leader acts on a configuration: its base must have had it as a member, and nobody else
    /// may act on a successor of the same base.
    fn successor(&mut self, side: Side, config: Configuration, at: Micros) {
        let excused = self.excused();
        let base = self.configs.iter().find(|known| known.epoch == config.base).copied();
        let member = config.base == Epoch::NONE || base.is_some_and(|base| base.has_member(side));
        if !member && !excused {
            self.violate("I5", at, || format!("{side:?} leads {config}, whose base is {base:?}"));
        }
        let rival = self.configs.iter().find(|known| {
            known.base == config.base && known.leader != config.leader && known.exists()
        });
        if let Some(rival) = rival.copied()
            && !excused
        {
            self.violate("I5", at, || format!("{config}, and {rival}: one base"));
        }
    }

    /// A client has read what is visible.
    pub(crate) fn reads(&mut self, wal: &[u32], visible: usize) {
        let known = self.seen.last().map_or(0, |(place, _)| place + 1);
        let fresh = wal.iter().enumerate().take(visible).skip(known);
        self.seen.extend(fresh.map(|(place, serial)| (place, *serial)));
    }

    /// Kine's revision was moved: clients take nothing old for current any more.
    pub(crate) fn revision_moved(&mut self, wal: &[u32]) {
        self.seen.retain(|(place, serial)| wal.get(*place) == Some(serial));
    }

    /// Nobody remembers anything: whatever comes now is a new pair.
    pub(crate) fn forget(&mut self) {
        self.configs.clear();
    }

    /// What a lost node decided alone is gone with it, if policy or operator go on nevertheless.
    pub(crate) fn forget_alone(&mut self, side: Side, known: Epoch) {
        self.configs.retain(|config| !config.led_by(side) || config.epoch <= known);
    }

    /// The highest epoch that came into force.
    pub(crate) fn newest(&self) -> Epoch {
        self.configs.iter().map(|config| config.epoch).max().unwrap_or_default()
    }

    /// A disk is gone: what only it had can't be asked for any more.
    pub(crate) fn disk_lost(&mut self, other: &[u32]) {
        let before = self.acked.len();
        self.acked.retain(|(place, serial)| other.get(*place) == Some(serial));
        self.seen.retain(|(place, serial)| other.get(*place) == Some(serial));
        self.only_copies_lost += (before - self.acked.len()) as u64;
    }

    /// Clients are let in: everything that was ever promised must be here.
    fn leader_has_all(&mut self, side: Side, wal: &[u32], at: Micros) {
        let missing = |(place, serial): &&(usize, u32)| wal.get(*place) != Some(serial);
        let lost = self.acked.iter().filter(missing).count();
        let unseen = self.seen.iter().filter(missing).count();
        if lost > 0 && !self.excused() {
            self.violate("I1", at, || {
                format!("{side:?} leads without {lost} acknowledged commits")
            });
        }
        // What a forced promotion loses is moved out of sight by the revision fence, which only
        // a policy's mistake goes without.
        if unseen > 0 && !self.policy_lies && !self.split_by_operator {
            self.violate("I7", at, || {
                format!("{side:?} leads without {unseen} rows that were read")
            });
        }
        self.lost += lost as u64;
        self.acked.retain(|(place, serial)| wal.get(*place) == Some(serial));
        self.seen.retain(|(place, serial)| wal.get(*place) == Some(serial));
    }
}

impl World {
    pub(crate) fn judge_leader(&mut self, side: Side) {
        let stale = self.is_stale(side);
        self.judge.split_by_operator |= self.judge.forced && stale;
        // A leader of yesterday that stood still may open its gate for a moment. It can't
        // acknowledge, and soon learns; `judge_stale` holds it to that.
        if !(stale && self.machine(side).pg.waits()) {
            let wal = std::mem::take(&mut self.machine_mut(side).pg.wal);
            self.judge.leader_has_all(side, &wal, self.now);
            self.machine_mut(side).pg.wal = wal;
        }
        let machine = self.machine(side);
        let leads = machine.durable.is_some_and(|record| {
            record.config.led_by(side) && Some(record.config.epoch) == machine.gate
        });
        if !leads {
            self.judge.violate("I6", self.now, || format!("{side:?} opens its gate too early"));
        }
        self.judge_lone(side);
    }

    /// A node that has met nobody since it booted leads only what it led alone before.
    fn judge_lone(&mut self, side: Side) {
        let machine = self.machine(side);
        let led = machine.booted_as.is_some_and(|record| {
            let alone = record.config.members == Members::Leader;
            let biased = self.plan.arbiter == Arbiter::Policy(Policy::PrimaryBiased);
            record.config.led_by(side) && (alone || biased)
        });
        if !machine.met && !led && !self.judge.forced {
            self.judge.violate("I9", self.now, || format!("{side:?} booted alone and serves"));
        }
    }

    /// A fence that was begun in silence doesn't hit the leader that its owner has agreed to since.
    pub(crate) fn judge_fence(&mut self, side: Side) {
        let config = |side: Side| self.machine(side).durable.map(|record| record.config);
        let agreed = config(side).is_some_and(|own| {
            let alone = own.led_by(side.peer()) && own.members == Members::Leader;
            alone && config(side.peer()) == Some(own)
        });
        if agreed {
            self.judge.violate("I13", self.now, || format!("{side:?} fences its only leader"));
        }
    }

    pub(crate) fn judge_permit(&mut self, side: Side, epoch: Epoch) {
        let machine = self.machine(side);
        let led = machine
            .durable
            .is_some_and(|record| record.config.led_by(side) && record.config.epoch == epoch);
        if machine.gate.is_none() || !led || !machine.pg.is_primary() {
            self.judge.violate("I4", self.now, || format!("{side:?} permits without serving"));
        }
    }

    /// The peer acts on a newer configuration than this node knows.
    fn is_stale(&self, side: Side) -> bool {
        let epoch = self.machine(side).durable.map(|record| record.config.epoch);
        epoch.unwrap_or_default() < self.judge.newest()
    }

    /// A leader of yesterday closes its gate within the time that it takes to notice.
    fn judge_stale(&mut self, side: Side) {
        let times = &self.plan.times;
        let bound = times.loss + times.blocked_grace + times.heartbeat * 3;
        let bound = micros(bound);
        let stale = self.machine(side).gate.is_some() && self.is_stale(side);
        let now = self.now;
        let machine = self.machine_mut(side);
        let local = machine.clock.local(now);
        if !stale {
            machine.stale_since = None;
            return;
        }
        let since = *machine.stale_since.get_or_insert(local);
        let solo = !machine.pg.waits();
        if local.saturating_sub(since) > bound && !self.judge.excused() && !solo {
            self.judge.violate("I10", now, || format!("{side:?} shows old data for too long"));
        }
        self.judge.stale_gates += 1;
    }

    /// What must hold after every step of a node.
    pub(crate) fn judge_node(&mut self, side: Side) {
        self.judge_stale(side);
        let machine = self.machine(side);
        if machine.permit.is_some() && machine.gate.is_none() {
            self.judge.violate("I4", self.now, || format!("{side:?} keeps a permit, gate closed"));
        }
        let machine = self.machine(side);
        let newer = machine.gate.is_some()
            && machine.core.as_ref().is_some_and(|core| {
                let status = core.status();
                let known = status.record.config.epoch;
                let leads = |config: Configuration| config.led_by(side.peer());
                status.peer.is_some_and(|peer| peer.config.epoch > known && leads(peer.config))
            });
        if newer {
            self.judge
                .violate("I10", self.now, || format!("{side:?} serves, and saw a newer leader"));
        }
        let machine = self.machine(side);
        let blocked_long = machine.gate.is_some()
            && machine.core.as_ref().is_some_and(|core| {
                let status = core.status();
                let grace = self.plan.times.blocked_grace + self.plan.times.heartbeat * 2;
                status.state == State::PBlocked && status.in_state_for > grace
            });
        if blocked_long {
            self.judge
                .violate("I4", self.now, || format!("{side:?} is blocked and lets clients in"));
        }
    }

    pub(crate) fn judge_heartbeat(&mut self, side: Side, heartbeat: &Heartbeat) {
        let written = self.machine(side).durable.unwrap_or(Record::blank(heartbeat.cluster, side));
        let told = (heartbeat.config, heartbeat.promised);
        let claim = heartbeat.claim.is_none() || heartbeat.claim == written.claim;
        if told != (written.config, written.promised) || !claim {
            self.judge.violate("I6", self.now, || format!("{side:?} tells what isn't durable"));
        }
    }

    pub(crate) fn judge_command(&mut self, side: Side, command: PgCommand) {
        let machine = self.machine(side);
        let Some(record) = machine.durable.or(Some(Record::blank(0, side))) else { return };
        let alone = record.config.led_by(side) && record.config.members == Members::Leader;
        let frees = matches!(
            command,
            PgCommand::Promote | PgCommand::ReleasePeer | PgCommand::StartPrimary { wait: false }
        );
        if frees && !alone {
            self.judge.violate("I6", self.now, || format!("{side:?}: {command:?} isn't covered"));
        }
        let repairs = matches!(command, PgCommand::Rewind | PgCommand::Reclone);
        let follows = record.config.led_by(side.peer());
        let counted_on = record.voter && record.config.has_member(side);
        if repairs && (!follows || counted_on) {
            self.judge.violate("I8", self.now, || format!("{side:?}: {command:?} as a member"));
        }
        let starts = matches!(command, PgCommand::Promote | PgCommand::StartStandby { .. });
        if starts && self.machine(side).pg.half_rewound {
            self.judge.violate("I8", self.now, || format!("{side:?} starts half-rewound data"));
        }
    }

    pub(crate) fn judge_ack(&mut self, side: Side, place: usize) {
        let excused = self.judge.excused();
        let other = self.machine(side.peer());
        let rival = other.gate.is_some()
            && other.pg.is_primary()
            && !other.pg.waits()
            && !self.machine(side).pg.waits();
        if rival && !excused {
            self.judge.violate("I2", self.now, || "both nodes acknowledge".to_owned());
        }
        // A late acknowledgement is true only if the leader of today has the commit as well.
        let kept = self.machine(side.peer()).pg.data != failover::Data::Missing;
        if self.is_stale(side) && kept && !excused {
            let wal = &self.machine(side.peer()).pg.wal;
            if wal.get(place) != self.machine(side).pg.wal.get(place) {
                self.judge.violate("I2", self.now, || {
                    format!("{side:?} acknowledges what the leader of today doesn't have")
                });
            }
        }
    }

    /// Synchrony comes back only after the hold-down.
    pub(crate) fn judge_move(&mut self, side: Side, from: State, to: State) {
        let now = self.now;
        let hold = micros(self.plan.times.hold_down);
        let machine = self.machine_mut(side);
        match (from, to) {
            (State::PSync, State::PBlocked) => machine.lost_sync_at = Some(now),
            (State::PSolo, State::PSync) => {
                let since = machine.lost_sync_at.map(|at| now.saturating_sub(at));
                let frozen = machine.clock.ppm.unsigned_abs() > 0;
                if since.is_some_and(|since| since < hold) && !frozen {
                    self.judge
                        .violate("I12", now, || format!("{side:?} is in sync again too soon"));
                }
            }
            _ => {}
        }
    }
}
