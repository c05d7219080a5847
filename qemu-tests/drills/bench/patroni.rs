//! What Patroni's members say of their cluster.

use std::time::Duration;

use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::fault::{Node, Stop};
use qemu_tests::rig::pair::IN_SYNC_AGAIN;
use serde::Deserialize;

/// Where Patroni takes orders and answers.
pub(super) const PORT: u16 = 8008;
/// A machine that boots beside two that work, a Python to load, and a database to wind back or copy.
const BACK_LIMIT: Duration = Duration::from_mins(10);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// As any member sees it.
#[derive(Debug, Deserialize)]
struct Seen {
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    role: String,
    state: String,
}

impl Seen {
    /// Whether this one streams from a leader, and somebody confirms commits to that.
    fn is_whole_with(&self, name: &str) -> bool {
        let any = |role: &str| self.members.iter().any(|member| member.role == role);
        let streams = |member: &Member| member.name == name && member.state == "streaming";
        any("leader") && any("sync_standby") && self.members.iter().any(streams)
    }
}

/// Waits until the machine that was struck is a standby that streams, and measures how long that took
/// since it was turned on again.
pub(super) fn wait_until_whole(t: &mut Drill, struck: Node) -> Result<(), Stop> {
    let others = t.nodes().into_iter().find(|node| *node != struck);
    let other = others.ok_or_else(|| Stop::Unknown("there is no other member".to_owned()))?;
    let name = t.name(struck).to_owned();
    let end = t.now() + BACK_LIMIT;
    loop {
        let said = t.get(other, PORT, "/cluster")?;
        let strange = |error| Stop::Unknown(format!("Patroni says {said}: {error}"));
        let seen: Seen = serde_json::from_str(&said).map_err(strange)?;
        if seen.is_whole_with(&name) {
            t.note(format!("{name} follows again: {said}"));
            t.measure_since_mark(IN_SYNC_AGAIN);
            return Ok(());
        }
        if t.now() > end {
            return Err(Stop::Violated(format!("{name} didn't follow again: {said}")));
        }
        t.let_pass(LOOK_AGAIN)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_whole_when_the_one_that_was_lost_streams() {
        let said = r#"{"members":[{"name":"node2","role":"leader","state":"running","api_url":"http://x"},
            {"name":"node1","role":"sync_standby","state":"streaming","lag":0},
            {"name":"node3","role":"replica","state":"STATE"}],"scope":"peer"}"#;
        let whole = |state: &str, name: &str| {
            let seen: Seen = serde_json::from_str(&said.replace("STATE", state)).expect("read");
            seen.is_whole_with(name)
        };
        assert!(whole("streaming", "node3"));
        assert!(!whole("starting", "node3") && !whole("streaming", "node4"));
    }
}
