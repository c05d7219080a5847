//! What a node knows at this moment, in the words that the rules are written in. Nothing here
//! changes anything.

use std::time::Duration;

use crate::boot::{Met, Standing, Verdict, verdict};
use crate::event::Data;
use crate::failover::{FRESH_HEARTBEATS, Failover};
use crate::postgres::Running;
use crate::settings::{Arbiter, LAG_ALLOWED, LAG_BORNE, Policy};
use crate::state::State;
use crate::wire::Heartbeat;
use crate::words::{Configuration, Epoch, Lsn, Members, Side};

impl Failover {
    /// The peer, if it is certainly there and hears us.
    pub(crate) fn peer(&self) -> Option<&Heartbeat> {
        let age = self.link.age(self.now)?;
        if age > self.settings.times.loss {
            return None;
        }
        self.link.view()
    }

    /// This node may serve, durably, and nothing that says otherwise is on its way to the disk.
    pub(crate) fn leads(&self) -> bool {
        let (sure, wanted) = (self.sure(), &self.store.wanted);
        sure.voter && sure.config.led_by(self.me()) && wanted.config.led_by(self.me())
    }

    /// It leads, and no other configuration is on its way to the disk.
    pub(crate) fn leads_as(&self, members: Members) -> bool {
        let (sure, wanted) = (self.sure(), &self.store.wanted);
        self.leads() && sure.config == wanted.config && sure.config.members == members
    }

    /// This node follows, has every acknowledged commit, and remembers its votes.
    pub(crate) fn is_member(&self) -> bool {
        let sure = self.sure();
        sure.voter && sure.config.led_by(self.me().peer()) && sure.config.has_member(self.me())
    }

    /// Somebody may count on this node's data: it is a member, or about to be one.
    pub(crate) fn is_counted_on(&self) -> bool {
        let wanted = &self.store.wanted;
        let soon = wanted.voter && wanted.config.has_member(self.me());
        (self.is_member() || soon) && self.settings.rules.repair_only_outsiders
    }

    /// The peer leads in this node's configuration, and a follower could stream from it now.
    pub(crate) fn sees_leader(&self) -> bool {
        let config = self.sure().config;
        let leads = |peer: &Heartbeat| peer.config == config && peer.state.is_primary();
        config.led_by(self.me().peer()) && self.peer().is_some_and(leads)
    }

    /// The data could follow a leader, or be promoted.
    pub(crate) fn can_follow(&self) -> bool {
        self.pg.has_data()
            && self.pg.data == Data::Standby
            && !self.pg.cannot_follow
            && !self.reinit
            && !self.store.wanted.rewind
            && !self.store.wanted.half_rewound
    }

    /// The data could do what the configuration wants of this node.
    pub(crate) fn is_fit(&self) -> bool {
        if self.sure().config.led_by(self.me()) {
            (self.pg.has_data() || self.sure().fresh) && !self.store.failed
        } else {
            self.can_follow()
        }
    }

    /// The leader of this node's configuration is there and will never lead again from where it is.
    pub(crate) fn leader_is_hopeless(&self) -> bool {
        let leads = self.sure().config.led_by(self.me().peer());
        leads
            && self.peer().is_some_and(|peer| {
                let able = peer.flags.voter && peer.flags.fit;
                !(able || peer.state.is_leading())
            })
    }

    /// The peer could take over at once without loss.
    pub(crate) fn peer_can_lead(&self) -> bool {
        let config = self.sure().config;
        let ready = |peer: &Heartbeat| {
            peer.state == State::SSync
                && peer.config == config
                && peer.flags.fit
                && !peer.has_withdrawn()
        };
        self.leads_as(Members::Both) && self.peer().is_some_and(ready)
    }

    /// The peer gave up its acknowledgements when it lost sight of this node. It has every acknowledged
    /// commit still, and with this node's consent it leads.
    pub(crate) fn peer_may_claim(&self) -> bool {
        let config = self.sure().config;
        let withdrawn = |peer: &Heartbeat| {
            peer.config == config && peer.has_withdrawn() && peer.flags.fit && peer.flags.voter
        };
        self.leads_as(Members::Both) && self.peer().is_some_and(withdrawn)
    }

    /// A leader can't acknowledge, or can't rely on what it would acknowledge.
    pub(crate) fn is_unacked(&self) -> bool {
        let Some(peer) = self.peer() else { return true };
        let times = &self.settings.times;
        let since = self.pg.streamed.unwrap_or_default().max(self.entered);
        let stalled = self.pg.peer.is_none() && self.now.saturating_sub(since) > times.stream_loss;
        let current = peer.config == self.sure().config;
        let withdrawn = current && peer.has_withdrawn();
        // Just after publication the peer may not have heard of it.
        let lost = !current && self.now.saturating_sub(self.entered) > times.loss;
        withdrawn
            || lost
            || self.releases_commits()
            || (!(peer.flags.voter && peer.flags.fit) && current)
            || stalled
            || !self.pg.is_primary()
    }

    /// Commits may wait for nobody. A leader of both never asks for that; if it came to it all the same,
    /// its gate shuts.
    fn releases_commits(&self) -> bool {
        let rules = self.settings.rules;
        rules.names_before_publish
            && rules.release_is_doubted
            && self.pg.running == Running::Primary { waiting: false }
    }

    /// The peer acknowledges, and has all that clients could see.
    pub(crate) fn is_in_sync(&self) -> bool {
        let flushed = if self.settings.rules.recovery_flush_before_gate {
            self.pg.barrier.is_some() && self.pg.peer >= self.pg.barrier
        } else {
            true
        };
        let waits = self.pg.running == Running::Primary { waiting: true };
        let ready = |peer: &Heartbeat| {
            peer.config == self.sure().config
                && peer.state == State::SSync
                && !peer.has_withdrawn()
                && peer.flags.voter
        };
        flushed
            && waits
            && self.leads_as(Members::Both)
            && self.store.wanted.claim.is_none()
            && self.peer().is_some_and(ready)
    }

    /// A blocked leader has a reason to ask for authority to go on alone.
    pub(crate) fn needs_solo(&self) -> bool {
        if self.state != State::PBlocked || !self.pg.is_primary() {
            return false;
        }
        let times = &self.settings.times;
        match self.peer() {
            None => !self.in_maintenance() && !matches!(self.settings.arbiter, Arbiter::Policy(_)),
            Some(peer) => {
                let since = self.entered.max(self.pg.streamed.unwrap_or_default());
                let stalled = self.now.saturating_sub(since) > times.stream_loss;
                let behind = peer.config.epoch < self.sure().config.epoch && stalled;
                let lost = !peer.flags.voter || !peer.flags.fit || peer.has_withdrawn();
                lost || behind || (stalled && !self.is_in_sync())
            }
        }
    }

    /// A solo leader's standby keeps up.
    pub(crate) fn peer_keeps_up(&self) -> bool {
        let config = self.sure().config;
        let lag = if self.join.stable.is_some() { LAG_BORNE } else { LAG_ALLOWED };
        let near = |peer: Lsn| self.pg.lsn.0.saturating_sub(peer.0) <= lag;
        let follows = |peer: &Heartbeat| {
            peer.state == State::SCatchUp && peer.config == config && peer.flags.fit
        };
        self.leads()
            && self.pg.is_primary()
            && !self.store.wanted.revision_fence
            && self.peer().is_some_and(follows)
            && self.pg.peer.is_some_and(near)
    }

    /// By this node's own record, or by what the peer says now. An order is meant for both nodes:
    /// the last words of a peer that is gone could never be taken back.
    pub(crate) fn in_maintenance(&self) -> bool {
        self.store.wanted.maintenance || self.peer().is_some_and(|peer| peer.flags.maintenance)
    }

    /// The highest epoch in which anybody is known to have voted.
    pub(crate) fn highest_vote(&self) -> Epoch {
        let wanted = &self.store.wanted;
        let peer = self.link.view().map_or(Epoch::NONE, |peer| peer.promised);
        let witness = self.answer.map_or(Epoch::NONE, |answer| answer.epoch());
        wanted.promised.max(wanted.config.epoch).max(peer).max(witness)
    }

    /// The policy lets this node act alone, now.
    pub(crate) fn policy_allows(&self) -> bool {
        let (times, rules) = (&self.settings.times, &self.settings.rules);
        let leads = self.sure().config.led_by(self.me());
        let age = self.link.age(self.now);
        let lost = age.is_none_or(|age| age > times.loss);
        match self.settings.arbiter.policy() {
            Policy::Consistency => false,
            Policy::PrimaryBiased => leads && lost,
            Policy::StandbyBiased => !leads && (lost || self.leader_is_hopeless()),
            Policy::Availability => {
                // A cable that was pulled doesn't tell who was cut off. If it was this node, its gateway
                // doesn't answer from then on.
                let silence = self.link.silence(self.now);
                let fresh = times.heartbeat.saturating_mul(FRESH_HEARTBEATS);
                // The gateway must have answered ever since the last contact. If it was away in
                // between, this node may have been the one that was cut off, and the peer may
                // have acted by the same policy.
                let contact = self.link.contact().unwrap_or_default();
                let ever_since = |(since, last): (Duration, Duration)| {
                    let after = self.link.pulled().is_none_or(|pulled| last > pulled);
                    self.now.saturating_sub(last) <= fresh && since <= contact && after
                };
                let connected = !rules.gateway || self.gateway.is_some_and(ever_since);
                // A peer that was offered to lead may have begun to count just before the offer's end.
                let late =
                    self.gave_up.is_some_and(|at| self.now.saturating_sub(at) <= times.solo_window);
                let in_window = silence.is_some_and(|silence| {
                    if leads {
                        silence > times.solo_window && !late
                    } else {
                        silence > times.loss && silence <= times.promote_window
                    }
                });
                // Whoever took the address after the last contact may have acknowledged commits
                // since, and gone again: only the next contact tells.
                let claimed =
                    rules.foreign_vip && leads && self.foreign_vip.is_some_and(|at| at > contact);
                connected && in_window && self.peer_was_here() && !claimed
            }
        }
    }

    /// The policy's window for this candidate is over, and nothing else can still choose it.
    pub(crate) fn window_is_over(&self) -> bool {
        let availability = self.settings.arbiter.policy() == Policy::Availability;
        let silence = self.link.silence(self.now);
        let over = silence.is_none_or(|silence| silence > self.settings.times.promote_window);
        availability && over && !self.store.wanted.config.led_by(self.me())
    }

    /// The peer, with all its memory, was seen in this very configuration since this node booted.
    /// So it hadn't moved on until then.
    pub(crate) fn peer_was_here(&self) -> bool {
        self.vouched == Some(self.sure().config.epoch) || !self.settings.rules.peer_was_here
    }

    /// What the boot rules say, once this node has looked around for long enough.
    pub(crate) fn boot_verdict(&self) -> Verdict {
        let sure = self.sure();
        if self.store.wanted.config != sure.config {
            return Verdict::Wait;
        }
        let standing = Standing::of(self.me(), sure.config, sure.voter);
        let times = &self.settings.times;
        let patience = match standing {
            Standing::Member => times.standby_rendezvous,
            _ => times.rendezvous,
        };
        let waited = self.booted.is_some_and(|at| self.now.saturating_sub(at) >= patience);
        let met = match self.peer() {
            Some(_) if self.leader_is_hopeless() && waited => Met::HopelessPeer,
            Some(_) => Met::Peer,
            None if !waited => return Verdict::Wait,
            None if self.met_witness() => Met::Witness,
            None => Met::Nobody,
        };
        let lone = met == Met::Nobody;
        let primary_biased = self.settings.arbiter == Arbiter::Policy(Policy::PrimaryBiased);
        match verdict(standing, met) {
            // With this policy nobody else can have led since, so there is nobody to wait for.
            Verdict::Wait if lone && standing == Standing::LeaderTogether && primary_biased => {
                Verdict::Lead
            }
            Verdict::Wait if lone && !self.settings.rules.lone_boot_waits => match standing {
                Standing::LeaderTogether => Verdict::Lead,
                Standing::Member => Verdict::Stand,
                _ => Verdict::Wait,
            },
            verdict => verdict,
        }
    }

    fn met_witness(&self) -> bool {
        let fresh = self.settings.times.retry.saturating_mul(2);
        self.settings.arbiter == Arbiter::Witness
            && self.answer.is_some_and(|answer| answer.config.is_some())
            && self.answered.is_some_and(|at| self.now.saturating_sub(at) <= fresh)
    }

    /// Both nodes are new, and this one may make the first database.
    pub(crate) fn may_found(&self) -> bool {
        let new = |peer: &Heartbeat| peer.flags.blank && !peer.config.exists();
        let forgotten = match self.settings.arbiter {
            Arbiter::Witness => self.answer.is_none_or(|answer| answer.config.is_some()),
            _ => false,
        };
        self.is_blank() && self.me() == Side::A && self.peer().is_some_and(new) && !forgotten
    }

    /// No record and no data.
    pub(crate) fn is_blank(&self) -> bool {
        !self.store.wanted.config.exists()
            && !self.store.wanted.voter
            && self.pg.data == Data::Missing
    }

    /// The configuration in which this node would lead alone.
    pub(crate) fn next_config(&self, members: Members) -> Configuration {
        Configuration {
            epoch: self.highest_vote().next_for(self.me()),
            base: self.store.wanted.config.epoch,
            leader: self.me(),
            members,
        }
    }
}
