//! The index of a kernel's modules: which one is asked for, and what must be loaded before it.
//!
//! ```text
//!  what is asked ──┬─ a module's name ────────────> that module
//!  (device, name,  ├─ an alias, a pattern of one ─> every module that has it, but no denied one
//!   kernel alias)  └─ built into the kernel ──────> nothing to do
//!
//!  a module ─> plan: soft "before" ─> what it needs, deepest first ─> itself ─> soft "after"
//! ```
//! The builder writes the files in depmod's text forms. Nothing is read here: the texts come in as
//! they are, and the index borrows from them, because it lives for one batch of questions only. A
//! line that makes no sense is passed over: a damaged index costs drivers, never the node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::modules::glob;

/// The index as files.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    dep: String,
    alias: String,
    soft: String,
    deny: String,
    built_in: String,
}

/// The index, ready for questions.
#[derive(Debug)]
pub(crate) struct Index<'t> {
    by_name: BTreeMap<String, Line<'t>>,
    aliases: Vec<Alias<'t>>,
    soft: BTreeMap<&'t str, Soft<'t>>,
    denied: BTreeSet<String>,
    built_in: BTreeSet<String>,
    /// The longest literal start of any alias: no longer start of a question is looked up.
    longest: usize,
}

#[derive(Debug)]
struct Line<'t> {
    path: &'t str,
    needs: Vec<&'t str>,
}

/// Sorted by their literal starts, so that a question finds its candidates by halving.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alias<'t> {
    literal: &'t str,
    pattern: &'t str,
    module: &'t str,
}

#[derive(Debug, Default)]
struct Soft<'t> {
    before: Vec<&'t str>,
    after: Vec<&'t str>,
}

/// The answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Canonical names.
    Modules(Vec<String>),
    BuiltIn,
    Nothing,
}

/// One module of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// Below the folder of the kernel's modules.
    pub(crate) path: String,
    /// What follows can do without it.
    pub(crate) optional: bool,
}

impl Texts {
    /// Reads the files; only `modules.dep` must be there.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let other = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        Ok(Self {
            dep: fs::read_to_string(folder.join("modules.dep"))?,
            alias: canonical_aliases(&other("modules.alias")),
            soft: other("modules.softdep"),
            deny: other("modules.deny"),
            built_in: other("modules.builtin"),
        })
    }
}

/// `-` and `_` are the same in module names and aliases, but not in a pattern's brackets.
fn canonical_aliases(text: &str) -> String {
    let mut in_brackets = false;
    let exchange = |sign: char| {
        in_brackets = match sign {
            '[' => true,
            ']' | '\n' => false,
            _ => in_brackets,
        };
        if sign == '-' && !in_brackets { '_' } else { sign }
    };
    text.chars().map(exchange).collect()
}

/// The kernel treats `-` and `_` in module names as the same.
pub(crate) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    canonical(file.split(".ko").next().unwrap_or(file))
}

impl<'t> Index<'t> {
    pub(crate) fn new(texts: &'t Texts) -> Self {
        let mut by_name = BTreeMap::new();
        for line in texts.dep.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            let needs = needs.split_whitespace().collect();
            by_name.insert(name_of(path), Line { path, needs });
        }
        let mut aliases: Vec<Alias<'_>> = texts.alias.lines().filter_map(alias).collect();
        aliases.sort_unstable();
        let longest = aliases.iter().map(|alias| alias.literal.len()).max().unwrap_or(0);
        Self {
            by_name,
            aliases,
            soft: texts.soft.lines().filter_map(soft).collect(),
            denied: texts.deny.split_whitespace().map(canonical).collect(),
            built_in: texts.built_in.lines().map(name_of).collect(),
            longest,
        }
    }

    /// Modules that are never loaded because a device asks, only by their name.
    pub(crate) fn deny(&mut self, names: impl IntoIterator<Item = String>) {
        self.denied.extend(names.into_iter().map(|name| canonical(&name)));
    }

    /// Whether there is a module of this name to load.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(&canonical(name))
    }

    /// Who is meant by a name, an alias or the description of a device.
    pub(crate) fn find(&self, asked: &str) -> Found {
        let asked = canonical(asked);
        if self.by_name.contains_key(&asked) {
            return Found::Modules(vec![asked]);
        }
        let mut names = BTreeSet::new();
        let ends = (0..=asked.len().min(self.longest)).filter_map(|end| asked.get(..end));
        for start in ends {
            let from = self.aliases.partition_point(|alias| alias.literal < start);
            let candidates = self.aliases.get(from..).unwrap_or_default();
            for alias in candidates.iter().take_while(|alias| alias.literal == start) {
                if glob::matches(alias.pattern, &asked) && !self.denied.contains(alias.module) {
                    names.insert(alias.module.to_owned());
                }
            }
        }
        if !names.is_empty() {
            Found::Modules(names.into_iter().collect())
        } else if self.built_in.contains(&asked) {
            Found::BuiltIn
        } else {
            Found::Nothing
        }
    }

    /// What to load for a module, in order, the module itself included.
    pub(crate) fn plan(&self, name: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        self.visit(&canonical(name), false, &mut BTreeSet::new(), &mut steps);
        steps
    }

    /// Whoever was seen is not entered again, so that soft wishes in a circle come to an end.
    fn visit(
        &self,
        name: &str,
        optional: bool,
        seen: &mut BTreeSet<String>,
        steps: &mut Vec<Step>,
    ) {
        let Some(line) = self.by_name.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let soft = self.soft.get(name);
        for wish in soft.iter().flat_map(|soft| &soft.before) {
            self.visit(&canonical(wish), true, seen, steps);
        }
        for needed in line.needs.iter().rev() {
            self.visit(&name_of(needed), optional, seen, steps);
        }
        steps.push(Step { name: name.to_owned(), path: line.path.to_owned(), optional });
        for wish in soft.iter().flat_map(|soft| &soft.after) {
            self.visit(&canonical(wish), true, seen, steps);
        }
    }
}

/// `alias PATTERN MODULE`. A pattern may hold spaces, as those of some firmware tables do.
fn alias(line: &str) -> Option<Alias<'_>> {
    let (pattern, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
    Some(Alias { literal: glob::literal_prefix(pattern), pattern, module })
}

/// `softdep MODULE pre: a b post: c`.
fn soft(line: &str) -> Option<(&str, Soft<'_>)> {
    let (module, rule) = line.strip_prefix("softdep ")?.split_once(' ')?;
    let mut soft = Soft::default();
    let mut into = &mut soft.before;
    for word in rule.split_whitespace() {
        match word {
            "pre:" => into = &mut soft.before,
            "post:" => into = &mut soft.after,
            name => into.push(name),
        }
    }
    Some((module, soft))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts() -> Texts {
        Texts {
            dep: "kernel/md/dm-verity.ko.xz: kernel/md/dm-bufio.ko.xz kernel/md/dm-mod.ko.xz\n\
                  kernel/md/dm-bufio.ko.xz: kernel/md/dm-mod.ko.xz\nkernel/md/dm-mod.ko.xz:\n\
                  kernel/fs/ext4.ko: kernel/lib/libcrc32c.ko\nkernel/lib/libcrc32c.ko:\n\
                  kernel/crypto/crc32c_generic.ko:\nkernel/crypto/crc32c-intel.ko:\n\
                  kernel/net/e1000e.ko:\nkernel/net/nf_tables.ko:\n"
                .to_owned(),
            alias: canonical_aliases(
                "alias fs-ext4 ext4\nalias crypto-crc32c crc32c_generic\n\
                 alias crypto-crc32c crc32c_intel\nalias cpu:type:x86,ven*:feature:*00C0* crc32c_intel\n\
                 alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\n\
                 alias pci:v*d*sv*sd*bc02sc00i[0-9]* e1000e\nalias nft-chain-2-nat nf_tables\n",
            ),
            soft: "softdep libcrc32c pre: crc32c-intel absent post: crc32c_generic\n".to_owned(),
            deny: String::new(),
            built_in: "kernel/fs/pstore/pstore.ko\n".to_owned(),
        }
    }

    fn names(found: Found) -> Vec<String> {
        match found {
            Found::Modules(names) => names,
            Found::BuiltIn | Found::Nothing => Vec::new(),
        }
    }

    #[test]
    fn names_aliases_and_devices_lead_to_modules() {
        let texts = texts();
        let index = Index::new(&texts);
        assert_eq!(names(index.find("dm-verity")), ["dm_verity"]);
        assert_eq!(names(index.find("fs-ext4")), ["ext4"]);
        assert_eq!(names(index.find("crypto-crc32c")), ["crc32c_generic", "crc32c_intel"]);
        assert_eq!(names(index.find("nft-chain-2-nat")), ["nf_tables"]);
        let card = "pci:v00008086d000010D3sv0sd0bc02sc00i07";
        assert_eq!(names(index.find(card)), ["e1000e"], "two patterns, one module");
        assert_eq!(index.find("pstore"), Found::BuiltIn);
        assert_eq!(index.find("pci:v0d0"), Found::Nothing);
        assert_eq!(index.find(""), Found::Nothing);
    }

    #[test]
    fn a_denied_module_is_loaded_by_name_only() {
        let texts = texts();
        let mut index = Index::new(&texts);
        index.deny(["crc32c-generic".to_owned(), "e1000e".to_owned()]);
        assert_eq!(names(index.find("crypto-crc32c")), ["crc32c_intel"]);
        assert_eq!(index.find("pci:v00008086d000010D3sv0sd0bc02sc00i00"), Found::Nothing);
        assert_eq!(names(index.find("e1000e")), ["e1000e"]);
    }

    #[test]
    fn a_plan_has_what_is_needed_first_and_what_is_wished_for_as_optional() {
        let texts = texts();
        let index = Index::new(&texts);
        let plan = |name| -> Vec<String> {
            let mark =
                |step: Step| format!("{}{}", step.name, if step.optional { "?" } else { "" });
            index.plan(name).into_iter().map(mark).collect()
        };
        assert_eq!(plan("dm-verity"), ["dm_mod", "dm_bufio", "dm_verity"]);
        assert_eq!(plan("ext4"), ["crc32c_intel?", "libcrc32c", "crc32c_generic?", "ext4"]);
        assert!(plan("absent").is_empty());
    }

    #[test]
    fn wishes_in_a_circle_end() {
        let texts = Texts {
            dep: "a.ko: b.ko\nb.ko: a.ko\n".to_owned(),
            soft: "softdep a pre: b\nsoftdep b pre: a post: a\n".to_owned(),
            ..Texts::default()
        };
        assert_eq!(Index::new(&texts).plan("a").len(), 2);
    }

    proptest! {
        #[test]
        fn every_alias_that_matches_is_found(
            patterns in proptest::collection::vec("[ab]{0,2}[ab*?]{0,3}", 0..12),
            asked in "[ab]{0,5}",
        ) {
            let alias: String = patterns
                .iter()
                .enumerate()
                .map(|(number, pattern)| format!("alias {pattern} m{number}\n"))
                .collect();
            let texts = Texts { alias, ..Texts::default() };
            let expected: BTreeSet<String> = patterns
                .iter()
                .enumerate()
                .filter(|(_, pattern)| glob::matches(pattern, &asked))
                .map(|(number, _)| format!("m{number}"))
                .collect();
            let found: BTreeSet<String> = names(Index::new(&texts).find(&asked)).into_iter().collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_input_panics(all in any::<String>(), asked in any::<String>()) {
            let alias = canonical_aliases(&format!("alias {all} x\n{all}"));
            let soft = format!("softdep {all}\n{all}");
            let dep = format!("{all}: {all}\n{all}");
            let texts = Texts { dep, alias, soft, deny: all.clone(), built_in: all };
            let index = Index::new(&texts);
            if let Found::Modules(names) = index.find(&asked) {
                for name in names {
                    let _steps = index.plan(&name);
                }
            }
        }
    }
}
