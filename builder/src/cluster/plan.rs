//! From a cluster file to the seeds of its nodes, all in memory.
//!
//! A seed gets only the tables that its node needs, with the comments that they have in the cluster
//! file, so it reads as if a person had written it. Every seed is then read by the seed crate, and
//! what that finds is shown at the place in the cluster file where it came from.

use seed::section::Role;
use seed::{Problem, Problems, Seed, Wrong};
use toml_edit::{Item, Table, value};

use super::derive;
use super::place::{Routes, in_order};
use super::site::{COMMON_TABLES, MAX_FILE_BYTES, ROLE_TABLES, Site, SiteNode};
use super::tables::{list, listed, merge, printed, set, table_of, tables_of, texts};

/// The seeds of a site, ready to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The site's name.
    pub cluster: String,
    /// One for each node, in the order of the cluster file.
    pub seeds: Vec<PlannedSeed>,
    /// Values of the cluster file that belong into the secrets folder, as TOML.
    pub(super) given_secrets: Option<String>,
}

/// A node's seed.
#[derive(Clone, Debug)]
pub struct PlannedSeed {
    /// The node's name; the seed's file is called after it.
    pub name: String,
    /// The file's text.
    pub text: String,
    /// The same, read.
    pub seed: Seed,
}

/// Works out the seeds. `file` is the name that problems shall carry, `operator` the fingerprint of
/// the operator's certificate, which every node shall know.
pub fn plan(file: &str, text: &str, operator: &str) -> Result<Plan, Problems> {
    if text.len() > MAX_FILE_BYTES {
        return Err(too_large(file, text.len()));
    }
    let site = Site::read(file, text)?;
    let mut problems = site.problems.clone();
    let mut seeds = Vec::new();
    for (index, node) in site.nodes.iter().enumerate() {
        let (text, routes) = seed_of(&site, index, node, operator);
        match seed::parse(file, &text) {
            Ok(seed) => seeds.push(PlannedSeed { name: node.name.clone(), text, seed }),
            Err(found) => {
                let remapped = found.problems.iter();
                problems.extend(remapped.map(|problem| site.source.remap(problem, &routes)));
            }
        }
    }
    if !problems.is_empty() {
        return Err(in_order(problems));
    }
    let cluster = seeds.first().map(|planned| planned.seed.cluster.name.to_string());
    Ok(Plan { cluster: cluster.unwrap_or_default(), seeds, given_secrets: site.given_secrets() })
}

fn too_large(file: &str, bytes: usize) -> Problems {
    let wrong = Wrong::new(
        "the cluster file is too large",
        format!("has {bytes} bytes; at most {MAX_FILE_BYTES} are read"),
        "check that this is a cluster file and no other",
    );
    let problem = Problem::in_text(file, "", "", &(0..0), wrong);
    in_order(vec![problem])
}

/// A seed in the course of being written.
struct Writer<'s> {
    site: &'s Site,
    index: usize,
    node: &'s SiteNode,
    /// Keys that must stand before the first header.
    head: String,
    parts: String,
    routes: Routes,
}

fn seed_of(site: &Site, index: usize, node: &SiteNode, operator: &str) -> (String, Routes) {
    let mut writer = Writer {
        site,
        index,
        node,
        head: String::new(),
        parts: String::new(),
        routes: Routes::default(),
    };
    writer.node();
    writer.links();
    writer.table("routes", "Routes beyond the networks of the links.");
    writer.cluster();
    writer.vips();
    for (key, roles) in ROLE_TABLES {
        // What a node says itself is kept even if it is of no use there, so that it gets told.
        if node.has_any(roles) || node.table.contains_key(key) {
            writer.table(key, comment(key));
        }
    }
    for key in COMMON_TABLES.iter().filter(|key| **key != "operators") {
        writer.table(key, comment(key));
    }
    writer.operators(operator);
    let name = &node.name;
    let head = format!(
        "# The seed of \"{name}\": everything that makes this machine \"{name}\" and no other.\n\
         #\n\
         # Made from a cluster file by `builder cluster new`. It holds no secrets; these are in the\n\
         # folder secrets/ beside it, and `builder build --seed {name}.toml` adds them to the image.\n\
         # Change the cluster file and make all seeds again, rather than this file, so that they\n\
         # stay alike.\n\n{}",
        writer.head
    );
    (format!("{head}{}", writer.parts), writer.routes)
}

/// What stands above a table that has no comment of its own.
fn comment(key: &str) -> &'static str {
    match key {
        "failover" => "What the pair does when its nodes lose sight of each other.",
        "database" => "PostgreSQL.",
        "patroni" => "Patroni keeps PostgreSQL's members in line.",
        "etcd" => "etcd, run by the image itself.",
        "k3s" => "Kubernetes.",
        "services" => "What Kubernetes services may use from outside.",
        "balancer" => "Connections that this node spreads over others.",
        "registry" => "The private image registry.",
        "witness" => "This node votes when a pair is cut in two.",
        "dns" => "Name resolution.",
        "time" => "The clock.",
        "debug" => "Help for finding faults.",
        _ => "",
    }
}

impl Writer<'_> {
    fn part(&mut self, key: &str, item: Item, comment: &str) {
        self.parts.push_str(&printed(key, item, comment));
    }

    /// Something that is no table stands at the top, where the seed's reader will refuse it.
    fn misfit(&mut self, key: &str, item: &Item) {
        let text = printed(key, item.clone(), "");
        self.head.push_str(text.trim_start());
    }

    fn node(&mut self) {
        let path = format!("nodes[{}]", self.index);
        self.routes.add("node", &path);
        self.routes.add("links", format!("{path}.links"));
        match self.site.item("format") {
            Some(format) => self.misfit("format", format),
            None => self.head.push_str("format = 1\n"),
        }
        self.routes.add("format", "format");
        let mut table = Table::new();
        for key in ["name", "roles"] {
            if let Some(item) = self.node.table.get(key) {
                set(&mut table, key, item.clone());
            }
        }
        self.part("node", Item::Table(table), "");
    }

    fn links(&mut self) {
        if let Some(item) = self.site.item("links").filter(|item| tables_of(item).is_none()) {
            self.routes.add("links", "links");
            self.misfit("links", item);
            return;
        }
        for (position, (_, places)) in self.node.links.iter().enumerate() {
            for place in places {
                self.routes.add(format!("links[{position}]"), place);
            }
        }
        if !self.node.links.is_empty() {
            let links = listed(self.node.links.iter().map(|(table, _)| table.clone()));
            self.part("links", links, "The network cards of this node, and its addresses.");
        }
    }

    fn cluster(&mut self) {
        for (position, node) in self.site.nodes.iter().enumerate() {
            let path = format!("cluster.nodes[{position}]");
            if let (_, Some(link)) = derive::addresses(node) {
                let addresses = format!("{link}.addresses");
                self.routes.add(format!("{path}.addresses"), addresses);
            }
            self.routes.add(path, format!("nodes[{position}]"));
        }
        self.routes.add("cluster", "cluster");
        let mut table = match self.site.item("cluster") {
            None => return,
            Some(item) => match table_of(item) {
                Some(table) => table,
                None => return self.misfit("cluster", item),
            },
        };
        table.decor_mut().clear();
        table.insert("nodes", derive::cluster_nodes(self.site));
        let comment = "The site and all of its nodes: the same text in every seed.";
        self.part("cluster", Item::Table(table), comment);
    }

    fn vips(&mut self) {
        if let Some(item) = self.site.item("vips").filter(|item| tables_of(item).is_none()) {
            self.routes.add("vips", "vips");
            self.misfit("vips", item);
            return;
        }
        let mut held = Vec::new();
        for (position, vip) in self.site.vips.iter().enumerate() {
            if !self.node.has_any(&vip.holders) {
                continue;
            }
            let path = format!("vips[{}]", held.len());
            let own = format!("nodes[{}].vips.{}", self.index, vip.name);
            self.routes.add(&path, own);
            self.routes.add(&path, format!("vips[{position}]"));
            held.push(derive::vip(self.site, self.node, vip));
        }
        if !held.is_empty() {
            self.part("vips", listed(held), "Virtual addresses that this node may hold.");
        }
    }

    /// A table of the site, with what the node says about it laid over.
    fn table(&mut self, key: &str, comment: &str) {
        self.routes.add(key, format!("nodes[{}].{key}", self.index));
        self.routes.add(key, key);
        let (shared, own) = (self.site.item(key), self.node.table.get(key));
        if key == "routes" {
            let routes = own.or(shared);
            match routes.map(|item| (item, tables_of(item))) {
                None => {}
                Some((_, Some(tables))) => self.part(key, listed(tables), comment),
                Some((item, None)) => self.misfit(key, item),
            }
            return;
        }
        for item in [shared, own].into_iter().flatten() {
            if table_of(item).is_none() {
                return self.misfit(key, item);
            }
        }
        let mut table = match (shared.and_then(table_of), own.and_then(table_of)) {
            (None, None) => {
                let witness = self.site.with_role(&[Role::Witness]).next();
                if key != "failover" || witness.is_none() {
                    return;
                }
                Table::new()
            }
            (Some(table), None) | (None, Some(table)) => table,
            (Some(mut shared), Some(own)) => {
                merge(&mut shared, &own);
                shared
            }
        };
        match key {
            "failover" => derive::failover(self.site, self.node, &mut table),
            "k3s" => derive::k3s(self.site, self.node, &mut table),
            _ => {}
        }
        self.part(key, Item::Table(table), comment);
    }

    fn operators(&mut self, fingerprint: &str) {
        let key = "operators";
        self.routes.add(key, format!("nodes[{}].{key}", self.index));
        self.routes.add(key, key);
        let mut table = Table::new();
        for item in [self.site.item(key), self.node.table.get(key)].into_iter().flatten() {
            match table_of(item) {
                Some(written) if table.is_empty() => table = written,
                Some(written) => merge(&mut table, &written),
                None => return self.misfit(key, item),
            }
        }
        // A list that can't be read stays as it is, for the seed's reader to refuse.
        let readable = table.get("fingerprints").is_none_or(Item::is_array);
        let mut known = texts(&table, "fingerprints");
        if readable && !known.iter().any(|known| known == fingerprint) {
            known.push(fingerprint.to_owned());
            set(&mut table, "fingerprints", list(known));
        }
        if table.is_empty() {
            table.insert("fingerprints", value(fingerprint));
        }
        let comment = "Who may use `nodectl` from afar: holders of secrets/…/operator.key.";
        self.part(key, Item::Table(table), comment);
    }
}
