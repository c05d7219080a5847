//! What an overlay wants of a package, applied to the package's files.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use thiserror::Error;

use super::closure::Files;
use super::overlay::PackageWish;
use super::tree::{Node, NodeKind, TreePath};

#[derive(Debug, Error)]
pub enum PickError {
    #[error("package {package} has no {path}{hint}")]
    NoExecutable { package: String, path: String, hint: String },
    #[error("package {package}: nothing matches {glob:?}; mend or drop the glob")]
    NoMatch { package: String, glob: String },
    #[error("package {package}: {source}")]
    Glob { package: String, source: globset::Error },
}

/// The files of a package that a wish asks for, in path order.
pub fn pick(wish: &PackageWish, files: &Files) -> Result<Vec<(TreePath, Node)>, PickError> {
    let package = || wish.name.clone();
    let glob_error = |source| PickError::Glob { package: package(), source };
    for path in &wish.executables {
        let known = files.iter().any(|(known, node)| {
            known.as_str() == path && !matches!(node.kind, NodeKind::Directory)
        });
        if !known {
            let (path, hint) = (path.clone(), hint(path, files));
            return Err(PickError::NoExecutable { package: package(), path, hint });
        }
    }
    let dropped = globs(&wish.drop).map_err(glob_error)?;
    let kept = globs(&wish.keep).map_err(glob_error)?;
    let mut matched = vec![false; wish.keep.len()];
    let mut picked = Vec::new();
    for (path, node) in files.iter() {
        let hits = kept.matches(path.as_str());
        for hit in &hits {
            if let Some(seen) = matched.get_mut(*hit) {
                *seen = true;
            }
        }
        let named = wish.executables.iter().any(|wanted| wanted == path.as_str());
        if named || (!hits.is_empty() && !dropped.is_match(path.as_str())) {
            picked.push((path.clone(), node.clone()));
        }
    }
    if let Some(missed) = matched.iter().position(|seen| !seen) {
        let glob = wish.keep[missed].clone();
        return Err(PickError::NoMatch { package: package(), glob });
    }
    Ok(picked)
}

/// `*` stays within one folder and `**` crosses them, as in a shell.
fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// Where a file of that name lies instead, if the package has one.
fn hint(path: &str, files: &Files) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match files.keys().find(|known| known.name() == name) {
        Some(known) => format!("; it has {known}"),
        None => "; mend the path or drop it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::root::content::Content;
    use crate::root::tree::Origin;

    fn files(paths: &[&str]) -> Files {
        let node = || Node::file(Content::from_bytes(*b"x"), 0o644, Origin::Builder);
        let entry = |path: &&str| (TreePath::new(path).expect("a path"), node());
        Arc::new(paths.iter().map(entry).collect())
    }

    fn wish(executables: &[&str], keep: &[&str], drop: &[&str]) -> PackageWish {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        PackageWish {
            name: "p".to_owned(),
            executables: own(executables),
            keep: own(keep),
            drop: own(drop),
        }
    }

    fn picked(wish: &PackageWish, files: &Files) -> Vec<String> {
        let picked = pick(wish, files).expect("picked");
        picked.into_iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn executables_are_exact_and_globs_stay_in_their_folder() {
        let files = files(&["/usr/bin/a", "/usr/bin/b", "/usr/share/p/x", "/usr/share/p/d/y"]);
        let one = wish(&["/usr/bin/a"], &["/usr/share/p/*"], &[]);
        assert_eq!(picked(&one, &files), ["/usr/bin/a", "/usr/share/p/x"]);
        let deep = wish(&[], &["/usr/share/p/**"], &["/usr/share/p/x"]);
        assert_eq!(picked(&deep, &files), ["/usr/share/p/d/y"]);
    }

    #[test]
    fn what_is_not_there_is_an_error_with_a_mend() {
        let files = files(&["/usr/bin/a"]);
        let moved = pick(&wish(&["/usr/sbin/a"], &[], &[]), &files).expect_err("moved").to_string();
        assert_eq!(moved, "package p has no /usr/sbin/a; it has /usr/bin/a");
        let none = pick(&wish(&[], &["/etc/*"], &[]), &files).expect_err("none").to_string();
        assert_eq!(none, "package p: nothing matches \"/etc/*\"; mend or drop the glob");
    }
}
