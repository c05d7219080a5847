//! Programs of the desk that come from Debian too: QEMU, and the checkers that tests ask for a
//! second opinion.
//!
//! They are resolved, fetched and unpacked by the same code that fills an image, into a folder of
//! the cache, and started through their own loader with their own libraries. So they need no root,
//! no package manager, and are the same for everyone, whatever the host has installed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::build::packages::ArchivePackages;
use crate::build::source::{self, Reach, SourceError};
use crate::debian::archive::ArchiveError;
use crate::debian::resolve::ResolveError;
use crate::progress::Progress;
use crate::root::closure::{Closure, ClosureError, PackageSource, PackageSourceError};
use crate::root::overlay::PackageWish;
use crate::root::pick::{self, PickError};
use crate::root::tree::{Node, NodeKind, Origin, Tree, TreeError};
use crate::unfinished::Scratch;

const LIBRARIES: &str = "x86_64-linux-gnu";
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
/// The newest stable release that carries QEMU 10.
const SUITES: [&str; 2] = ["trixie", "trixie-updates"];

#[derive(Debug, Error)]
pub enum ToolError {
    #[error("{tool} can't be fetched: {source}")]
    Source { tool: &'static str, source: Box<SourceError> },
    #[error("{tool} can't be fetched: {source}")]
    Archive { tool: &'static str, source: Box<ArchiveError> },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Packages(#[from] PackageSourceError),
    #[error(transparent)]
    Pick(#[from] PickError),
    #[error(transparent)]
    Closure(#[from] ClosureError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A set of programs, by the packages and files that make it up.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    pub name: &'static str,
    parts: &'static [Part],
}

#[derive(Clone, Copy, Debug)]
struct Part {
    package: &'static str,
    programs: &'static [&'static str],
    keep: &'static [&'static str],
}

const fn programs(package: &'static str, programs: &'static [&'static str]) -> Part {
    Part { package, programs, keep: &[] }
}

const fn data(package: &'static str, keep: &'static [&'static str]) -> Part {
    Part { package, programs: &[], keep }
}

/// The emulator with its firmware.
pub const QEMU: Tool = Tool {
    name: "qemu",
    parts: &[
        programs("qemu-system-x86", &["/usr/bin/qemu-system-x86_64"]),
        data("qemu-system-data", &["/usr/share/qemu/*.bin", "/usr/share/qemu/keymaps/en-us"]),
        data("seabios", &["/usr/share/seabios/*.bin"]),
        data("ovmf", &["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"]),
    ],
};

/// What the tests let judge our formats: ext4, FAT, GPT and dm-verity by those who defined them.
pub const ORACLES: Tool = Tool {
    name: "oracles",
    parts: &[
        programs(
            "e2fsprogs",
            &["/usr/sbin/e2fsck", "/usr/sbin/mke2fs", "/usr/sbin/dumpe2fs", "/usr/sbin/debugfs"],
        ),
        programs("dosfstools", &["/usr/sbin/fsck.fat", "/usr/sbin/mkfs.fat"]),
        programs("mtools", &["/usr/bin/mtools"]),
        programs("cpio", &["/usr/bin/cpio"]),
        programs("genisoimage", &["/usr/bin/genisoimage"]),
        data("systemd-boot-efi", &["/usr/lib/systemd/boot/efi/*.efi.stub"]),
        programs("gdisk", &["/usr/sbin/sgdisk"]),
        programs("cryptsetup-bin", &["/usr/sbin/veritysetup"]),
    ],
};

/// A time server that needs no root, for tests of the node's clock.
pub const TIME_SERVER: Tool =
    Tool { name: "time-server", parts: &[programs("chrony", &["/usr/sbin/chronyd"])] };
/// The balancer of the image, for a look at its configurations.
pub const HAPROXY: Tool =
    Tool { name: "haproxy", parts: &[programs("haproxy", &["/usr/sbin/haproxy"])] };
/// The daemon that everybody uses for virtual addresses; ours has to get along with it. It does not
/// start without the list of its own build options, which it wants below `/etc`.
pub const KEEPALIVED: Tool = Tool {
    name: "keepalived",
    parts: &[
        programs("keepalived", &["/usr/sbin/keepalived"]),
        data("keepalived", &["/etc/keepalived/keepalived.config-opts"]),
    ],
};

/// The database with its client and its load generator, for tests of gate and driver.
pub const POSTGRES: Tool = Tool {
    name: "postgres",
    parts: &[
        Part {
            package: "postgresql-17",
            programs: &[
                "/usr/lib/postgresql/17/bin/postgres",
                "/usr/lib/postgresql/17/bin/initdb",
                "/usr/lib/postgresql/17/bin/pg_controldata",
                "/usr/lib/postgresql/17/bin/pg_ctl",
                "/usr/lib/postgresql/17/bin/pg_rewind",
                "/usr/lib/postgresql/17/bin/pg_waldump",
                "/usr/lib/postgresql/17/bin/pgbench",
            ],
            keep: &[
                "/usr/lib/postgresql/17/lib/plpgsql.so",
                "/usr/lib/postgresql/17/lib/libpqwalreceiver.so",
                "/usr/lib/postgresql/17/lib/dict_snowball.so",
                "/usr/share/postgresql/17/*.bki",
                "/usr/share/postgresql/17/*.sql",
                "/usr/share/postgresql/17/*.txt",
                "/usr/share/postgresql/17/*.sample",
                "/usr/share/postgresql/17/timezonesets/**",
                "/usr/share/postgresql/17/tsearch_data/*.stop",
                "/usr/share/postgresql/17/extension/plpgsql*",
            ],
        },
        programs(
            "postgresql-client-17",
            &["/usr/lib/postgresql/17/bin/psql", "/usr/lib/postgresql/17/bin/pg_basebackup"],
        ),
        data("tzdata", &["/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/Etc/UTC"]),
    ],
};

/// What makes base backups and archives the write-ahead log.
pub const PGBACKREST: Tool =
    Tool { name: "pgbackrest", parts: &[programs("pgbackrest", &["/usr/bin/pgbackrest"])] };

/// An unpacked tool.
#[derive(Clone, Debug)]
pub struct Unpacked {
    folder: PathBuf,
}

impl Unpacked {
    /// A file of the tool, such as `usr/share/OVMF/OVMF_CODE_4M.fd`.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The path under which one of its programs can be started, by the program's own name.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A command that runs one of its programs, through the loader that belongs to it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(LOADER));
        let libraries = self.folder.join("usr/lib").join(LIBRARIES);
        command.arg("--library-path").arg(libraries).arg("--argv0").arg(program);
        command.arg(self.folder.join(program));
        command
    }
}

impl Tool {
    /// The tool in the cache, fetched first if need be.
    pub fn obtain(
        &self,
        cache: &Path,
        reach: &Reach,
        progress: &Progress,
    ) -> Result<Unpacked, ToolError> {
        let folder = cache.join("tools").join(self.folder_name());
        let done = folder.join("complete");
        if done.is_file() {
            return Ok(Unpacked { folder });
        }
        progress.note(&format!("fetching {} from Debian into {}", self.name, folder.display()));
        let tree = self.compose(cache, reach, progress)?;
        let parent = cache.join("tools");
        fs::create_dir_all(&parent)
            .map_err(|source| ToolError::Write { path: parent.clone(), source })?;
        // Written aside and renamed: two runs at once each write their own, and the first one wins.
        let aside = Scratch::within(&parent, self.name)
            .map_err(|source| ToolError::Write { path: parent.clone(), source })?;
        write_tree(&tree, aside.path())?;
        self.write_starters(aside.path())?;
        fs::write(aside.path().join("complete"), "")
            .map_err(|source| ToolError::Write { path: done.clone(), source })?;
        if fs::rename(aside.path(), &folder).is_err() && !done.is_file() {
            let source = io::Error::other("another folder is in the way: remove it");
            return Err(ToolError::Write { path: folder, source });
        }
        Ok(Unpacked { folder })
    }

    /// Changes with what the tool consists of, so that an older one in a cache is not taken for it.
    fn folder_name(&self) -> String {
        let digest = Sha256::digest(format!("{SUITES:?} {:?}", self.parts));
        format!("{}-{}", self.name, &disk::verity::to_hex(&digest)[..8])
    }

    /// A script for each program, for callers that want one path to run. It finds its own folder,
    /// because the whole tool is renamed once it is complete.
    fn write_starters(&self, folder: &Path) -> Result<(), ToolError> {
        let fail = |source| ToolError::Write { path: folder.to_owned(), source };
        fs::create_dir_all(folder.join("bin")).map_err(fail)?;
        for program in self.parts.iter().flat_map(|part| part.programs) {
            let name = program.rsplit('/').next().unwrap_or(program);
            let script = format!(
                "#!/bin/sh\nroot=$(dirname \"$(dirname \"$0\")\")\n\
                 exec \"$root/{LOADER}\" --library-path \"$root/usr/lib/{LIBRARIES}\" \
                 --argv0 {name} \"$root{program}\" \"$@\"\n"
            );
            let path = folder.join("bin").join(name);
            fs::write(&path, script).map_err(fail)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(fail)?;
        }
        Ok(())
    }

    fn compose(&self, cache: &Path, reach: &Reach, progress: &Progress) -> Result<Tree, ToolError> {
        let fail = |source| ToolError::Source { tool: self.name, source: Box::new(source) };
        let store = source::open_store(&[], reach, cache).map_err(fail)?;
        let suites: Vec<String> = SUITES.iter().map(|&suite| suite.to_owned()).collect();
        let archive = source::open_archive(
            &store,
            "amd64",
            &suites,
            &["main".to_owned()],
            reach,
            progress,
        )
        .map_err(|source| ToolError::Archive { tool: self.name, source: Box::new(source) })?;
        let wanted: Vec<&str> = self.parts.iter().map(|part| part.package).collect();
        let resolution = archive.resolve(&wanted)?;
        let packages = ArchivePackages::new(&store, &resolution, progress);
        let mut tree = Tree::default();
        for part in self.parts {
            let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            let wish = PackageWish {
                name: part.package.to_owned(),
                executables: own(part.programs),
                keep: own(part.keep),
                drop: Vec::new(),
            };
            for (path, node) in pick::pick(&wish, &packages.files(part.package)?)? {
                let overlay = self.name.to_owned();
                let origin = Origin::Package { package: wish.name.clone(), overlay };
                tree.insert(path, Node { origin, ..node })?;
            }
        }
        Closure::new(&mut tree, &packages, LIBRARIES).complete()?;
        Ok(tree)
    }
}

/// Writes a tree as plain files of whoever runs this.
fn write_tree(tree: &Tree, folder: &Path) -> Result<(), ToolError> {
    for (path, node) in tree.iter() {
        let target = folder.join(path.as_str().trim_start_matches('/'));
        let fail = |source| ToolError::Write { path: target.clone(), source };
        match &node.kind {
            NodeKind::Directory => fs::create_dir_all(&target).map_err(fail)?,
            NodeKind::Symlink(link) => symlink(OsStr::new(link), &target).map_err(fail)?,
            NodeKind::File(content) => {
                let mut file = fs::File::create(&target).map_err(fail)?;
                content.copy_to(&mut file).map_err(fail)?;
                let mode = fs::Permissions::from_mode(u32::from(node.mode & 0o755));
                fs::set_permissions(&target, mode).map_err(fail)?;
            }
        }
    }
    Ok(())
}
