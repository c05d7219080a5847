//! A network of the test's own: a loopback, on which everybody may send echo requests.

use std::fs;
use std::io;

use netlink::Netlink;
use rustix::thread::UnshareFlags;

/// Moves this process there. As root it stays root of everything else; else it keeps its own number
/// in a user namespace of its own, for PostgreSQL refuses to run as root.
pub(crate) fn enter() -> Result<(), String> {
    make().map_err(|error| error.to_string())?;
    let mut netlink = Netlink::open().map_err(|error| error.to_string())?;
    let loopback = netlink.link("lo").map_err(|error| error.to_string())?;
    netlink.set_up(&loopback.id, true).map_err(|error| error.to_string())?;
    // Groups that aren't known here can't be in the range.
    let group = rustix::process::getgid().as_raw();
    let range = if group == 0 { "0 65534".to_owned() } else { format!("{group} {group}") };
    let written = fs::write("/proc/sys/net/ipv4/ping_group_range", range);
    written.map_err(|error| format!("ping_group_range: {error}"))
}

fn make() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if user.is_root() && unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", user.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", group.as_raw()))
}

/// The flags in use here share no descriptors between threads, which is what the function is
/// deprecated for; its successor can't be called without `unsafe`.
#[expect(deprecated)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}
