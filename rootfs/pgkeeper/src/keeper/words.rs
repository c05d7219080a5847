//! What the protocol does, in sentences for people. Pure.

use failover::{
    Accepted, Action, Configuration, Data, Input, Members, Notice, Recall, Refusal, Side, Source,
    State, Status,
};

/// The two nodes, by their sides.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) nodes: [String; 2],
    pub(crate) side: Side,
}

impl Pair {
    pub(crate) fn name(&self, side: Side) -> &str {
        let [a, b] = &self.nodes;
        if side == Side::A { a } else { b }
    }

    /// `epoch 5: node1 leads with its standby`.
    pub(crate) fn config(&self, config: Configuration) -> String {
        if !config.exists() {
            return "no configuration".to_owned();
        }
        let how = match config.members {
            Members::Leader => "alone",
            Members::Both => "with its standby",
        };
        format!("epoch {}: {} leads {how}", config.epoch.0, self.name(config.leader))
    }

    /// What the disk remembers.
    pub(crate) fn recalled(&self, recall: &Recall, data: Data) -> String {
        let record = match recall {
            Recall::Found(record) => self.config(record.config),
            Recall::Missing => "no record".to_owned(),
            Recall::Damaged => {
                "a DAMAGED record: this node has no vote until it is taken in anew".to_owned()
            }
        };
        let data = match data {
            Data::Missing => "no data",
            Data::Standby => "a standby's data",
            Data::Primary => "a primary's data",
        };
        format!("remembers {record}; {data}")
    }

    /// A line for an action, if it is news.
    pub(crate) fn line(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::Moved { from, to, because } => {
                format!("{}, was {}: {}", what(*to), what(*from), why(*because))
            }
            Action::Report(notice) => self.notice(*notice),
            Action::Reply(reply) => answer(*reply),
            Action::OpenGate(epoch) => format!("clients are let in, epoch {}", epoch.0),
            Action::CloseGate => "clients are shut out".to_owned(),
            Action::Fence(_) => "the peer's power shall be cut".to_owned(),
            Action::CallOffFence(_) => {
                "the peer is heard or needn't be cut: the fence is called off".to_owned()
            }
            Action::FenceRevision(_) => "kine's revision shall be moved forward".to_owned(),
            Action::Postgres(_, command) => format!("PostgreSQL shall {command:?}"),
            _ => return None,
        })
    }

    fn notice(&self, notice: Notice) -> String {
        match notice {
            Notice::Authority(config, source) => {
                format!("authority for {}, {}", self.config(config), from(source))
            }
            Notice::Diverged(mine, theirs) => format!(
                "BOTH NODES LED AT ONCE: what was written here in {} is archived and given up; {} \
                 stays",
                self.config(mine),
                self.config(theirs)
            ),
            Notice::WitnessKnowsNewer(config) => {
                format!("the witness knows of {}", self.config(config))
            }
            Notice::StorageFailed => "the record can't be written: this node is out until its \
                                      state partition is mended; the keeper starts anew by itself \
                                      only if room was all that it wanted"
                .to_owned(),
        }
    }

    /// One line about the whole, for the supervisor.
    pub(crate) fn summary(&self, status: &Status) -> String {
        let peer = self.name(self.side.peer());
        let epoch = status.record.config.epoch.0;
        let maintenance = if status.maintenance { ", no automatic failover" } else { "" };
        let contact = if status.contact_age.is_none() { ", peer not heard" } else { "" };
        let gate = if status.serving { ", serving" } else { "" };
        format!("{} (peer {peer}), epoch {epoch}{gate}{contact}{maintenance}", what(status.state))
    }
}

/// What a node is, in a few words.
pub(crate) fn what(state: State) -> &'static str {
    match state {
        State::Boot => "booting",
        State::Rendezvous => "looking for peer and witness",
        State::PSync => "primary, in sync",
        State::PBlocked => "primary, commits wait",
        State::PSolo => "primary, alone",
        State::HandOver => "handing over",
        State::SSync => "standby, in sync",
        State::SCatchUp => "standby, catching up",
        State::SStale => "standby, stale",
        State::Candidate => "candidate",
        State::Promoting => "becoming primary",
        State::Fenced => "out, waiting for a leader",
        State::Rewind => "rewinding",
        State::Reclone => "copying the leader's data",
    }
}

fn why(input: Input) -> &'static str {
    match input {
        Input::Booted => "the record is read",
        Input::StorageFailed => "the record can't be written",
        Input::Superseded => "the peer leads now",
        Input::LeadAlone => "it led alone before, and nobody else can have since",
        Input::LeadTogether => "it led before, and nobody else has since",
        Input::Stand => "the leader can't lead from where it is",
        Input::Won => "it has authority",
        Input::Published => "the standby has everything again",
        Input::Unacked => "the standby doesn't confirm commits",
        Input::InSync => "the standby confirms commits",
        Input::Resign => "it shall hand over, and the standby can take over",
        Input::GaveUp => "the hand-over took too long",
        Input::Silence => "the leader isn't heard any more",
        Input::Offered => "the leader offers to hand over",
        Input::WindowOver => "it is too late to promote by policy",
        Input::Dropped => "the leader goes on without it",
        Input::Unusable => "its data can't be used",
        Input::Diverged => "its data may have parted from the leader's",
        Input::Follow => "there is a leader to follow",
        Input::Joined => "the leader counts on it",
        Input::Promoted => "PostgreSQL takes writes",
        Input::Repaired => "its data is as it should be",
        Input::RepairFailed => "the repair failed",
    }
}

fn from(source: Source) -> &'static str {
    match source {
        Source::Peer => "by the peer's consent",
        Source::Witness => "from the witness",
        Source::Fence => "because the peer's power is cut",
        Source::Policy => "by the policy",
        Source::Alone => "since nobody else could have it",
        Source::Operator => "by the operator's order",
    }
}

fn answer(reply: Result<Accepted, Refusal>) -> String {
    match reply {
        Ok(Accepted::HandingOver) => "order: hand over".to_owned(),
        Ok(Accepted::Maintenance(true)) => "order: no automatic failover".to_owned(),
        Ok(Accepted::Maintenance(false)) => "order: automatic failover again".to_owned(),
        Ok(Accepted::Forcing) => "order: lead, whatever may be lost".to_owned(),
        Ok(Accepted::Reinitialising) => "order: copy the leader's data anew".to_owned(),
        Err(refusal) => format!("an order is refused: {refusal}"),
    }
}

#[cfg(test)]
mod tests {
    use failover::Epoch;

    use super::*;

    #[test]
    fn a_line_names_nodes_and_reasons() {
        let pair = Pair { nodes: ["node1".to_owned(), "node2".to_owned()], side: Side::B };
        let moved =
            Action::Moved { from: State::SSync, to: State::Candidate, because: Input::Silence };
        let line = pair.line(&moved).expect("news");
        assert_eq!(line, "candidate, was standby, in sync: the leader isn't heard any more");
        let config = Configuration {
            epoch: Epoch(4),
            base: Epoch(3),
            leader: Side::B,
            members: Members::Leader,
        };
        let line = pair.line(&Action::Report(Notice::Authority(config, Source::Witness)));
        let wanted = "authority for epoch 4: node2 leads alone, from the witness";
        assert_eq!(line.as_deref(), Some(wanted));
        assert_eq!(pair.line(&Action::WithdrawPermit), None);
    }

    #[test]
    fn no_two_states_and_no_two_reasons_sound_alike() {
        let states: std::collections::BTreeSet<_> = State::ALL.into_iter().map(what).collect();
        assert_eq!(states.len(), State::ALL.len());
        let reasons: std::collections::BTreeSet<_> = Input::ALL.into_iter().map(why).collect();
        assert_eq!(reasons.len(), Input::ALL.len());
    }
}
