//! The socket on which the holder of the permit is heard; one holder at a time.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, recv, send, socket_with, sockopt,
};
use vrrp::permit::{MESSAGE_BYTES, Message, MessageError};

/// A second connection waits here only to be refused.
const BACKLOG: i32 = 4;
/// Messages per turn; a holder that sends more is heard in the next one.
pub(super) const MESSAGES_PER_TURN: usize = 32;

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Message(Message),
    Garbled(MessageError),
    /// The connection ended.
    Gone,
    /// Nothing more for now.
    Nothing,
}

/// The listening socket and the one connection.
#[derive(Debug)]
pub(super) struct Permits {
    listener: OwnedFd,
    holder: Option<OwnedFd>,
    path: PathBuf,
    /// Who may connect beside root.
    user: u32,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Holder,
    /// There is a holder already.
    Second,
    /// Neither root nor the configured user.
    Stranger(u32),
    Nobody,
}

impl Permits {
    /// Listens; what a predecessor left at the path is removed.
    ///
    /// The file can't be given to another user without one more capability. So where another may
    /// connect, all may, and each is asked the kernel who it is.
    pub(super) fn open(path: &Path, user: u32) -> io::Result<Self> {
        make_folder(path)?;
        remove(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        bind(&listener, &SocketAddrUnix::new(path)?)?;
        let mode = if user == 0 { 0o600 } else { 0o666 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        listen(&listener, BACKLOG)?;
        Ok(Self { listener, holder: None, path: path.to_owned(), user })
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn holder(&self) -> Option<BorrowedFd<'_>> {
        self.holder.as_ref().map(AsFd::as_fd)
    }

    /// Takes the next connection, or refuses it.
    pub(super) fn accept(&mut self) -> io::Result<Met> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection = match accept_with(&self.listener, flags) {
            Ok(connection) => connection,
            Err(rustix::io::Errno::AGAIN) => return Ok(Met::Nobody),
            Err(error) => return Err(error.into()),
        };
        let user = sockopt::socket_peercred(&connection)?.uid.as_raw();
        if user != 0 && user != self.user {
            return Ok(Met::Stranger(user));
        }
        if self.holder.is_some() {
            return Ok(Met::Second);
        }
        self.holder = Some(connection);
        Ok(Met::Holder)
    }

    pub(super) fn hear(&mut self) -> Heard {
        let Some(holder) = &self.holder else { return Heard::Nothing };
        // One byte more than a message, so that a longer one is seen to be longer.
        let mut bytes = [0; MESSAGE_BYTES + 1];
        match recv(holder, &mut bytes[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Heard::Nothing,
            Ok((0, _)) | Err(_) => {
                self.holder = None;
                Heard::Gone
            }
            Ok((length, _)) => match Message::decode(bytes.get(..length).unwrap_or_default()) {
                Ok(message) => Heard::Message(message),
                Err(error) => Heard::Garbled(error),
            },
        }
    }

    /// Ends a connection that can't be understood or does not listen.
    pub(super) fn hang_up(&mut self) {
        self.holder = None;
    }

    /// Says how it stands; false if the holder does not take it.
    pub(super) fn say(&self, message: Message) -> bool {
        let Some(holder) = &self.holder else { return true };
        send(holder, &message.encode(), SendFlags::NOSIGNAL).is_ok()
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        let _ = remove(&self.path);
    }
}

/// The folder of a socket, if it can be made; if it can't, binding says why.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
