//! The notify socket of a service: one for each service that is to use it, so that none can drown
//! what another has to say.
//!
//! Only the service's user may write to it, and what it says counts only if the kernel says that
//! the sender is in the cgroup of the service's present run.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid, chmod, chown};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt,
};
use rustix::process::Pid;

use super::notice::NOTICE_MAX_BYTES;

/// Datagrams that are read in one turn. A healthy service sends one in some seconds.
pub(crate) const NOTICES_PER_TURN: usize = 32;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    descriptor: OwnedFd,
    pub(crate) path: PathBuf,
}

impl NotifySocket {
    /// Binds the socket of a service for its user.
    pub(crate) fn bind(folder: &Path, service: &str, user: u32, group: u32) -> io::Result<Self> {
        let path = folder.join(service);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_passcred(&descriptor, true)?;
        bind(&descriptor, &SocketAddrUnix::new(&path)?)?;
        // Only then somebody else's: a socket is never open to more than it shall be in the end.
        chmod(&path, Mode::from_raw_mode(0o600))?;
        // Who isn't root can only give it to itself, which is what a test wants.
        match chown(&path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))) {
            Err(Errno::PERM) if !rustix::process::geteuid().is_root() => {}
            other => other?,
        }
        Ok(Self { descriptor, path })
    }

    /// Takes one datagram without waiting; says how long it is and who sent it. None if there is
    /// none, or if nobody knows who sent it.
    pub(crate) fn receive(&self, buffer: &mut [u8; NOTICE_MAX_BYTES]) -> Option<(usize, Pid)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        // There is no room for descriptors, so the kernel closes those that come along.
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg(&self.descriptor, &mut parts, &mut control, flags).ok()?;
        let sender = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid),
            _ => None,
        })?;
        Some((received.bytes, sender))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What the kernel says of a process's cgroups; empty if the process is gone.
pub(crate) fn cgroups_of(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap_or_default()
}
