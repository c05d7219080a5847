//! A cluster file as it was written: its nodes, and what is wrong at its own level.
//!
//! What a cluster file has beyond a seed is little, and only that is checked here: `[[nodes]]`,
//! which nodes hold a VIP, given secrets. All the rest is checked as part of the seeds.

use seed::Wrong;
use seed::section::Role;
use seed::{Problem, Problems};
use toml_edit::{Item, Table};

use super::place::{Source, in_order};
use super::tables::{merge, set, table_of, tables_of, text, texts};

/// Tables that belong to nodes with one of these roles; every other node does without them.
pub(super) const ROLE_TABLES: &[(&str, &[Role])] = &[
    ("failover", &[Role::Database]),
    ("database", &[Role::Database, Role::Patroni]),
    ("patroni", &[Role::Patroni]),
    ("etcd", &[Role::Etcd]),
    ("k3s", &[Role::Server, Role::Agent]),
    ("services", &[Role::Server]),
    ("balancer", &[Role::Balancer]),
    ("registry", &[Role::Registry]),
    ("witness", &[Role::Witness]),
];

/// Tables that every node gets.
pub(super) const COMMON_TABLES: &[&str] = &["dns", "time", "operators", "debug"];

/// The largest cluster file that is read: a site of a hundred nodes has some 50 KiB.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// A cluster file, read.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) source: Source,
    pub(super) nodes: Vec<SiteNode>,
    /// The VIPs in the order of the file.
    pub(super) vips: Vec<SiteVip>,
    pub(super) problems: Vec<Problem>,
}

/// A node of the file.
#[derive(Debug)]
pub(super) struct SiteNode {
    pub(super) name: String,
    pub(super) roles: Vec<Role>,
    pub(super) table: Table,
    /// Its links, each with the paths in the file that it is made from.
    pub(super) links: Vec<(Table, Vec<String>)>,
}

/// A VIP of the file.
#[derive(Debug)]
pub(super) struct SiteVip {
    pub(super) name: String,
    pub(super) holders: Vec<Role>,
    pub(super) unicast: bool,
    /// As in a seed: without the keys that only a cluster file has.
    pub(super) table: Table,
}

impl Site {
    /// Reads the file; what is wrong at its own level is in `problems`.
    pub(super) fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let source = Source::parse(file, text)?;
        let mut site = Self { source, nodes: Vec::new(), vips: Vec::new(), problems: Vec::new() };
        site.refuse_unknown_keys();
        site.read_nodes();
        site.read_vips();
        site.refuse_idle_tables();
        site.check_secrets();
        // The rest is checked in the seeds, for which there must be nodes that can be told apart.
        if site.refuse_twins() || site.nodes.is_empty() {
            return Err(in_order(site.problems));
        }
        Ok(site)
    }

    /// A key of the top of the file.
    pub(super) fn item(&self, key: &str) -> Option<&Item> {
        self.source.root().as_table_like()?.get(key)
    }

    /// The nodes with one of these roles.
    pub(super) fn with_role(&self, roles: &[Role]) -> impl Iterator<Item = &SiteNode> {
        self.nodes.iter().filter(move |node| node.has_any(roles))
    }

    pub(super) fn report(&mut self, path: &str, what: &str, why: &str, mend: impl Into<String>) {
        let problem = self.source.problem(path, Wrong::new(what, why, mend));
        self.problems.push(problem);
    }

    pub(super) fn report_key(
        &mut self,
        path: &str,
        what: &str,
        why: &str,
        mend: impl Into<String>,
    ) {
        let problem = self.source.problem_at_key(path, Wrong::new(what, why, mend));
        self.problems.push(problem);
    }

    fn read_nodes(&mut self) {
        let tables = self.item("nodes").and_then(tables_of).unwrap_or_default();
        if tables.is_empty() {
            self.report(
                "nodes",
                "a site has nodes",
                "there is no [[nodes]]",
                "add [[nodes]] with name, roles and links for each machine",
            );
        }
        for (index, table) in tables.into_iter().enumerate() {
            self.check_node(index, &table);
            let roles = roles_of(&table);
            let name = text(&table, "name").unwrap_or_default().to_owned();
            let links = self.links_of(index, &table);
            self.nodes.push(SiteNode { name, roles, table, links });
        }
    }

    /// The links of a node: the shared ones, each with what the node says about it, and its own.
    fn links_of(&mut self, index: usize, node: &Table) -> Vec<(Table, Vec<String>)> {
        let path = format!("nodes[{index}].links");
        if let Some(own) = node.get("links").and_then(tables_of) {
            let place = |(position, table)| (table, vec![format!("{path}[{position}]")]);
            return own.into_iter().enumerate().map(place).collect();
        }
        let shared = self.item("links").and_then(tables_of).unwrap_or_default();
        let mut links: Vec<(Table, Vec<String>)> = shared
            .into_iter()
            .enumerate()
            .map(|(position, table)| (table, vec![format!("links[{position}]")]))
            .collect();
        let Some(own) = node.get("links") else {
            return links;
        };
        let Some(own) = own.as_table_like() else {
            let what = "links of a node are written by name";
            self.report(&path, what, "is no table", "write `links.lan.addresses = […]`");
            return links;
        };
        for (name, item) in own.iter() {
            let path = format!("{path}.{name}");
            let Some(own) = item.as_table_like() else {
                let what = "a link is a table";
                self.report(&path, what, "is none", "write `links.lan.addresses = […]`");
                continue;
            };
            let same = |(link, _): &&mut (Table, _)| text(link, "name") == Some(name);
            if let Some((link, places)) = links.iter_mut().find(same) {
                merge(link, own);
                places.insert(0, path);
            } else {
                let mut link = Table::new();
                set(&mut link, "name", toml_edit::value(name));
                merge(&mut link, own);
                links.push((link, vec![path]));
            }
        }
        links
    }

    fn read_vips(&mut self) {
        let tables = self.item("vips").and_then(tables_of).unwrap_or_default();
        for (index, mut table) in tables.into_iter().enumerate() {
            let path = format!("vips[{index}]");
            let words = texts(&table, "roles");
            let holders = roles_of(&table);
            if words.is_empty() || holders.len() < words.len() {
                let roles: Vec<_> = Role::ALL.iter().map(|role| role.word()).collect();
                self.report(
                    &format!("{path}.roles"),
                    "a VIP is held by the nodes of a role",
                    "names no such role",
                    format!("write `roles = [\"server\"]`, one or more of {}", roles.join(", ")),
                );
            } else if self.with_role(&holders).next().is_none() {
                self.report(
                    &format!("{path}.roles"),
                    "a VIP needs nodes that can hold it",
                    "no node has such a role",
                    "give the role to the nodes, or correct it",
                );
            }
            if table.contains_key("peers") {
                self.report_key(
                    &format!("{path}.peers"),
                    "the peers of a VIP follow from the nodes",
                    "is worked out for each node",
                    "write `unicast = true` instead",
                );
            }
            let unicast = table.get("unicast").map(Item::as_bool);
            if unicast == Some(None) {
                let what = "`unicast` is true or false";
                self.report(&format!("{path}.unicast"), what, "is neither", "write `true`");
            }
            for key in ["roles", "unicast", "peers"] {
                table.remove(key);
            }
            self.vips.push(SiteVip {
                name: text(&table, "name").unwrap_or_default().to_owned(),
                holders,
                unicast: unicast.flatten().unwrap_or(false),
                table,
            });
        }
        // With a VIP in doubt, what nodes say about it would only be doubted once more.
        if self.problems.iter().any(|problem| problem.key.starts_with("vips[")) {
            return;
        }
        for index in 0..self.nodes.len() {
            self.check_own_vips(index);
        }
    }

    /// The given secrets as text, for the site's folder.
    pub(super) fn given_secrets(&self) -> Option<String> {
        let table = table_of(self.item("secrets")?)?;
        let mut document = toml_edit::DocumentMut::new();
        *document.as_table_mut() = table;
        Some(document.to_string())
    }
}

impl SiteNode {
    /// Whether the node has one of these roles.
    pub(super) fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }

    /// Whether the node has this role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// The roles in a table; unknown words are left to the seed's reader.
fn roles_of(table: &Table) -> Vec<Role> {
    let words = texts(table, "roles").into_iter();
    let role = |word: String| Role::ALL.iter().copied().find(|role| role.word() == word);
    words.filter_map(role).collect()
}
