//! Votes: how configurations come into force.
//!
//! A claim follows the configuration that its claimant knows (the *base*) and is in force once the
//! claimant has written it down as its configuration. It may do that when the other member can't
//! act on a claim of its own that follows the same base, because
//!
//! - the **peer** has adopted the claim: its record has moved on, durably; or
//! - the **witness** has granted it: it grants one claim per base; or
//! - the peer is **off** for certain and boots without authority; or
//! - the **policy** says so; or
//! - there is **no other member**.
//!
//! A node acts only on its *current* claim. A claim that was given up may still be granted
//! somewhere; nobody will ever act on that grant.

use std::time::Duration;

use crate::event::{Action, Data, Notice, Source};
use crate::failover::{Failover, Fence, Join};
use crate::postgres::Running;
use crate::settings::{Arbiter, Policy};
use crate::state::State;
use crate::wire::Heartbeat;
use crate::words::{Configuration, Members};

impl Failover {
    pub(crate) fn vote(&mut self, out: &mut Vec<Action>) {
        if self.store.failed {
            return;
        }
        self.heed_witness(out);
        self.heed_peer(out);
        self.consent(out);
        self.claim();
        self.win(out);
        self.publish(out);
    }

    /// Puts a configuration in force.
    pub(crate) fn take(&mut self, config: Configuration, source: Source, out: &mut Vec<Action>) {
        let me = self.me();
        let (timeline, lsn) = (self.pg.timeline, self.pg.lsn);
        let wanted = &mut self.store.wanted;
        // After memory was lost, votes count again once the leader publishes this node as a member
        // in the very next configuration: the one before was adopted in this memory.
        let readmitted = config.base == wanted.config.epoch && wanted.config.exists();
        wanted.voter |= config.led_by(me.peer()) && config.has_member(me) && readmitted;
        wanted.rewind |= wanted.config.led_by(me) && config.led_by(me.peer());
        wanted.config = config;
        wanted.claim = None;
        wanted.promised = wanted.promised.max(config.epoch);
        (wanted.timeline, wanted.lsn) = (timeline, lsn);
        if config.led_by(me) && wanted.voter {
            out.push(Action::Report(Notice::Authority(config, source)));
        }
    }

    fn obeys(&self) -> bool {
        self.settings.rules.fence_on_newer || !self.state.is_leading()
    }

    /// The witness may know that the peer won.
    fn heed_witness(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self.answer.and_then(|answer| answer.config) else { return };
        let wanted = &self.store.wanted;
        let newer = config.epoch > wanted.config.epoch && config.led_by(self.me().peer());
        if newer && wanted.voter && self.obeys() {
            out.push(Action::Report(Notice::WitnessKnowsNewer(config)));
            self.take(config, Source::Witness, out);
        }
    }

    /// What the peer has written down is in force.
    fn heed_peer(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self.link.view().map(|peer| peer.config) else { return };
        let mine = self.store.wanted.config;
        if config.epoch <= mine.epoch || !self.obeys() {
            return;
        }
        let me = self.me();
        let parted = mine.led_by(me) && config.led_by(me.peer()) && config.base < mine.epoch;
        if parted && self.store.wanted.voter {
            out.push(Action::Report(Notice::Diverged(mine, config)));
        }
        if config.base == Configuration::NONE.epoch && self.sure().claim == Some(config) {
            // The peer agreed that this node founds the pair.
            self.store.wanted.voter = true;
            self.store.wanted.fresh = self.pg.data == Data::Missing;
        }
        self.take(config, Source::Peer, out);
    }

    /// Adopts the peer's claim, if this node has no better one and isn't serving.
    fn consent(&mut self, out: &mut Vec<Action>) {
        let Some(peer) = self.peer().copied() else { return };
        if let Some(claim) = peer.claim
            && self.may_consent(&peer, claim)
        {
            self.take(claim, Source::Peer, out);
        }
    }

    fn may_consent(&self, peer: &Heartbeat, claim: Configuration) -> bool {
        let (rules, wanted) = (&self.settings.rules, &self.store.wanted);
        let me = self.me();
        // The epochs' order already sees to this: a leader's claim is above every promise that a
        // standby can have made since. It costs nothing to look.
        let first = claim.epoch > wanted.promised && claim.epoch > wanted.config.epoch;
        let newest = claim.base >= wanted.config.epoch;
        let entitled = wanted.config.has_member(me.peer())
            || !wanted.config.exists()
            || !rules.only_members_claim;
        let given_up =
            self.state == State::HandOver || (!self.is_fit() && !self.state.is_leading());
        let yields = !wanted.config.led_by(me) || (given_up && self.pg.is_stopped() && !self.gate);
        ((first && newest && yields) || !rules.consent_is_checked)
            && entitled
            && (wanted.voter || self.may_consent_without_memory(peer, claim))
    }

    /// A node without memory may have agreed to something else, or led, before. Its consent is
    /// worth something only where it couldn't have done either without the peer knowing.
    fn may_consent_without_memory(&self, peer: &Heartbeat, claim: Configuration) -> bool {
        if !self.settings.rules.amnesia_has_no_vote {
            return true;
        }
        if claim.base == Configuration::NONE.epoch {
            return self.is_blank();
        }
        let knows = peer.config.led_by(self.me().peer());
        knows
            && match self.settings.arbiter {
                Arbiter::Policy(Policy::Consistency | Policy::PrimaryBiased) => true,
                // What only this node had is gone with its data; the policy is to serve.
                Arbiter::Policy(Policy::Availability) => self.pg.data == Data::Missing,
                _ => false,
            }
    }

    /// Writes down a claim, or a higher one where the peer has promised more.
    fn claim(&mut self) {
        if self.state == State::SStale {
            self.store.wanted.claim = None;
            return;
        }
        let me = self.me();
        let founds = self.state == State::Rendezvous && self.may_found();
        let stands = self.state == State::Candidate && !self.store.wanted.config.led_by(me);
        let wants = stands || (self.needs_solo() && self.leads_as(Members::Both));
        let member =
            self.store.wanted.config.has_member(me) || !self.settings.rules.only_members_claim;
        if !(founds || (wants && member && self.store.wanted.voter)) {
            return;
        }
        let current = self.store.wanted.claim;
        let promised = self.peer().map(|peer| peer.promised);
        let outdone = match (current, promised) {
            (None, _) => true,
            (Some(claim), Some(promised)) => promised >= claim.epoch,
            (Some(_), None) => false,
        };
        if outdone {
            let claim = self.next_config(Members::Leader);
            self.store.wanted.claim = Some(claim);
            self.store.wanted.promised = claim.epoch;
        }
    }

    /// Everything that a candidate must have given up before it may gain anything.
    pub(crate) fn has_withdrawn_acks(&self) -> bool {
        if !self.settings.rules.withdraw_before_authority {
            return true;
        }
        let claim = self.store.wanted.claim;
        claim.is_some() && self.sure().claim == claim && self.pg.acknowledges_nothing()
    }

    /// Acts on a claim that somebody other than the peer has granted.
    fn win(&mut self, out: &mut Vec<Action>) {
        let leader = self.state == State::PBlocked;
        if !(leader || self.state == State::Candidate) {
            return;
        }
        if self.is_lawless(leader) {
            let config = self.next_config(Members::Leader);
            self.take(config, Source::Alone, out);
            return;
        }
        if let Some((config, source)) = self.granted(leader) {
            self.take(config, source, out);
        }
    }

    /// What a test with a rule switched off wants to see happen.
    fn is_lawless(&self, leader: bool) -> bool {
        let rules = &self.settings.rules;
        if leader {
            let alone = self.is_unacked() && self.pg.is_primary() && self.leads_as(Members::Both);
            !rules.solo_needs_authority && alone
        } else {
            !rules.promotion_needs_authority && !self.store.wanted.config.led_by(self.me())
        }
    }

    fn granted(&self, leader: bool) -> Option<(Configuration, Source)> {
        let claim = self.store.wanted.claim.filter(|claim| {
            let durable = self.sure().claim == Some(*claim);
            durable || !self.settings.rules.withdraw_before_authority
        });
        let ready = leader || self.has_withdrawn_acks();
        if let Some(claim) = claim.filter(|_| ready) {
            if self.answer.is_some_and(|answer| answer.config == Some(claim)) {
                return Some((claim, Source::Witness));
            }
            // A peer that was heard after the fence began isn't off.
            if let Fence::Confirmed(since) = self.fence
                && self.link.contact().is_none_or(|contact| contact < since)
            {
                return Some((claim, Source::Fence));
            }
        }
        let by_policy = matches!(self.settings.arbiter, Arbiter::Policy(_));
        if !by_policy || self.in_maintenance() || !self.policy_allows() {
            return None;
        }
        if leader {
            let due = self.pg.is_primary() && self.leads_as(Members::Both);
            let config = self.next_config(Members::Leader);
            return due.then_some((config, Source::Policy));
        }
        claim.filter(|_| ready).map(|claim| (claim, Source::Policy))
    }

    /// Makes a standby that keeps up a member: first commits wait for it, then it has flushed all
    /// that didn't, then it is published.
    fn publish(&mut self, out: &mut Vec<Action>) {
        if self.state != State::PSolo || !self.leads_as(Members::Leader) {
            return;
        }
        if !self.peer_keeps_up() {
            self.join = Join::default();
            return;
        }
        let rules = self.settings.rules;
        let stable = *self.join.stable.get_or_insert(self.now);
        let hold = if rules.hold_down { self.hold_down } else { Duration::ZERO };
        if self.now.saturating_sub(stable) < hold {
            return;
        }
        let waits = self.pg.running == Running::Primary { waiting: true };
        if rules.names_before_publish && !self.join.wait {
            // Commits may wait already, since PostgreSQL's start: then nobody is asked to make them.
            let barrier = self.pg.barrier.filter(|_| waits);
            self.join = Join { wait: true, barrier, ..self.join };
        }
        let flushed = self.join.barrier.is_some() && self.pg.peer >= self.join.barrier;
        let asked = waits && self.join.barrier.is_some() || !rules.names_before_publish;
        if asked && (flushed || !rules.flush_before_publish || !rules.names_before_publish) {
            let config = self.next_config(Members::Both);
            self.take(config, Source::Alone, out);
        }
    }
}
