//! From the packages that are wanted to all that they need.
//!
//! Nothing is ever installed over anything here, so this is a closure and no SAT problem: of each
//! dependency the first alternative that is already chosen, else the first that can be had, is
//! taken. Cycles are fine. `Conflicts` and `Breaks` are not looked at, since only some files of each
//! package are used.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::Serialize;
use thiserror::Error;

use super::dependency::{Alternative, Dependency};
use super::index::{Index, IndexError};
use super::package::Package;
use super::version::Version;

/// The packages that were chosen, in breadth-first order from the wanted ones.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Resolution {
    pub packages: Vec<Selected>,
    #[serde(skip)]
    positions: HashMap<String, usize>,
}

/// A chosen package with its place in the graph.
#[derive(Clone, Debug, Serialize)]
pub struct Selected {
    pub package: Package,
    /// Who depends on it, in the order in which they were met; empty for a wanted one.
    pub asked_by: Vec<String>,
    /// The chosen packages that satisfy its dependencies.
    pub needs: Vec<String>,
}

/// Why there is no such set of packages.
#[derive(Debug, Error)]
pub enum ResolveError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the archive has no package {name}{hint}")]
    Unknown { name: String, hint: String },
    #[error("{chain} needs {dependency}, which can't be had: {reasons}")]
    Unsatisfied { chain: String, dependency: Dependency, reasons: String },
}

/// Chooses what `wanted` needs.
pub fn resolve(
    index: &Index,
    architecture: &str,
    wanted: &[impl AsRef<str>],
) -> Result<Resolution, ResolveError> {
    let mut resolver = Resolver {
        index,
        architecture,
        provided: HashMap::new(),
        queue: VecDeque::new(),
        result: Resolution::default(),
    };
    // All wanted ones first, so that they win over an earlier alternative of somebody else.
    for name in wanted {
        resolver.want(name.as_ref())?;
    }
    while let Some(position) = resolver.queue.pop_front() {
        resolver.expand(position)?;
    }
    Ok(resolver.result)
}

struct Resolver<'a> {
    index: &'a Index,
    architecture: &'a str,
    /// Which chosen packages provide a name, and at which version.
    provided: HashMap<String, Vec<(usize, Option<Version>)>>,
    queue: VecDeque<usize>,
    result: Resolution,
}

impl Resolver<'_> {
    fn want(&mut self, name: &str) -> Result<(), ResolveError> {
        if self.result.positions.contains_key(name) {
            return Ok(());
        }
        let Some(package) = self.index.package(name)? else {
            let (name, hint) = (name.to_owned(), hint(self.index, name));
            return Err(ResolveError::Unknown { name, hint });
        };
        self.choose(package);
        Ok(())
    }

    fn choose(&mut self, package: Package) -> usize {
        let position = self.result.packages.len();
        for (name, version) in &package.provides {
            let providers = self.provided.entry(name.clone()).or_default();
            providers.push((position, version.clone()));
        }
        self.result.positions.insert(package.name.clone(), position);
        let selected = Selected { package, asked_by: Vec::new(), needs: Vec::new() };
        self.result.packages.push(selected);
        self.queue.push_back(position);
        position
    }

    fn expand(&mut self, position: usize) -> Result<(), ResolveError> {
        let depends = self.result.packages[position].package.depends.clone();
        for dependency in depends {
            let here = |a: &&Alternative| a.applies_to(self.architecture);
            let alternatives: Vec<&Alternative> =
                dependency.alternatives.iter().filter(here).collect();
            if alternatives.is_empty() {
                continue;
            }
            let chosen = alternatives.iter().find_map(|alternative| self.chosen_for(alternative));
            let target = match chosen {
                Some(target) => Some(target),
                None => self.choose_for(&alternatives)?,
            };
            match target {
                Some(target) => self.connect(position, target),
                None => return Err(self.unsatisfied(position, &dependency)?),
            }
        }
        Ok(())
    }

    fn connect(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let (asker, needed) = (self.name(from).to_owned(), self.name(to).to_owned());
        let needs = &mut self.result.packages[from].needs;
        if !needs.contains(&needed) {
            needs.push(needed);
            self.result.packages[to].asked_by.push(asker);
        }
    }

    fn name(&self, position: usize) -> &str {
        &self.result.packages[position].package.name
    }

    /// A chosen package that satisfies an alternative, by its own name or by providing it.
    fn chosen_for(&self, alternative: &Alternative) -> Option<usize> {
        if !alternative.is_native(self.architecture) {
            return None;
        }
        if let Some(position) = self.result.positions.get(&alternative.name)
            && alternative.accepts(&self.result.packages[*position].package.version)
        {
            return Some(*position);
        }
        let providers = self.provided.get(&alternative.name)?;
        let fits = |(_, version): &&(usize, Option<Version>)| {
            alternative.accepts_provided(version.as_ref())
        };
        providers.iter().find(fits).map(|(position, _)| *position)
    }

    /// Chooses the first alternative that can be had.
    fn choose_for(&mut self, alternatives: &[&Alternative]) -> Result<Option<usize>, IndexError> {
        for alternative in alternatives {
            if !alternative.is_native(self.architecture) {
                continue;
            }
            if let Some(package) = self.index.package(&alternative.name)?
                && alternative.accepts(&package.version)
                && !self.result.positions.contains_key(&package.name)
            {
                return Ok(Some(self.choose(package)));
            }
            for name in self.index.providers(&alternative.name) {
                if self.result.positions.contains_key(name) {
                    continue;
                }
                let Some(package) = self.index.package(name)? else {
                    continue;
                };
                let fits = package.provides.iter().any(|(provided, version)| {
                    *provided == alternative.name && alternative.accepts_provided(version.as_ref())
                });
                if fits {
                    return Ok(Some(self.choose(package)));
                }
            }
        }
        Ok(None)
    }

    /// Why nobody satisfies a dependency.
    fn unsatisfied(
        &self,
        position: usize,
        dependency: &Dependency,
    ) -> Result<ResolveError, IndexError> {
        let mut reasons = Vec::new();
        for alternative in &dependency.alternatives {
            let name = &alternative.name;
            let providers = self.index.providers(name);
            reasons.push(match self.index.package(name)? {
                Some(package) => format!("{package} doesn't fit"),
                None if providers.is_empty() => {
                    format!("there is no package {name}{}", hint(self.index, name))
                }
                None => format!("{} provide {name} at another version", providers.join(", ")),
            });
        }
        let chain = self.result.chain(self.name(position)).join(" -> ");
        let reasons = reasons.join("; ");
        Ok(ResolveError::Unsatisfied { chain, dependency: dependency.clone(), reasons })
    }
}

impl Resolution {
    /// A resolution that was made before, as from a lock: packages with what satisfies each.
    pub(super) fn of_packages(packages: Vec<(Package, Vec<String>)>) -> Self {
        let mut result = Self::default();
        for (package, needs) in packages {
            result.positions.insert(package.name.clone(), result.packages.len());
            result.packages.push(Selected { package, asked_by: Vec::new(), needs });
        }
        for position in 0..result.packages.len() {
            let asker = result.packages[position].package.name.clone();
            for need in result.packages[position].needs.clone() {
                if let Some(needed) = result.positions.get(&need) {
                    result.packages[*needed].asked_by.push(asker.clone());
                }
            }
        }
        result
    }

    pub fn get(&self, name: &str) -> Option<&Selected> {
        self.packages.get(*self.positions.get(name)?)
    }

    /// All chosen packages, in order.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().map(|selected| &selected.package)
    }

    /// Everything that `name` needs, near ones first, without itself. Empty if it isn't chosen.
    pub fn dependencies_of(&self, name: &str) -> Vec<&Package> {
        let mut seen = HashSet::from([name]);
        let mut queue = VecDeque::from([name]);
        let mut found = Vec::new();
        while let Some(name) = queue.pop_front() {
            let Some(selected) = self.get(name) else {
                continue;
            };
            for need in &selected.needs {
                if seen.insert(need) {
                    queue.push_back(need);
                    found.extend(self.get(need).map(|selected| &selected.package));
                }
            }
        }
        found
    }

    /// The names from a wanted package to this one, by who asked for it first.
    pub fn chain(&self, name: &str) -> Vec<&str> {
        let mut chain = Vec::new();
        let mut next = self.positions.get(name).copied();
        while let Some(position) = next {
            let Some(selected) = self.packages.get(position) else {
                break;
            };
            chain.push(selected.package.name.as_str());
            let asker = selected.asked_by.first().and_then(|asker| self.positions.get(asker));
            // Who chose a package stands before it; a later asker only closes a cycle.
            next = asker.copied().filter(|asker| *asker < position);
        }
        chain.reverse();
        chain
    }
}

fn hint(index: &Index, name: &str) -> String {
    let providers = index.providers(name);
    if !providers.is_empty() {
        let shown: Vec<&str> = providers.into_iter().take(8).collect();
        return format!("; it is provided by {}: name one of these", shown.join(", "));
    }
    let similar = index.similar(name);
    if similar.is_empty() {
        return ": look for its name in this release, or add the suite that has it".to_owned();
    }
    format!("; similar names: {}: if it was replaced, name the new one", similar.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::index::tests::index;
    use super::*;

    fn names(resolution: &Resolution) -> Vec<&str> {
        resolution.packages().map(|package| package.name.as_str()).collect()
    }

    fn chosen(text: &str, wanted: &[&str]) -> Resolution {
        resolve(&index(&[text]), "amd64", wanted).expect("resolved")
    }

    fn refused(text: &str, wanted: &[&str]) -> String {
        resolve(&index(&[text]), "amd64", wanted).expect_err("refused").to_string()
    }

    #[test]
    fn the_closure_is_taken_breadth_first_and_cycles_end() {
        let text = "Package: a\nPre-Depends: p\nDepends: b, c\n\nPackage: b\nDepends: d\n\n\
            Package: c\nDepends: a\n\nPackage: d\nDepends: b, d\n\nPackage: p";
        let all = chosen(text, &["a"]);
        assert_eq!(names(&all), ["a", "p", "b", "c", "d"]);
        assert_eq!(all.get("b").expect("chosen").asked_by, ["a", "d"]);
        assert_eq!(all.chain("d"), ["a", "b", "d"]);
        let of =
            |name| all.dependencies_of(name).iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        assert_eq!(of("c"), ["a", "p", "b", "d"]);
        assert!(of("p").is_empty() && of("unknown").is_empty());
    }

    #[test]
    fn the_first_alternative_that_can_be_had_is_taken() {
        let text = "Package: a\nDepends: gone | old (>= 2) | virtual | c\n\n\
            Package: old\nVersion: 1\n\nPackage: v2\nProvides: virtual\n\n\
            Package: v1\nProvides: virtual\n\nPackage: c";
        assert_eq!(names(&chosen(text, &["a"])), ["a", "v1"]);
        let without = text.replace("Package: v1\nProvides: virtual\n\n", "");
        assert_eq!(names(&chosen(&without, &["a"])), ["a", "v2"]);
        let without = without.replace("Package: v2\nProvides: virtual\n\n", "");
        assert_eq!(names(&chosen(&without, &["a"])), ["a", "c"]);
    }

    #[test]
    fn what_is_chosen_already_wins_over_an_earlier_alternative() {
        let text = "Package: a\nDepends: x | y\n\nPackage: b\nDepends: virtual\n\nPackage: x\n\n\
            Package: y\n\nPackage: p1\nProvides: virtual\n\nPackage: p2\nProvides: virtual";
        assert_eq!(names(&chosen(text, &["a", "y"])), ["a", "y"]);
        assert_eq!(names(&chosen(text, &["b", "p2"])), ["b", "p2"]);
    }

    #[test]
    fn versions_of_provides_count() {
        let text = "Package: a\nDepends: abi (= 3)\n\nPackage: m1\nProvides: abi\n\n\
            Package: m2\nProvides: abi (= 2)\n\nPackage: m3\nProvides: abi (= 3)";
        assert_eq!(names(&chosen(text, &["a"])), ["a", "m3"]);
        let error = refused(&text.replace("abi (= 3)\n\n", "abi (= 4)\n\n"), &["a"]);
        assert!(error.contains("abi (= 4)") && error.contains("another version"), "{error}");
    }

    #[test]
    fn architectures_are_respected() {
        let text = "Package: a\nDepends: b:any, c:native, d:arm64 | e, f [arm64]\n\nPackage: b\n\n\
            Package: c\n\nPackage: d\n\nPackage: e";
        assert_eq!(names(&chosen(text, &["a"])), ["a", "b", "c", "e"]);
    }

    #[test]
    fn unknown_packages_are_answered_with_similar_ones() {
        let text = "Package: postgresql-17\n\nPackage: dbus-broker\nProvides: dbus-daemon\n\n\
            Package: a\nDepends: b\n\nPackage: b\nDepends: libfoo2";
        let error = refused(text, &["postgresql-15"]);
        assert!(error.contains("postgresql-17"), "{error}");
        let error = refused(text, &["dbus-daemon"]);
        assert!(error.contains("provided by dbus-broker"), "{error}");
        let error = refused(text, &["a"]);
        assert!(error.contains("a -> b needs libfoo2"), "{error}");
    }
}
