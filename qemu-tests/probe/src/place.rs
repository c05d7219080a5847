//! The probe's own folder in the first root, with the kernel's filesystems mounted where nobody else
//! looks: the node moves those that it mounted itself to its real root.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use thiserror::Error;

/// Below it lie the mounts; the rig's archive brings [`MODULES`].
pub const FOLDER: &str = "/probe.d";
/// Kernel modules, loaded in the order of their names.
pub const MODULES: &str = "/probe.d/modules";

/// No file that the rig reads is larger.
const FILE_BYTES_MAX: u64 = 256 << 10;

#[derive(Debug, Error)]
pub enum PlaceError {
    #[error("can't mount {kind} on {}: {source}", path.display())]
    Mount { kind: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the kernel refuses the module {}: {source}; was it built for this kernel?", path.display())]
    Module { path: PathBuf, source: io::Error },
}

/// A path of the kernel's own filesystems, such as `proc/1/root`.
pub fn path(below: &str) -> PathBuf {
    Path::new(FOLDER).join(below)
}

/// Reads a small text of the kernel's.
pub fn read(below: &str) -> Result<String, PlaceError> {
    let path = path(below);
    fs::read_to_string(&path).map_err(|source| PlaceError::File { path, source })
}

/// Reads a small file of the node's. Its links lead where they lead for the node, whose root isn't
/// this process's.
pub fn read_of_node(file: &str) -> Result<String, PlaceError> {
    let path = Path::new(file);
    let fail = |source| PlaceError::File { path: path.to_owned(), source };
    let root = File::open(self::path("proc/1/root")).map_err(fail)?;
    let below = path.strip_prefix("/").unwrap_or(path);
    let (flags, mode) = (OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let opened = openat2(&root, below, flags, mode, ResolveFlags::IN_ROOT);
    let opened = opened.map_err(|errno| fail(errno.into()))?;
    let mut bytes = Vec::new();
    File::from(opened).take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(fail)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Nobody's standard input. `/dev` of the first root is empty once the node has left it.
pub fn no_input() -> io::Result<File> {
    File::open(path("dev/null"))
}

/// Mounts the kernel's filesystems.
pub fn mount_all() -> Result<(), PlaceError> {
    for (kind, below) in [("proc", "proc"), ("sysfs", "sys"), ("devtmpfs", "dev")] {
        let path = path(below);
        let fail = |source| PlaceError::Mount { kind, path: path.clone(), source };
        fs::create_dir_all(&path).map_err(fail)?;
        match mount(kind, &path, kind, MountFlags::empty(), c"") {
            // PID 1 has mounted it before its child did.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => return Err(fail(errno.into())),
        }
    }
    Ok(())
}

/// Loads the modules that the rig sent along. One that is there already is fine.
pub fn load_modules() -> Result<(), PlaceError> {
    let file_error = |source| PlaceError::File { path: MODULES.into(), source };
    let entries = fs::read_dir(MODULES).map_err(file_error)?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let fail = |source| PlaceError::Module { path: path.clone(), source };
        let file = File::open(&path).map_err(fail)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(fail(errno.into())),
        }
    }
    Ok(())
}
