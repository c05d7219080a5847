//! Whether an input holds now. Each is judged from facts alone, whatever the state.

use crate::boot::{Standing, Verdict};
use crate::failover::Failover;
use crate::state::{Input, State};
use crate::words::Members;

/// After a hand-over that was called off, an ailing leader keeps serving for so many bounds.
const HANDOVER_RESTS: u32 = 6;

impl Failover {
    pub(crate) fn holds(&self, input: Input) -> bool {
        if self.store.failed {
            // A node that can't write may not decide anything.
            return matches!(input, Input::Booted | Input::StorageFailed);
        }
        let (me, peer) = (self.me(), self.me().peer());
        let wanted = &self.store.wanted;
        match input {
            Input::Booted => self.booted.is_some(),
            Input::StorageFailed => false,
            Input::Superseded => wanted.config.led_by(peer),
            Input::LeadAlone | Input::LeadTogether => self.boot_lead(input),
            Input::Stand => self.boot_verdict() == Verdict::Stand && self.is_fit(),
            Input::Won => self.leads_as(Members::Leader) && self.is_fit(),
            Input::Published => self.leads_as(Members::Both),
            Input::Unacked => self.is_unacked(),
            Input::InSync => self.is_in_sync() && !self.is_unacked(),
            Input::Resign => {
                let heir = self.peer_can_lead() || (self.keeps_failing() && self.peer_may_claim());
                self.shall_resign() && heir
            }
            Input::GaveUp => {
                let took = self.now.saturating_sub(self.entered);
                took > self.settings.times.handover_bound && wanted.config.led_by(me)
            }
            Input::Silence => self.is_silent(),
            Input::Offered => {
                let offers = self
                    .peer()
                    .is_some_and(|peer| peer.flags.offer && peer.config == self.sure().config);
                offers && self.is_member() && self.is_fit()
            }
            Input::WindowOver => self.window_is_over(),
            Input::Dropped => self.sure().config.led_by(peer) && !self.is_member(),
            Input::Unusable => self.may_repair() && (!self.pg.has_data() || self.reinit),
            Input::Diverged => self.may_repair() && !self.can_follow(),
            Input::Follow => self.can_be_led(),
            Input::Joined => {
                let withdrawn = self.store.wanted.has_withdrawn();
                self.is_member() && self.is_fit() && !withdrawn && self.peer().is_some()
            }
            Input::Promoted => self.pg.is_primary(),
            Input::Repaired => self.pg.repaired == Some(true),
            Input::RepairFailed => self.pg.repaired == Some(false),
        }
    }

    fn boot_lead(&self, input: Input) -> bool {
        let sure = self.sure();
        let standing = Standing::of(self.me(), sure.config, sure.voter);
        let wanted = match input {
            Input::LeadAlone => Standing::LeaderAlone,
            _ => Standing::LeaderTogether,
        };
        let allowed = self.boot_verdict() == Verdict::Lead || self.forced;
        standing == wanted && self.leads() && allowed && self.is_fit()
    }

    fn shall_resign(&self) -> bool {
        // Between two nodes that ail alike the role would go to and fro for ever.
        let worse = self.peer().is_some_and(|peer| peer.flags.trouble < self.trouble);
        let ill = worse || self.keeps_failing();
        // A peer that didn't take over just now won't do so at once; each attempt is an outage.
        let rest = self.settings.times.handover_bound.saturating_mul(HANDOVER_RESTS);
        let rested = self.gave_up.is_none_or(|at| self.now.saturating_sub(at) > rest);
        self.resign || (ill && rested && !self.in_maintenance())
    }

    /// PostgreSQL doesn't come back here.
    fn keeps_failing(&self) -> bool {
        self.pg.keeps_failing(self.now, self.settings.times.restart_bound)
    }

    fn is_silent(&self) -> bool {
        let gone = self.peer().is_none() || self.leader_is_hopeless();
        gone && self.settings.arbiter.may_grant_standby()
            && !self.in_maintenance()
            && self.is_member()
            && self.is_fit()
    }

    /// There is a leader to repair from, and nobody counts on what is here.
    fn may_repair(&self) -> bool {
        self.sees_leader() && !self.is_counted_on()
    }

    fn can_be_led(&self) -> bool {
        let config = self.sure().config;
        let leads = self.peer().is_some_and(|peer| {
            peer.config == config && peer.state.is_leading() && peer.state != State::Promoting
        });
        let bound = self.is_member() && self.store.wanted.has_withdrawn();
        config.led_by(self.me().peer()) && leads && !bound
    }
}
