//! Kernel modules: which of them an image carries, and the index by which the node finds them.
//!
//! A kernel package holds over a thousand modules; an image names the ones that it wants, by name
//! or by glob, and gets what those depend on. The index (`modules.dep`, `.alias`, `.softdep`,
//! `.builtin`) is written here in depmod's text forms, because depmod would have to be executed.
//! `modules.deny` is ours: names, one a line, that no device may have loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read};

use globset::{Glob, GlobSetBuilder};
use lzma_rust2::XzReader;
use thiserror::Error;

use super::content::Content;
use super::modinfo::{Modinfo, ModinfoError};
use super::tree::{Node, Origin, Tree, TreeError, TreePath};

/// Where modules of all kernels lie.
pub const FOLDER: &str = "/usr/lib/modules";
/// The largest module of Debian's kernels unpacks to a tenth of this.
const UNPACKED_MODULE_MAX_BYTES: u64 = 128 * 1024 * 1024;

#[derive(Debug, Error)]
pub enum ModulesError {
    #[error("the kernel package holds no modules below {FOLDER}")]
    NoModules,
    #[error("no kernel module {name:?}: {hint}")]
    Unknown { name: String, hint: String },
    #[error("no kernel module matches {0:?}: mend or drop the glob")]
    NoMatch(String),
    #[error("module glob: {0}")]
    Glob(#[from] globset::Error),
    #[error("{path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} {source}")]
    Modinfo { path: String, source: ModinfoError },
    #[error("{path} unpacks to more than {UNPACKED_MODULE_MAX_BYTES} bytes")]
    TooLarge { path: String },
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Everything that one kernel package offers.
#[derive(Debug)]
pub struct ModuleCatalogue {
    release: String,
    /// Path below the release's folder, and the file, by canonical name.
    by_name: BTreeMap<String, (String, Content)>,
    /// Names of what is compiled into the kernel: nothing to load, nothing missing.
    built_in: BTreeSet<String>,
}

/// A chosen module.
#[derive(Debug)]
struct Chosen {
    path: String,
    shipped: Content,
    unpacked: Vec<u8>,
    info: Modinfo,
}

/// The modules that were chosen, with all that they depend on.
#[derive(Debug)]
pub struct ModuleSelection {
    release: String,
    by_name: BTreeMap<String, Chosen>,
    /// So that the node knows what need not be loaded from what is missing.
    built_in: BTreeSet<String>,
    denied: BTreeSet<String>,
}

/// How modules are stored in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleForm {
    /// As the package has them, which is compressed: small.
    Shipped,
    /// Unpacked: loads quickest, for the initramfs.
    Unpacked,
}

/// `-` and `_` are the same in module names; file names use both.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

impl ModuleCatalogue {
    /// Takes the files of a kernel package.
    pub fn new<'a>(
        files: impl IntoIterator<Item = (&'a TreePath, &'a Content)>,
    ) -> Result<Self, ModulesError> {
        let mut release = None;
        let mut by_name = BTreeMap::new();
        let mut built_in = BTreeSet::new();
        for (path, content) in files {
            let below = path.as_str().strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
            let Some((of_release, rest)) = below.and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            release.get_or_insert_with(|| of_release.to_owned());
            if rest == "modules.builtin" {
                let read_failed = |source| ModulesError::Read { path: path.to_string(), source };
                let text = content.to_vec().map_err(read_failed)?;
                built_in.extend(String::from_utf8_lossy(&text).lines().map(name_of));
            } else if rest.contains(".ko") {
                by_name.insert(name_of(rest), (rest.to_owned(), content.clone()));
            }
        }
        let release = release.ok_or(ModulesError::NoModules)?;
        Ok(Self { release, by_name, built_in })
    }

    /// The kernel's release, as `uname -r` prints it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Chooses modules by name, or by a glob over paths such as `kernel/net/**`.
    pub fn select<'a>(
        &self,
        wants: impl IntoIterator<Item = &'a str>,
    ) -> Result<ModuleSelection, ModulesError> {
        let mut queue = Vec::new();
        for want in wants {
            if want.contains(['*', '/', '?', '[']) {
                queue.extend(self.matching(want)?);
            } else {
                queue.push(canonical(want));
            }
        }
        let mut by_name = BTreeMap::new();
        while let Some(name) = queue.pop() {
            if by_name.contains_key(&name) || self.built_in.contains(&name) {
                continue;
            }
            let chosen = self.open(&name)?;
            queue.extend(chosen.info.depends.iter().map(|name| canonical(name)));
            // A soft dependency that this kernel lacks is one that it does without.
            let soft = chosen.info.soft_before.iter().chain(&chosen.info.soft_after);
            let soft = soft.map(|name| canonical(name));
            queue.extend(soft.filter(|name| self.by_name.contains_key(name)));
            by_name.insert(name, chosen);
        }
        let built_in = self.built_in.clone();
        let denied = BTreeSet::new();
        Ok(ModuleSelection { release: self.release.clone(), by_name, built_in, denied })
    }

    fn matching(&self, glob: &str) -> Result<Vec<String>, ModulesError> {
        let globs = GlobSetBuilder::new().add(Glob::new(glob)?).build()?;
        let names: Vec<String> = self
            .by_name
            .iter()
            .filter(|(_, (path, _))| globs.is_match(path))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() { Err(ModulesError::NoMatch(glob.to_owned())) } else { Ok(names) }
    }

    fn open(&self, name: &str) -> Result<Chosen, ModulesError> {
        let Some((path, content)) = self.by_name.get(name) else {
            let close = self.by_name.keys().filter(|known| known.contains(name)).take(5);
            let close: Vec<&str> = close.map(String::as_str).collect();
            let hint = if close.is_empty() {
                format!("kernel {} has none like it", self.release)
            } else {
                format!("did you mean {}?", close.join(", "))
            };
            return Err(ModulesError::Unknown { name: name.to_owned(), hint });
        };
        let unpacked = unpack(path, content)?;
        let info = Modinfo::read(&unpacked)
            .map_err(|source| ModulesError::Modinfo { path: path.clone(), source })?;
        Ok(Chosen { path: path.clone(), shipped: content.clone(), unpacked, info })
    }
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    canonical(file.split(".ko").next().unwrap_or(file))
}

fn unpack(path: &str, content: &Content) -> Result<Vec<u8>, ModulesError> {
    let read_failed = |source| ModulesError::Read { path: path.to_owned(), source };
    let packed = content.to_vec().map_err(read_failed)?;
    if !path.ends_with(".xz") {
        return Ok(packed);
    }
    let mut unpacked = Vec::new();
    XzReader::new(packed.as_slice(), false)
        .take(UNPACKED_MODULE_MAX_BYTES + 1)
        .read_to_end(&mut unpacked)
        .map_err(read_failed)?;
    if unpacked.len() as u64 > UNPACKED_MODULE_MAX_BYTES {
        return Err(ModulesError::TooLarge { path: path.to_owned() });
    }
    Ok(unpacked)
}

impl ModuleSelection {
    /// Modules that are not to be loaded for a device, only by their name.
    #[must_use]
    pub fn without<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.denied.extend(names.into_iter().map(canonical));
        self
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether a module of this name was chosen; what is built into the kernel never is.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(&canonical(name))
    }

    /// The modules, unpacked, each behind all that it needs: loaded in this order without any index.
    pub fn in_load_order(&self) -> Vec<(&str, &[u8])> {
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        for name in self.by_name.keys() {
            if seen.insert(name.clone()) {
                self.visit_needs(name, &mut seen, &mut order);
                order.push(name.clone());
            }
        }
        let chosen = order.iter().filter_map(|name| self.by_name.get_key_value(name));
        chosen.map(|(name, chosen)| (name.as_str(), chosen.unpacked.as_slice())).collect()
    }

    /// Lays the modules and their index into a tree.
    pub fn install(
        &self,
        tree: &mut Tree,
        form: ModuleForm,
        origin: &Origin,
    ) -> Result<(), ModulesError> {
        let folder = format!("{FOLDER}/{}", self.release);
        for chosen in self.by_name.values() {
            let content = match form {
                ModuleForm::Shipped => chosen.shipped.clone(),
                ModuleForm::Unpacked => Content::from_bytes(chosen.unpacked.clone()),
            };
            let path = TreePath::new(&format!("{folder}/{}", stored_path(&chosen.path, form)))?;
            tree.insert(path, Node::file(content, 0o644, origin.clone()))?;
        }
        let index = [
            ("dep", self.dep(form)),
            ("alias", self.alias()),
            ("softdep", self.softdep()),
            ("builtin", lines(&self.built_in)),
            ("deny", lines(&self.denied)),
        ];
        for (name, text) in index {
            let path = TreePath::new(&format!("{folder}/modules.{name}"))?;
            let content = Content::from_bytes(text.into_bytes());
            tree.insert(path, Node::file(content, 0o644, Origin::Builder))?;
        }
        Ok(())
    }

    /// `modules.dep`: each module's path and all that it needs, the deepest last.
    fn dep(&self, form: ModuleForm) -> String {
        let mut text = String::new();
        for (name, chosen) in &self.by_name {
            let needs = self.needs_of(name);
            let paths: Vec<&str> =
                needs.iter().map(|need| stored_path(&self.by_name[need].path, form)).collect();
            let separator = if paths.is_empty() { "" } else { " " };
            let path = stored_path(&chosen.path, form);
            writeln!(text, "{path}:{separator}{}", paths.join(" ")).expect("a String takes all");
        }
        text
    }

    /// Everything below `name`, each module before what it needs itself.
    fn needs_of(&self, name: &str) -> Vec<String> {
        let mut seen = BTreeSet::from([name.to_owned()]);
        let mut order = Vec::new();
        self.visit_needs(name, &mut seen, &mut order);
        order.reverse();
        order
    }

    /// Depth first and deepest first; a module that was seen is not entered again, so that
    /// dependencies in a circle come to an end.
    fn visit_needs(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        let Some(chosen) = self.by_name.get(name) else {
            return;
        };
        for need in &chosen.info.depends {
            let need = canonical(need);
            if self.by_name.contains_key(&need) && seen.insert(need.clone()) {
                self.visit_needs(&need, seen, order);
                order.push(need);
            }
        }
    }

    /// `modules.softdep`: what a module wishes for, as far as it was chosen.
    fn softdep(&self) -> String {
        let mut text = String::new();
        for (name, chosen) in &self.by_name {
            let known = |names: &[String]| -> String {
                let names = names.iter().map(|name| canonical(name));
                names.filter(|n| self.by_name.contains_key(n)).map(|n| format!(" {n}")).collect()
            };
            let (before, after) = (known(&chosen.info.soft_before), known(&chosen.info.soft_after));
            if !before.is_empty() || !after.is_empty() {
                writeln!(text, "softdep {name} pre:{before} post:{after}")
                    .expect("a String takes all");
            }
        }
        text
    }

    /// `modules.alias`: which module is for which device.
    fn alias(&self) -> String {
        let mut text = String::new();
        for (name, chosen) in &self.by_name {
            for alias in &chosen.info.aliases {
                writeln!(text, "alias {alias} {name}").expect("a String takes all");
            }
        }
        text
    }
}

/// One name a line.
fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

fn stored_path(path: &str, form: ModuleForm) -> &str {
    match form {
        ModuleForm::Shipped => path,
        ModuleForm::Unpacked => path.strip_suffix(".xz").unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(modules: &[(&str, &[&str])]) -> ModuleSelection {
        let chosen = |(name, depends): &(&str, &[&str])| {
            let depends = depends.iter().map(|&need| need.to_owned()).collect();
            let info = Modinfo { depends, ..Modinfo::default() };
            let path = format!("kernel/{name}.ko.xz");
            let shipped = Content::from_bytes(*b"");
            ((*name).to_owned(), Chosen { path, shipped, unpacked: Vec::new(), info })
        };
        ModuleSelection {
            release: "6".to_owned(),
            by_name: modules.iter().map(chosen).collect(),
            built_in: BTreeSet::from(["ext4".to_owned()]),
            denied: BTreeSet::new(),
        }
    }

    #[test]
    fn what_two_modules_need_comes_after_both() {
        let selection =
            selection(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["b", "d"]), ("d", &[])]);
        assert_eq!(selection.needs_of("a"), ["c", "b", "d"]);
        let dep = selection.dep(ModuleForm::Unpacked);
        assert!(dep.contains("kernel/a.ko: kernel/c.ko kernel/b.ko kernel/d.ko\n"), "{dep}");
        assert!(dep.contains("kernel/d.ko:\n"), "{dep}");
        let order: Vec<&str> = selection.in_load_order().iter().map(|(name, _)| *name).collect();
        assert_eq!(order, ["d", "b", "c", "a"]);
    }

    #[test]
    fn wishes_are_listed_apart_and_only_as_far_as_they_can_be_granted() {
        let mut selection = selection(&[("a", &["b"]), ("b", &[]), ("c-d", &[])]);
        let chosen = selection.by_name.get_mut("a").expect("there");
        chosen.info.soft_before = vec!["c-d".to_owned(), "absent".to_owned()];
        chosen.info.soft_after = vec!["b".to_owned()];
        let chosen = selection.by_name.remove("c-d").expect("there");
        selection.by_name.insert("c_d".to_owned(), chosen);
        assert_eq!(selection.softdep(), "softdep a pre: c_d post: b\n");
        assert_eq!(selection.needs_of("a"), ["b"], "a wish is no need");
        let denied = selection.without(["c-d"]);
        assert_eq!(lines(&denied.denied), "c_d\n");
    }

    #[test]
    fn a_circle_of_dependencies_ends() {
        let selection = selection(&[("a", &["b"]), ("b", &["a"])]);
        assert_eq!(selection.needs_of("a"), ["b"]);
    }

    #[test]
    fn an_unknown_module_names_close_ones_and_a_built_in_one_is_fine() {
        let path = |text| TreePath::new(text).expect("a path");
        let builtin = path("/usr/lib/modules/6/modules.builtin");
        let dm = path("/usr/lib/modules/6/kernel/md/dm-verity.ko");
        let (list, bytes) =
            (Content::from_bytes(*b"kernel/fs/ext4.ko\n"), Content::from_bytes(*b"no elf"));
        let catalogue = ModuleCatalogue::new([(&builtin, &list), (&dm, &bytes)]).expect("modules");
        assert!(catalogue.select(["ext4"]).expect("built in").is_empty());
        let error = catalogue.select(["verity"]).expect_err("unknown").to_string();
        assert!(error.contains("did you mean dm_verity?"), "{error}");
        assert!(catalogue.select(["kernel/absent/**"]).is_err());
        assert!(catalogue.select(["dm-verity"]).is_err(), "it is no ELF file");
    }
}
