//! The operator's orders: carried out, or refused with the reason.

use crate::command::{Accepted, Command, Refusal};
use crate::event::{Action, Data, Source};
use crate::failover::Failover;
use crate::state::State;
use crate::words::{Configuration, Epoch, Members};

/// A forced promotion leaves room for epochs that this node hasn't heard of. How much depends on the
/// boot's nonce as well: a node that was forced, forgot it and is forced again must not use an epoch
/// twice.
const FORCED_EPOCHS: u64 = 1000;
const FORCED_EPOCHS_SPREAD: u64 = 1_000_000;

impl Failover {
    pub(crate) fn order(
        &mut self,
        command: Command,
        out: &mut Vec<Action>,
    ) -> Result<Accepted, Refusal> {
        if self.booted.is_none() {
            return Err(Refusal::Booting);
        }
        if self.store.failed {
            return Err(Refusal::StorageFailed);
        }
        match command {
            Command::Switchover if !self.state.is_leading() => Err(Refusal::NotLeading),
            Command::Switchover if !self.peer_can_lead() => Err(Refusal::PeerNotInSync),
            Command::Switchover => {
                self.resign = true;
                Ok(Accepted::HandingOver)
            }
            Command::Maintenance(on) => {
                self.store.wanted.maintenance = on;
                Ok(Accepted::Maintenance(on))
            }
            Command::ForcePrimary { accept_data_loss } => self.force(accept_data_loss, out),
            Command::Reinit if self.sure().config.led_by(self.me()) => Err(Refusal::Leading),
            Command::Reinit if !self.sees_leader() => Err(Refusal::NoLeader),
            Command::Reinit => {
                self.reinit = true;
                Ok(Accepted::Reinitialising)
            }
        }
    }

    fn force(&mut self, accepted: bool, out: &mut Vec<Action>) -> Result<Accepted, Refusal> {
        let repairing = matches!(self.state, State::Rewind | State::Reclone);
        let blocked = self.state == State::PBlocked && !self.gate;
        if (self.state.is_leading() && !blocked) || self.state == State::HandOver {
            return Err(Refusal::Leading);
        }
        if self.sees_leader() || self.peer().is_some_and(|peer| peer.state == State::HandOver) {
            return Err(Refusal::PeerLeads);
        }
        if repairing || self.pg.clone_needed || self.store.wanted.half_rewound {
            return Err(Refusal::DataUnusable);
        }
        if !accepted {
            return Err(Refusal::LossNotAccepted);
        }
        let me = self.me();
        let jump = FORCED_EPOCHS + self.nonce.0 % FORCED_EPOCHS_SPREAD * 2;
        let floor = Epoch(self.highest_vote().0.saturating_add(jump));
        let wanted = &mut self.store.wanted;
        let config = Configuration {
            epoch: floor.next_for(me),
            base: wanted.config.epoch,
            leader: me,
            members: Members::Leader,
        };
        wanted.fresh = self.pg.data == Data::Missing;
        wanted.rewind = false;
        wanted.voter = true;
        wanted.revision_fence = self.settings.rules.revision_fence;
        self.forced = true;
        self.take(config, Source::Operator, out);
        Ok(Accepted::Forcing)
    }
}
