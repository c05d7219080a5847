//! Healed: one primary, a standby that streams from it, and the address where the primary is.

use serde::{Deserialize, Serialize};

use crate::verdict::Finding;

/// What a node does, as whoever asked it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Serves, and writes.
    Primary,
    /// Follows a primary.
    Standby,
    /// Neither, or it didn't answer.
    Down,
}

/// A node at the end of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Whether it gets the primary's log at the moment, if it is a standby.
    pub streaming: bool,
    /// Whether it has the virtual address, by the wire.
    pub has_address: bool,
}

/// There is one primary, all others are standbys that stream, and the address is on the primary.
pub fn converged(nodes: &[Node]) -> Finding {
    let check = "after the heal: one primary, streaming standbys, the address on the primary";
    if nodes.is_empty() {
        return Finding::unknown(check, "no node was asked");
    }
    let named = |wanted: &dyn Fn(&Node) -> bool| -> Vec<&str> {
        nodes.iter().filter(|node| wanted(node)).map(|node| node.name.as_str()).collect()
    };
    let primaries = named(&|node| node.role == Role::Primary);
    let owners = named(&|node| node.has_address);
    let down = named(&|node| node.role == Role::Down);
    let behind = named(&|node| node.role == Role::Standby && !node.streaming);
    let mut wrong = Vec::new();
    if primaries.len() != 1 {
        wrong.push(format!("primaries: {}", list(&primaries)));
    }
    if owners != primaries {
        let (owners, primaries) = (list(&owners), list(&primaries));
        wrong.push(format!("the address is on {owners}, the primary is {primaries}"));
    }
    if !down.is_empty() {
        wrong.push(format!("neither primary nor standby: {}", list(&down)));
    }
    if !behind.is_empty() {
        wrong.push(format!("standby, but not streaming: {}", list(&behind)));
    }
    if wrong.is_empty() {
        return Finding::pass(check, format!("{} leads", list(&primaries)));
    }
    let mut finding = Finding::violated(check, "");
    finding.reasons = wrong;
    finding
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict::{Pass, Unknown, Violated};

    fn pair() -> Vec<Node> {
        let node = |name: &str, role, streaming, has_address| Node {
            name: name.to_owned(),
            role,
            streaming,
            has_address,
        };
        vec![node("node1", Role::Standby, true, false), node("node2", Role::Primary, false, true)]
    }

    fn with(change: impl FnOnce(&mut Vec<Node>)) -> Finding {
        let mut nodes = pair();
        change(&mut nodes);
        converged(&nodes)
    }

    #[test]
    fn a_healed_pair_passes() {
        assert_eq!(converged(&pair()).verdict, Pass);
        assert_eq!(converged(&[]).verdict, Unknown);
    }

    #[test]
    fn each_thing_that_is_not_healed_is_found() {
        let two = with(|nodes| nodes[0].role = Role::Primary);
        assert_eq!(two.verdict, Violated);
        assert_eq!(two.reasons[0], "primaries: node1, node2");
        assert_eq!(with(|nodes| nodes[1].role = Role::Standby).verdict, Violated, "none");
        assert_eq!(with(|nodes| nodes[0].role = Role::Down).verdict, Violated);
        assert_eq!(with(|nodes| nodes[0].streaming = false).verdict, Violated);
        assert_eq!(with(|nodes| nodes[1].has_address = false).verdict, Violated);
        let both = with(|nodes| nodes[0].has_address = true);
        assert_eq!(both.reasons, ["the address is on node1, node2, the primary is node2"]);
    }
}
