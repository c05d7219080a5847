//! The way to vipd: the permit to hold virtual addresses, renewed with every heartbeat.
//!
//! A permit ends by itself at its time, with the connection, or by a word. So whatever happens to
//! this process, the address goes; the connection needs no care beyond being made again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use failover::Epoch;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use vrrp::permit::{MESSAGE_BYTES, Message};

/// The permit's holder.
#[derive(Debug)]
pub(crate) struct Holder {
    path: PathBuf,
    connection: Option<OwnedFd>,
    /// The epoch of the last permit.
    epoch: u64,
    /// How many virtual routers have addresses by it, as vipd says.
    held: Option<u8>,
    /// Whether vipd could be reached when it was last tried; said when it changes.
    reached: Option<bool>,
}

impl Holder {
    pub(crate) fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, connection: None, epoch: 0, held: None, reached: None }
    }

    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(AsFd::as_fd)
    }

    /// Connects, if it isn't: vipd tells of other routers' adverts before there is a permit, too.
    pub(crate) fn reach(&mut self) {
        if self.connection.is_none() {
            self.connection = dial(&self.path).ok();
        }
    }

    /// How many virtual routers have addresses by the permit; `None` while vipd isn't connected.
    pub(crate) fn held(&self) -> Option<u8> {
        self.held.filter(|_| self.connection.is_some())
    }

    /// Allows the address until then. A line when vipd comes or goes.
    pub(crate) fn permit(&mut self, epoch: Epoch, until: Duration) -> Option<String> {
        self.epoch = epoch.0;
        let said = self.say(Message::Grant { epoch: epoch.0, until });
        let (before, now) = (self.reached, said.is_ok());
        self.reached = Some(now);
        let path = self.path.display();
        match said {
            Err(error) if before != Some(false) => Some(format!(
                "no virtual address can be held: vipd isn't reached at {path}: {error}"
            )),
            Ok(()) if before == Some(false) => Some(format!("vipd is reached at {path}")),
            _ => None,
        }
    }

    /// Takes the permit back.
    pub(crate) fn withdraw(&mut self) {
        if self.connection.is_some() && self.say(Message::Withdraw { epoch: self.epoch }).is_err() {
            // The end of the connection withdraws as well.
            self.connection = None;
        }
    }

    fn say(&mut self, message: Message) -> io::Result<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => dial(&self.path)?,
        };
        // On any error the connection is dropped, and made again with the next permit.
        send(&connection, &message.encode(), SendFlags::NOSIGNAL)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Takes in what vipd says; whether somebody else adverts the address.
    pub(crate) fn hear(&mut self) -> bool {
        let mut bytes = [0; MESSAGE_BYTES + 1];
        let mut claimed = false;
        while let Some(connection) = &self.connection {
            match recv(connection, &mut bytes[..], RecvFlags::empty()) {
                Err(Errno::AGAIN | Errno::INTR) => return claimed,
                Ok((0, _)) | Err(_) => self.connection = None,
                Ok((length, _)) => match Message::decode(bytes.get(..length).unwrap_or_default()) {
                    Ok(Message::Report { held, .. }) => self.held = Some(held),
                    Ok(Message::Claimed { .. }) => claimed = true,
                    _ => {}
                },
            }
        }
        self.held = None;
        claimed
    }
}

fn dial(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use rustix::net::{accept, bind, listen};

    use super::*;

    const UNTIL: Duration = Duration::from_secs(5);

    fn vipd(path: &Path) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let socket = socket.expect("a socket");
        bind(&socket, &SocketAddrUnix::new(path).expect("an address")).expect("bound");
        listen(&socket, 1).expect("listening");
        socket
    }

    fn heard(connection: &OwnedFd) -> Message {
        let mut bytes = [0; MESSAGE_BYTES];
        let (length, _) = recv(connection, &mut bytes[..], RecvFlags::empty()).expect("read");
        Message::decode(&bytes[..length]).expect("a message")
    }

    #[test]
    fn other_routers_are_heard_of_without_a_permit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("permit.sock");
        let mut holder = Holder::new(&path);
        holder.reach();
        assert!(holder.socket().is_none(), "nobody is there");
        let listener = vipd(&path);
        holder.reach();
        let connection = accept(&listener).expect("connected");
        let claimed = Message::Claimed { epoch: 0 };
        send(&connection, &claimed.encode(), SendFlags::empty()).expect("sent");
        assert!(holder.hear());
    }

    #[test]
    fn permits_go_out_and_vipd_s_coming_and_going_is_said_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("permit.sock");
        let mut holder = Holder::new(&path);
        assert!(holder.permit(Epoch(3), UNTIL).is_some_and(|line| line.contains("isn't reached")));
        assert_eq!(holder.permit(Epoch(3), UNTIL), None);
        let listener = vipd(&path);
        assert!(holder.permit(Epoch(3), UNTIL).is_some_and(|line| line.contains("is reached")));
        let connection = accept(&listener).expect("connected");
        assert_eq!(heard(&connection), Message::Grant { epoch: 3, until: UNTIL });
        let report = Message::Report { epoch: 3, held: 1 };
        send(&connection, &report.encode(), SendFlags::empty()).expect("sent");
        assert!(!holder.hear());
        assert_eq!(holder.held(), Some(1));
        let claimed = Message::Claimed { epoch: 3 };
        send(&connection, &claimed.encode(), SendFlags::empty()).expect("sent");
        assert!(holder.hear() && !holder.hear(), "told once for each word of vipd's");
        holder.withdraw();
        assert_eq!(heard(&connection), Message::Withdraw { epoch: 3 });
        drop(connection);
        holder.hear();
        assert_eq!((holder.held(), holder.socket().is_some()), (None, false));
        assert_eq!(holder.permit(Epoch(5), UNTIL), None, "it is connected again at once");
    }
}
