//! Which program of the node a request is for: PID 1, pgkeeper, its backups, or vipd.
//!
//! Nothing is passed on by PID 1: it waits for no sibling. All sockets are below one folder.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::{
    Answer, BACKUP_SOCKET_PATH, KEEPER_SOCKET_PATH, MAX_ANSWER_BYTES, Reason, Request, VipRequest,
    VipStatus,
};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};
use serde::Deserialize;

/// Where all sockets of the node are.
const RUN_FOLDER: &str = "/run/edgepair";
/// Where vipd listens; it has words of its own.
const VIPD_SOCKET: &str = "/run/edgepair/vipd.sock";

/// A program's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) path: PathBuf,
    /// Who is behind it.
    pub(crate) name: &'static str,
    /// Why nobody may be there, and the mend; none for PID 1, which is always there.
    pub(crate) absent: Option<&'static str>,
    /// The word to say in place of the request; vipd's words are its own.
    pub(crate) word: Option<VipRequest>,
}

impl Door {
    /// The door for a request, beside PID 1's.
    pub(crate) fn of(request: &Request, agent: &Path) -> Self {
        // Below the folder of PID 1's socket, which is another one in tests.
        let beside = |path: &str| match Path::new(path).strip_prefix(RUN_FOLDER) {
            Ok(below) => agent.parent().unwrap_or(Path::new("")).join(below),
            Err(_) => PathBuf::from(path),
        };
        match request {
            Request::Pg(request) if request.is_for_backups() => Self {
                path: beside(BACKUP_SOCKET_PATH),
                name: "the backup service",
                absent: Some(
                    "backups aren't made here: the seed has no [database.backup], or the service \
                     `backup` is down (`nodectl status`)",
                ),
                word: None,
            },
            Request::Pg(_) => Self {
                path: beside(KEEPER_SOCKET_PATH),
                name: "pgkeeper",
                absent: Some(
                    "pgkeeper isn't there: this node hasn't the role \"database\", or the service is \
                     down (`nodectl status`)",
                ),
                word: None,
            },
            Request::Vip(word) => Self {
                path: beside(VIPD_SOCKET),
                name: "vipd",
                absent: Some(
                    "vipd isn't there: this node has no [[vips]], or the service is down (`nodectl \
                     status`)",
                ),
                word: Some(*word),
            },
            _ => {
                Self { path: agent.to_owned(), name: "the node's agent", absent: None, word: None }
            }
        }
    }

    /// The refusal for a connection that found nobody; none if the error is another one. Where there is
    /// a socket there was a program, whose absence is a failure.
    pub(crate) fn refusal(&self, error: &io::Error) -> Option<Answer> {
        let absent = self.absent?;
        match error.kind() {
            io::ErrorKind::NotFound => Some(Answer::refused(Reason::NotNow, absent)),
            io::ErrorKind::ConnectionRefused => {
                let who = self.name;
                let why = "it is down or starting; `nodectl status` says which";
                let text = format!("{who} doesn't listen: {why}");
                Some(Answer::refused(Reason::Failed, text))
            }
            _ => None,
        }
    }

    /// A connection. One to a program that hangs is made without it until its queue is full; then the
    /// limit ends what would wait for ever.
    pub(crate) fn connect(&self, limit: Duration) -> io::Result<UnixStream> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limit))?;
        connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
        Ok(UnixStream::from(socket))
    }

    /// Asks vipd in its own words, within a limit for each step.
    pub(crate) fn ask_vipd(&self, what: VipRequest, limit: Duration) -> io::Result<Answer> {
        let mut stream = self.connect(limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let word: &[u8] = match what {
            VipRequest::Status => b"json\n",
            VipRequest::Metrics => b"metrics\n",
        };
        stream.write_all(word)?;
        let mut text = String::new();
        let bound = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
        stream.take(bound).read_to_string(&mut text)?;
        match what {
            VipRequest::Metrics => Ok(Answer::Metrics { text }),
            VipRequest::Status => Ok(Answer::Vips(vips_of(&text)?)),
        }
    }
}

/// vipd's JSON, as far as a status needs it.
#[derive(Deserialize)]
struct Told {
    routers: Vec<Router>,
}

#[derive(Deserialize)]
struct Router {
    name: String,
    interface: String,
    state: String,
    priority: u8,
    addresses: Vec<String>,
    permitted: bool,
    hindrance: Option<String>,
}

/// What vipd says, in the words of a node's status.
fn vips_of(text: &str) -> io::Result<Vec<VipStatus>> {
    let told: Told = serde_json::from_str(text)?;
    let vip = |router: Router| VipStatus {
        name: router.name,
        state: router.state,
        addresses: router.addresses,
        link: router.interface,
        priority: router.priority,
        permitted: router.permitted,
        notes: router.hindrance.into_iter().collect(),
    };
    Ok(told.routers.into_iter().map(vip).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use control::PgRequest;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[test]
    fn every_request_has_its_door() {
        let agent = Path::new("/run/edgepair/control.sock");
        let path = |request| Door::of(&request, agent).path;
        assert_eq!(path(Request::Status), agent);
        assert_eq!(path(Request::Pg(PgRequest::Reinit)), Path::new(KEEPER_SOCKET_PATH));
        assert_eq!(path(Request::Pg(PgRequest::Backups)), Path::new(BACKUP_SOCKET_PATH));
        assert_eq!(path(Request::Vip(VipRequest::Status)), Path::new(VIPD_SOCKET));
        let elsewhere = Door::of(&Request::Pg(PgRequest::Status), Path::new("/tmp/x/control.sock"));
        assert_eq!(elsewhere.path, Path::new("/tmp/x/pgkeeper/control.sock"));
    }

    /// Without its socket the node has no such program; with it, the program should be there.
    #[test]
    fn nobody_is_told_from_somebody_who_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request::Pg(PgRequest::Status);
        let door = Door::of(&request, &folder.path().join("control.sock"));
        let reason = || match door.refusal(&door.connect(LIMIT).unwrap_err()) {
            Some(Answer::Refused(refusal)) => refusal.reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(), Reason::NotNow);
        std::fs::create_dir(folder.path().join("pgkeeper")).unwrap();
        drop(UnixListener::bind(&door.path).unwrap());
        assert_eq!(reason(), Reason::Failed);
    }

    /// Nobody takes what is in the queue, and what finds no room there waits no longer than it may.
    #[test]
    fn a_full_queue_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let door = Door::of(&Request::Status, &folder.path().join("control.sock"));
        let flags = SocketFlags::CLOEXEC;
        let full = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&full, &SocketAddrUnix::new(&door.path).unwrap()).unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let _first = door.connect(LIMIT).unwrap();
        let second = door.connect(LIMIT).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock, "{second}");
    }

    #[test]
    fn vipds_words_become_a_status() {
        let text = r#"{"version":"0","uptime_seconds":1.5,"permit":null,"checks":[],"routers":[
            {"name":"api/ipv4","interface":"lan","vrrp_version":3,"vrid":77,"state":"backup",
             "since_seconds":1.0,"priority":110,"interval_seconds":0.1,
             "addresses":["10.0.10.10/24"],"source":null,"permitted":false,
             "hindrance":"lan has no carrier","reason":null,"other":null}]}"#;
        let vips = vips_of(text).unwrap();
        let [vip] = vips.as_slice() else { panic!("{vips:?}") };
        assert_eq!(
            (vip.name.as_str(), vip.state.as_str(), vip.priority),
            ("api/ipv4", "backup", 110)
        );
        assert_eq!(vip.notes, ["lan has no carrier"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = vips_of(&text);
        }
    }
}
