//! Namespaces for tests.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;

use rustix::thread::UnshareFlags;

/// Makes this process root of a user namespace, unless it may make network namespaces already.
pub(crate) fn become_root_of_our_own() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if user.is_root() && unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

/// Moves this thread to a network namespace with nothing in it but a loopback that is down.
pub(crate) fn enter_empty() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET)
}

/// Another namespace, and the way into it.
pub(crate) fn another() -> OwnedFd {
    let opened = std::thread::spawn(|| {
        enter_empty().expect("a namespace");
        File::open("/proc/thread-self/ns/net").expect("open").into()
    });
    opened.join().expect("made")
}

/// Does something in another namespace.
pub(crate) fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;

    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entered");
            work()
        });
        worker.join().expect("done")
    })
}

/// The flags in use here share no descriptors between threads, which is what the function is
/// deprecated for; its successor can't be called without `unsafe`.
#[expect(deprecated)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}
