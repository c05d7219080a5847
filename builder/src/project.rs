//! Where things lie: the project's own folders, and the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ProjectError {
    #[error(
        "no project here: {} has no overlays/ and images/ folders; \
         start the builder inside a checkout or name one with --project", looked_in.display()
    )]
    NotFound { looked_in: PathBuf },
    #[error("no cache folder: set HOME, XDG_CACHE_HOME or --cache")]
    NoCache,
    #[error("no image definition {name:?}: there are {known}; or give the path of a .toml file")]
    NoSuchImage { name: String, known: String },
}

/// A checkout of this project.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The given folder; else the nearest above the current one; else where the builder was built.
    pub fn find(given: Option<&Path>) -> Result<Self, ProjectError> {
        if let Some(root) = given {
            return Self::at(root).ok_or_else(|| ProjectError::NotFound { looked_in: root.into() });
        }
        let here = env::current_dir().unwrap_or_default();
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        here.ancestors()
            .chain(built_in)
            // The tests have images and overlays of their own, and are no checkout.
            .filter(|folder| folder.join("rootfs").is_dir())
            .find_map(Self::at)
            .ok_or(ProjectError::NotFound { looked_in: here.clone() })
    }

    /// Absolute and without links: cargo is run inside of it, where a path that was relative to our
    /// own folder would name another place.
    fn at(root: &Path) -> Option<Self> {
        let root = root.canonicalize().ok()?;
        let complete = root.join("overlays").is_dir() && root.join("images").is_dir();
        complete.then_some(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the overlays of an image definition are looked for: beside the folder that it lies in,
    /// so that a test can have overlays of its own, then among those of the project.
    pub fn overlays_of(&self, definition: &Path) -> Vec<PathBuf> {
        let beside = definition.parent().and_then(Path::parent).map(|above| above.join("overlays"));
        let of_project = self.root.join("overlays");
        let own = beside.filter(|folder| folder.is_dir() && *folder != of_project);
        own.into_iter().chain([of_project]).collect()
    }

    /// The file that defines an image: a name in `images/`, or a path.
    pub fn image_definition(&self, image: &str) -> Result<PathBuf, ProjectError> {
        if image.contains('/') || image.ends_with(".toml") {
            return Ok(PathBuf::from(image));
        }
        let folder = self.root.join("images");
        let path = folder.join(format!("{image}.toml"));
        if path.is_file() {
            return Ok(path);
        }
        let mut known: Vec<String> = folder
            .read_dir()
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)
            })
            .collect();
        known.sort();
        Err(ProjectError::NoSuchImage { name: image.to_owned(), known: known.join(", ") })
    }
}

/// The folder for everything that can be fetched or made again.
pub fn cache_folder(given: Option<&Path>) -> Result<PathBuf, ProjectError> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("edgepair")).ok_or(ProjectError::NoCache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_is_named_by_a_relative_path_has_an_absolute_one() {
        // Tests run in the folder of their package.
        let project = Project::find(Some(Path::new(".."))).expect("the checkout");
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("there");
        assert_eq!(Some(project.root()), package.parent());
        let missing = Project::find(Some(Path::new("no-such-folder"))).expect_err("none is there");
        assert!(missing.to_string().contains("no-such-folder has no overlays/"), "{missing}");
    }
}
