//! The rules that only a cluster file has: its keys, and what holds between nodes and VIPs.
//!
//! Everything that a seed has too is left to the seed crate, which reads the seeds that come out.

use seed::scalar::{NodeName, Word};
use toml_edit::{Item, Table, TableLike};

use super::site::{COMMON_TABLES, ROLE_TABLES, Site};
use super::tables::text;

/// Keys of a node beside its own versions of tables.
const NODE_KEYS: &[&str] = &["name", "roles", "addresses"];

/// Keys of the whole file beside the tables above.
const FILE_KEYS: &[&str] = &["format", "cluster", "nodes", "links", "routes", "vips", "secrets"];

/// Keys of `[secrets]`; two of them are tables by the name of a VIP.
const SECRETS: &[&str] = &[
    "k3s_token",
    "k3s_agent_token",
    "datastore_password",
    "backup_access_key",
    "backup_secret_key",
    "backup_passphrase",
    "vrrp_passwords",
    "vrrp_keys",
];

/// A word with more wrong letters than this was not misspelt but meant otherwise.
const MAX_SLIPS: usize = 2;

impl Site {
    /// All tables that nodes may have.
    fn node_tables() -> impl Iterator<Item = &'static str> {
        let by_role = ROLE_TABLES.iter().map(|(key, _)| *key);
        by_role.chain(COMMON_TABLES.iter().copied())
    }

    pub(super) fn refuse_unknown_keys(&mut self) {
        let known: Vec<&str> = FILE_KEYS.iter().copied().chain(Self::node_tables()).collect();
        for key in keys(self.source.root().as_table_like()) {
            if !known.contains(&key.as_str()) {
                let mend = mend_unknown(&key, &known);
                let what = format!("a cluster file has no table `{key}`");
                self.report_key(&key, &what, "unknown key", mend);
            }
        }
        let cluster = self.item("cluster").and_then(Item::as_table_like);
        if cluster.is_some_and(|cluster| cluster.contains_key("nodes")) {
            self.report_key(
                "cluster.nodes",
                "in a cluster file the nodes are [[nodes]]",
                "belongs to seeds",
                "write each node as [[nodes]], at the top level",
            );
        }
    }

    pub(super) fn check_node(&mut self, index: usize, table: &Table) {
        let known: Vec<&str> = NODE_KEYS
            .iter()
            .copied()
            .chain(["links", "routes", "vips"])
            .chain(Self::node_tables())
            .collect();
        for (key, _) in table {
            if !known.contains(&key) {
                let mend = mend_unknown(key, &known);
                let what = format!("[[nodes]] has no key `{key}`");
                self.report_key(&format!("nodes[{index}].{key}"), &what, "unknown key", mend);
            }
        }
        if let Some(name) = text(table, "name")
            && let Err(wrong) = name.parse::<NodeName>()
        {
            let problem = self.source.problem(&format!("nodes[{index}].name"), wrong);
            self.problems.push(problem);
        }
    }

    /// Refuses a second node of the same name; says whether there was one.
    pub(super) fn refuse_twins(&mut self) -> bool {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let mut found = false;
        for (index, name) in names.iter().enumerate() {
            if !name.is_empty() && names[..index].contains(name) {
                let what = format!("two nodes are called \"{name}\"");
                let path = format!("nodes[{index}].name");
                self.report(&path, &what, "named before", "give each node its own name");
                found = true;
            }
        }
        found
    }

    /// What a node says about VIPs is about VIPs that it can hold.
    pub(super) fn check_own_vips(&mut self, index: usize) {
        let node = &self.nodes[index];
        let Some(item) = node.table.get("vips") else {
            return;
        };
        let path = format!("nodes[{index}].vips");
        let Some(own) = item.as_table_like() else {
            let what = "what a node says about a VIP is written by the VIP's name";
            self.report(&path, what, "is no table", "write `vips.api.priority = 150`");
            return;
        };
        let stray: Vec<String> = keys(Some(own))
            .into_iter()
            .filter(|name| {
                let vip = self.vips.iter().find(|vip| vip.name == *name);
                !vip.is_some_and(|vip| node.has_any(&vip.holders))
            })
            .collect();
        for name in stray {
            let what = format!("this node holds no VIP called \"{name}\"");
            let why = "no [[vips]] of that name for its roles";
            let mend = "correct the name, or add one of the node's roles to the VIP's `roles`";
            self.report_key(&format!("{path}.{name}"), &what, why, mend);
        }
    }

    pub(super) fn refuse_idle_tables(&mut self) {
        for (key, roles) in ROLE_TABLES {
            if self.item(key).is_none() || self.with_role(roles).next().is_some() {
                continue;
            }
            let words: Vec<_> = roles.iter().map(|role| format!("\"{role}\"")).collect();
            self.report(
                key,
                &format!("[{key}] is of no use at this site"),
                &format!("no node has the role {}", words.join(" or ")),
                format!("give the role to a node, or remove [{key}]"),
            );
        }
    }

    pub(super) fn check_secrets(&mut self) {
        let Some(item) = self.item("secrets") else {
            return;
        };
        let Some(table) = item.as_table_like() else {
            let mend = "write `[secrets]` with keys below";
            self.report("secrets", "[secrets] is a table", "is none", mend);
            return;
        };
        let mut wrong = Vec::new();
        for (key, item) in table.iter() {
            let by_vip = key.starts_with("vrrp_");
            if !SECRETS.contains(&key) {
                wrong.push((format!("secrets.{key}"), "can't be given in a cluster file"));
            } else if by_vip {
                let entries = item.as_table_like();
                for (name, item) in entries.iter().flat_map(|entries| entries.iter()) {
                    let known = self.vips.iter().any(|vip| vip.name == name);
                    if !known || name.parse::<Word>().is_err() {
                        wrong.push((format!("secrets.{key}.{name}"), "no VIP has this name"));
                    } else if item.as_str().is_none_or(str::is_empty) {
                        wrong.push((format!("secrets.{key}.{name}"), "is no text"));
                    }
                }
                if entries.is_none() {
                    wrong.push((format!("secrets.{key}"), "is no table by the name of a VIP"));
                }
            } else if item.as_str().is_none_or(str::is_empty) {
                wrong.push((format!("secrets.{key}"), "is no text"));
            }
        }
        for (path, why) in wrong {
            let what = "[secrets] holds values that must not be random";
            let mend = format!("leave it out, or give one of {} as text", SECRETS.join(", "));
            self.report_key(&path, what, why, mend);
        }
    }
}

fn keys(table: Option<&dyn TableLike>) -> Vec<String> {
    let entries = table.into_iter().flat_map(|table| table.iter());
    entries.map(|(key, _)| key.to_owned()).collect()
}

/// What to do about a key that is none of those known: mostly it is misspelt.
fn mend_unknown(key: &str, known: &[&str]) -> String {
    let distance = |known: &&&str| strsim::damerau_levenshtein(key, known);
    match known.iter().min_by_key(distance) {
        Some(meant) if distance(&meant) <= MAX_SLIPS => format!("did you mean `{meant}`?"),
        _ => format!("remove it; known are {}", known.join(", ")),
    }
}
