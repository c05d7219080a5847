//! The folders of STATE, as the overlays want them, and where else they show.
//!
//! A folder that is there keeps what is in it; only a wrong owner or mode of the folder itself is put
//! right. No symlink is followed on the way: what a service planted in one of its folders must not
//! lead the next boot elsewhere. A folder that can't be made is said, and whoever needs it fails with
//! its own reason.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_remount};
use seed::manifest::{Manifest, STATE_PATH, StateFolder};

use crate::say;

/// Nothing on STATE raises rights, is a device, or is run; reading something writes nothing.
pub(super) const TIGHT: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NOATIME);
/// The permission bits of a folder's status, without its kind.
const MODE_BITS: u32 = 0o7777;

/// Makes every folder of the manifest and mounts those that show elsewhere.
pub(super) fn make(manifest: &Manifest) {
    for folder in &manifest.state {
        let made = make_one(folder, user_id(manifest, &folder.user));
        if let Err(error) = made.and_then(|open| show(folder, &open)) {
            say!("{}: {error}", folder.path);
        }
    }
}

/// The number of a user, which is also that of the group; the manifest was checked for them.
fn user_id(manifest: &Manifest, name: &str) -> u32 {
    manifest.users.iter().find(|user| user.name == name).map_or(0, |user| user.id)
}

fn make_one(folder: &StateFolder, owner: u32) -> io::Result<OwnedFd> {
    const OPEN: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let mut open = openat(CWD, STATE_PATH, OPEN, Mode::empty())?;
    let below = folder.path.as_str().strip_prefix(STATE_PATH).unwrap_or_default();
    for part in below.split('/').filter(|part| !part.is_empty()) {
        match mkdirat(&open, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        open = openat(&open, part, OPEN, Mode::empty())?;
    }
    settle(&open, owner, folder.mode.bits())?;
    Ok(open)
}

/// Gives an open folder its owner and mode, unless it has them.
fn settle(open: &OwnedFd, owner: u32, mode: u32) -> io::Result<()> {
    let status = fstat(open)?;
    if (status.st_uid, status.st_gid) != (owner, owner) {
        fchown(open, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    if status.st_mode & MODE_BITS != mode {
        fchmod(open, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Mounts an open folder where it shows, with flags of its own.
fn show(folder: &StateFolder, open: &OwnedFd) -> io::Result<()> {
    let Some(mount) = &folder.mount else { return Ok(()) };
    // By its descriptor, so that it is the very folder that was made.
    mount_bind(format!("/proc/self/fd/{}", open.as_raw_fd()), mount.as_str())?;
    let flags = if folder.execute { TIGHT.difference(MountFlags::NOEXEC) } else { TIGHT };
    mount_remount(mount.as_str(), MountFlags::BIND | flags, c"")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_folder_is_put_right_only_if_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let open: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
        let mine = std::fs::metadata(folder.path()).unwrap().uid();
        settle(&open, mine, 0o750).unwrap();
        let once = std::fs::metadata(folder.path()).unwrap();
        assert_eq!(once.mode() & MODE_BITS, 0o750);
        settle(&open, mine, 0o750).unwrap();
        let again = std::fs::metadata(folder.path()).unwrap();
        assert_eq!((once.ctime(), once.ctime_nsec()), (again.ctime(), again.ctime_nsec()));
        symlink("/etc", folder.path().join("link")).unwrap();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        assert!(openat(&open, "link", flags, Mode::empty()).is_err());
    }
}
