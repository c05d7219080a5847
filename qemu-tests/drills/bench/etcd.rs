//! Who leads etcd when Patroni is struck.
//!
//! All strikes of a topology go on from one saved cluster, so they would all meet the same leader of
//! etcd. It makes twenty seconds of difference: if the machine that is struck leads etcd as well, the
//! next leader extends every lease, the lost primary's among them. So each member leads in turn, and
//! the one that is struck is the leader as often as in a site of three.

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::fault::{Node, Stop};
use serde::Deserialize;

/// Where etcd takes orders.
const PORT: u16 = 2379;
/// An order to one that has just lost the lead is given to the next one.
const TRIES: u32 = 10;
/// Whether the machine that is struck leads etcd.
pub(super) const STRUCK_LEADER: &str = "struck_leads_etcd";

/// What a member says of itself and its cluster.
#[derive(Debug, Deserialize)]
struct Status {
    header: Header,
    /// The leader's id; none during an election.
    #[serde(default)]
    leader: String,
}

#[derive(Debug, Deserialize)]
struct Header {
    member_id: String,
}

/// Makes the member of this run's turn the leader, and notes whether it is the one to be struck.
pub(super) fn take_turns(t: &mut Drill, struck: Node) -> Result<(), Stop> {
    let nodes = t.nodes();
    let turn = usize::try_from(t.seed).unwrap_or_default() % nodes.len().max(1);
    let wanted = Node(turn);
    for _ in 0..TRIES {
        let mut members = Vec::new();
        for node in &nodes {
            members.push((*node, status(t, *node)?));
        }
        let next = members.iter().find(|(node, _)| *node == wanted);
        let (Some((_, next)), Some(first)) = (next, members.first()) else { break };
        if next.leader == next.header.member_id {
            t.measure(STRUCK_LEADER, u64::from(struck == wanted));
            return Ok(());
        }
        let leads = |status: &Status| status.header.member_id == first.1.leader;
        if let Some((leader, _)) = members.iter().find(|(_, status)| leads(status)) {
            let order = format!("{{\"targetID\":\"{}\"}}", next.header.member_id);
            if let Err(Stop::Unknown(refusal)) =
                t.post(*leader, PORT, "/v3/maintenance/transfer-leadership", &order)
            {
                t.note(refusal);
            }
        }
    }
    Err(Stop::Unknown(format!("{} can't be made the leader of etcd", t.name(wanted))))
}

fn status(t: &mut Drill, node: Node) -> Result<Status, Stop> {
    let said = t.post(node, PORT, "/v3/maintenance/status", "{}")?;
    let strange = |error| Stop::Unknown(format!("etcd on {} says {said}: {error}", t.name(node)));
    serde_json::from_str(&said).map_err(strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_of_itself_is_read() {
        let said = r#"{"header":{"cluster_id":"7957","member_id":"9372538179322589801","revision":"9",
            "raft_term":"2"},"version":"3.5.16","dbSize":"20480","leader":"9372538179322589801",
            "raftIndex":"12","raftTerm":"2","raftAppliedIndex":"12","dbSizeInUse":"16384"}"#;
        let status: Status = serde_json::from_str(said).expect("read");
        assert_eq!(status.leader, status.header.member_id);
        let electing = r#"{"header":{"member_id":"9372538179322589801"},"version":"3.5.16"}"#;
        let status: Status = serde_json::from_str(electing).expect("read");
        assert_eq!(status.leader, "");
    }
}
