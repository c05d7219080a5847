//! What a service tells whoever supervises it, over the notify socket: that it is ready, that it is
//! alive, how it is. The words are systemd's, so every supervisor understands them.

use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the socket; a leading `@` stands for the abstract name space.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Longest message; the receiver reads no more.
pub const MESSAGE_BYTES: usize = 1024;

/// The way to the supervisor, or to nobody when there is none.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// As the environment says. A service that can't tell anybody still does its work.
    pub fn from_environment() -> Self {
        Self { socket: env::var_os(VARIABLE).and_then(|name| connect(&name)) }
    }

    /// The service is ready.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The service is alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How the service is, in one line for people.
    pub fn status(&self, status: &str) {
        let line = status.lines().next().unwrap_or_default();
        self.send(&format!("STATUS={line}"));
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            let end = message.floor_char_boundary(MESSAGE_BYTES.min(message.len()));
            // A full or absent supervisor must not hold up the service; the next message comes.
            let _unheard = socket.send(message.get(..end).unwrap_or_default().as_bytes());
        }
    }
}

fn connect(name: &OsString) -> Option<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 2 * MESSAGE_BYTES];
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let abstract_name = format!("edgepair-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
        for (receiver, name) in [
            (UnixDatagram::bind(&path).expect("bound"), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&address).expect("bound"),
                OsString::from(format!("@{abstract_name}")),
            ),
        ] {
            let notifier = Notifier { socket: connect(&name) };
            notifier.ready();
            notifier.status("fine\nand more");
            notifier.status(&"x".repeat(2 * MESSAGE_BYTES));
            assert_eq!(received(&receiver), "READY=1");
            assert_eq!(received(&receiver), "STATUS=fine");
            assert_eq!(received(&receiver).len(), MESSAGE_BYTES);
        }
    }

    #[test]
    fn without_a_supervisor_nothing_happens() {
        let notifier = Notifier { socket: connect(&OsString::from("/nonexistent/notify")) };
        notifier.ready();
        assert!(notifier.socket.is_none());
    }
}
