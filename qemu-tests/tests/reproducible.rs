//! Equal inputs give equal bytes: built twice, in different places, with the same result.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use builder::build::source::Reach;
use builder::build::{self, Request};
use builder::image::formats::Format;
use builder::image::sparse::ImageHasher;
use builder::progress::Progress;
use builder::project::{self, Project};

fn hash(path: &Path) -> String {
    let file = File::open(path).expect("an image");
    let mut hasher = ImageHasher::default();
    hasher.advance(&file, file.metadata().expect("known").len()).expect("hashed");
    hasher.finish()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).expect("a link"), to).expect("linked");
        } else if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("copied");
        }
    }
}

/// Builds the lab image of a seed from a project folder, assembling everything anew.
fn build(project: &Path, seed: &Path, out: &Path) -> PathBuf {
    let request = Request {
        project: Project::find(Some(project)).expect("a project"),
        cache: project::cache_folder(None).expect("a cache"),
        image: "lab".to_owned(),
        seeds: vec![seed.to_owned()],
        out: out.to_owned(),
        reach: Reach::default(),
        k3s: None,
        format: Format::Raw,
        anew: true,
    };
    let built = build::build(&request, &Progress::quiet());
    let built = built.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(built.images[0].sha256, hash(&built.images[0].path), "the report is true");
    built.images[0].path.clone()
}

#[test]
fn an_image_built_in_another_folder_has_the_same_bytes() {
    let here = Project::find(None).expect("the tests run in a checkout");
    let folder = tempfile::tempdir().expect("a folder");
    // One set of secrets for both: the keys of a site are made only once.
    let seed = folder.path().join("node1.toml");
    fs::copy(here.root().join("images/lab/node1.toml"), &seed).expect("copied");
    let elsewhere = folder.path().join("a checkout in another place");
    for part in ["builder", "rootfs", "overlays", "images", "qemu-tests"] {
        copy_folder(&here.root().join(part), &elsewhere.join(part));
    }
    for part in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        fs::copy(here.root().join(part), elsewhere.join(part)).expect("copied");
    }
    let one = build(here.root(), &seed, &folder.path().join("one"));
    let other = build(&elsewhere, &seed, &folder.path().join("other"));
    assert_eq!(hash(&one), hash(&other), "{} and {} differ", one.display(), other.display());
}
