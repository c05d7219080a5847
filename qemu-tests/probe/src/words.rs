//! What the rig and the probe say to each other: one JSON object a line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use control::Request;
use ledger::client::Settings;
use ledger::{Operation, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the port, by which the guest finds it.
pub const PORT: &str = "probe";
/// The word on the kernel's command line that gives the probe its role, such as `probe=tester`.
pub const ROLE: &str = "probe=";

/// What the probe is in its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A child of the node's PID 1, beside the node.
    Beside,
    /// All there is in the guest.
    Tester,
}

impl Role {
    /// The word for it on the kernel's command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Tester => "tester",
        }
    }

    /// The role that a kernel's command line gives.
    pub fn of_command_line(line: &str) -> Option<Self> {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(ROLE))?;
        [Self::Beside, Self::Tester].into_iter().find(|role| role.word() == word)
    }
}

/// A question of the rig.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Question {
    pub id: u64,
    pub ask: Ask,
}

/// What the rig can ask for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "what", deny_unknown_fields)]
pub enum Ask {
    /// What the probe's clock shows, in microseconds; operations have their times by it.
    Clock,
    /// What there is to know of the guest; answered by [`Facts`].
    Facts,
    /// Sets the guest's only link up, with these addresses.
    Network { addresses: Vec<String> },
    /// Ends a process at once, by its name.
    Kill { process: String },
    /// Stops a process, which then neither runs nor ends.
    Hang { process: String },
    /// Lets a hanging process go on.
    Resume { process: String },
    /// Fills the state partition to the last block.
    FillState,
    /// Gives the room back.
    FreeState,
    /// Moves the wall clock.
    StepClock { seconds: i64 },
    /// Makes so many processes whose parent ends at once, and which then end themselves.
    MakeOrphans { count: u32 },
    /// Starts a process that takes memory until it is killed.
    HogMemory,
    /// Reads a small file of the guest.
    ReadFile { path: String },
    /// Reads the clients' rows in the node's own PostgreSQL, past the gate; answered with [`OwnRows`].
    ReadRows { database: String, table: String },
    /// Asks the node's PID 1, its database keeper or its backups, as `nodectl` does; answered with
    /// the answer.
    Order { request: Request },
    /// Posts JSON to a server of the guest's that speaks HTTP; answered with what that answers.
    Post { port: u16, path: String, json: String },
    /// Gets a page of such a server; answered with it.
    Get { port: u16, path: String },
    /// Plugs a power switch in, which fence commands find at the guest's address.
    PlugPowerSwitchIn,
    /// Which of its outlets somebody asked to cut.
    OutletsAsked,
    /// An outlet is off now.
    OutletIsOff { outlet: String },
    /// Starts the clients of the service under test; answered when they run.
    StartClients { settings: Box<Settings> },
    /// Stops them and lets them read back what there is to read, for so long at most; answered with
    /// whether every place could be read, when the last operation was said.
    StopClients { limit_ms: u64 },
}

/// What the probe says.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum Said {
    /// The first thing after a start.
    Hello {
        role: Role,
        boot_id: String,
    },
    Answer {
        id: u64,
        answer: Value,
    },
    Refused {
        id: u64,
        error: String,
    },
    /// What a client did, by the probe's clock.
    Did {
        operation: Operation,
    },
}

/// What a node's own PostgreSQL holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct OwnRows {
    /// Whether it is a standby.
    pub follows: bool,
    pub rows: Vec<Row>,
}

/// A guest, as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Facts {
    /// Changes with every boot.
    pub boot_id: String,
    /// Seconds since 1970, as the guest has them.
    pub wall_seconds: u64,
    /// Names of processes, and how many have each; kernel threads are left out.
    pub processes: BTreeMap<String, u32>,
    /// Processes that nobody has reaped.
    pub zombies: u32,
    /// The process behind PID 1.
    pub init: String,
    /// Addresses of the guest's cards, those of the link only left out.
    pub addresses: Vec<IpAddr>,
    /// Whether each card has a cable.
    pub carriers: BTreeMap<String, bool>,
    /// The options that the root is mounted with.
    pub root_options: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_stands_on_the_command_line() {
        let line = format!("console=ttyS0 {ROLE}{}\n", Role::Tester.word());
        assert_eq!(Role::of_command_line(&line), Some(Role::Tester));
        assert_eq!(Role::of_command_line("console=ttyS0 quiet"), None);
    }

    #[test]
    fn a_question_is_one_line_and_nothing_unknown_passes() {
        let question = Question { id: 7, ask: Ask::Kill { process: "vipd".to_owned() } };
        let line = serde_json::to_string(&question).expect("text");
        assert_eq!(line, r#"{"id":7,"ask":{"what":"kill","process":"vipd"}}"#);
        assert_eq!(serde_json::from_str::<Question>(&line).expect("read").id, question.id);
        let odd = line.replace("process", "progress");
        assert!(serde_json::from_str::<Question>(&odd).is_err());
    }
}
