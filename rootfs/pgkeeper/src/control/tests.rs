//! The control socket under good and bad clients, with the real core behind it.

use std::io::{Read, Write};

use ::control::{DatabaseStatus, MAX_REQUEST_BYTES, PgRequest, Request};
use failover::{
    Accepted, Action, Arbiter, Command, Data, Event, Failover, Recall, Refusal, Rules, Settings,
    Side, Times,
};
use proptest::prelude::*;
use rustix::process::getegid;

use super::client::{ANSWER_LIMIT, REQUEST_LIMIT};
use super::*;

const T0: Duration = Duration::from_secs(100);

/// A keeper that has nothing but the core.
struct Core {
    core: Failover,
    ordered: Vec<Command>,
}

impl Core {
    fn new() -> Self {
        let settings = Settings {
            cluster: 1,
            side: Side::A,
            arbiter: Arbiter::Witness,
            times: Times::default(),
            rules: Rules::ALL,
        };
        Self { core: Failover::new(settings), ordered: Vec::new() }
    }

    fn booted() -> Self {
        let mut keeper = Self::new();
        let boot = Event::Boot { recall: Recall::Missing, data: Data::Missing, nonce: 7 };
        keeper.core.step(T0, &boot, &mut Vec::new());
        keeper
    }

    fn names() -> Names {
        Names {
            nodes: ["node1".to_owned(), "node2".to_owned()],
            side: Side::A,
            channels: vec!["lan".to_owned(), "crossover".to_owned()],
            witness: Some("192.0.2.13".to_owned()),
            arbiter: Arbiter::Witness,
        }
    }
}

impl Keeper for Core {
    fn snapshot(&self) -> DatabaseStatus {
        snapshot(&self.core.status(), &Self::names(), None, &["a note".to_owned()])
    }

    fn order(&mut self, command: Command) -> Result<Accepted, Refusal> {
        self.ordered.push(command);
        let mut actions = Vec::new();
        self.core.step(T0, &Event::Operator(command), &mut actions);
        let reply = |action| match action {
            Action::Reply(reply) => Some(reply),
            _ => None,
        };
        actions.into_iter().find_map(reply).expect("the core replies in the same step")
    }
}

/// A server, its keeper, and the loop around them.
struct Loop {
    server: Server,
    keeper: Core,
    path: PathBuf,
    now: Duration,
    _folder: tempfile::TempDir,
}

impl Loop {
    fn new(keeper: Core) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgkeeper.sock");
        let server = Server::bind(&path, Some(getegid().as_raw())).unwrap();
        Self { server, keeper, path, now: T0, _folder: folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// Turns of the loop, each for all that is ready.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            let (mut polls, mut inputs) = (Vec::new(), Vec::new());
            self.server.watch(self.now, |descriptor, flags, input| {
                polls.push(PollFd::from_borrowed_fd(descriptor, flags));
                inputs.push(input);
            });
            poll(&mut polls, Some(&Timespec::default())).unwrap();
            let ready: Vec<Input> = polls
                .iter()
                .zip(inputs)
                .filter(|(poll, _)| !poll.revents().is_empty())
                .map(|(_, input)| input)
                .collect();
            for input in ready {
                let keeper = &mut self.keeper;
                let mut reply = |request: &Request| answer(keeper, request);
                self.server.attend(input, &mut reply, self.now);
            }
            self.server.pass_time(self.now);
        }
    }

    fn ask(&mut self, request: &Request) -> Answer {
        self.send(&request.to_line().unwrap()).expect("an answer")
    }

    /// What these bytes are answered with, if the server closes after it.
    fn send(&mut self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        let _closed = stream.write_all(bytes);
        self.turns(4);
        let mut line = Vec::new();
        // Who is turned away unheard gets the reason, and then a reset for what wasn't read.
        let read = stream.read_to_end(&mut line);
        let over = !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        (over && !line.is_empty()).then(|| Answer::parse(&line).unwrap())
    }
}

fn refusal(answer: Answer) -> (Reason, String) {
    match answer {
        Answer::Refused(refusal) => (refusal.reason, refusal.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_status_is_the_cores_in_words() {
    let mut node = Loop::new(Core::booted());
    let Answer::Database(status) = node.ask(&Request::Pg(PgRequest::Status)) else { panic!() };
    assert_eq!((status.node.as_str(), status.role.as_str()), ("node1", "looking-for-peer"));
    assert_eq!((status.epoch, status.primary.as_deref()), (0, None));
    let peer = status.peer.expect("a peer");
    assert_eq!(peer.node, "node2");
    assert!(peer.channels.len() == 2 && peer.channels.iter().all(|channel| !channel.heard));
    assert!(status.notes.contains(&"a note".to_owned()));
    assert_eq!(node.server.clients(), 0);
}

#[test]
fn the_core_judges_every_order() {
    let order = |request| Request::Pg(request);
    let mut fresh = Loop::new(Core::new());
    let (reason, why) = refusal(fresh.ask(&order(PgRequest::Switchover)));
    assert!(reason == Reason::NotNow && why.contains("still booting"), "{why}");
    let mut node = Loop::new(Core::booted());
    for (request, said) in [
        (PgRequest::Switchover, "doesn't lead"),
        (PgRequest::ForcePrimary { accept_data_loss: false }, "--i-accept-data-loss"),
        (PgRequest::Reinit, "no leader in reach"),
    ] {
        let (reason, why) = refusal(node.ask(&order(request)));
        assert_eq!(reason, Reason::Unsafe, "{why}");
        assert!(why.contains(said), "{why}");
    }
    assert_eq!(node.ask(&order(PgRequest::Maintenance { on: true })), Answer::Accepted);
    let Answer::Database(status) = node.ask(&order(PgRequest::Status)) else { panic!() };
    assert!(status.maintenance, "{status:?}");
    let forced = PgRequest::ForcePrimary { accept_data_loss: true };
    assert_eq!(node.ask(&order(forced)), Answer::Accepted);
    assert_eq!(node.keeper.ordered.len(), 5);
}

#[test]
fn metrics_are_the_same_in_numbers() {
    let mut node = Loop::new(Core::booted());
    let Answer::Metrics { text } = node.ask(&Request::Pg(PgRequest::Metrics)) else { panic!() };
    assert!(text.contains("edgepair_database_role{role=\"looking-for-peer\"} 1\n"), "{text}");
    assert!(text.contains("edgepair_database_channel_heard{channel=\"crossover\"} 0\n"), "{text}");
}

#[test]
fn what_is_for_others_is_refused() {
    let mut node = Loop::new(Core::booted());
    for request in [Request::Status, Request::Reboot, Request::Pg(PgRequest::BackupNow)] {
        let (reason, why) = refusal(node.ask(&request));
        assert!(reason == Reason::Malformed && why.contains("isn't who to ask"), "{why}");
    }
    assert!(node.keeper.ordered.is_empty());
}

#[test]
fn slow_clients_are_dropped_and_cost_nothing() {
    let mut node = Loop::new(Core::booted());
    let silent = node.connect();
    node.turns(2);
    assert_eq!(node.server.clients(), 1);
    assert_eq!(node.server.next_deadline(T0), Some(T0 + REQUEST_LIMIT));
    node.now = T0 + REQUEST_LIMIT;
    node.turns(1);
    assert_eq!(node.server.clients(), 0);
    drop(silent);
    // One that asks and reads nothing: the answer fits the socket's buffer, so nobody waits.
    let mut deaf = node.connect();
    deaf.write_all(&Request::Pg(PgRequest::Status).to_line().unwrap()).unwrap();
    node.turns(3);
    assert_eq!(node.server.clients(), 0);
    assert!(ANSWER_LIMIT > REQUEST_LIMIT);
}

#[test]
fn who_hung_up_leaves_no_place_taken() {
    let mut node = Loop::new(Core::booted());
    for _ in 0..3 * CLIENTS {
        drop(node.connect());
        node.turns(2);
    }
    assert_eq!(node.server.clients(), 0);
}

#[test]
fn too_many_are_told_so() {
    let mut node = Loop::new(Core::booted());
    let held: Vec<UnixStream> = (0..CLIENTS).map(|_| node.connect()).collect();
    node.turns(CLIENTS);
    let (reason, _) = refusal(node.ask(&Request::Pg(PgRequest::Status)));
    assert_eq!(reason, Reason::Busy);
    drop(held);
    node.turns(2);
    assert!(matches!(node.ask(&Request::Pg(PgRequest::Status)), Answer::Database(_)));
}

#[test]
fn the_socket_is_for_its_owner_and_group() {
    let node = Loop::new(Core::new());
    let mode = fs::metadata(&node.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // A second keeper takes the path over, as after a crash.
    assert!(Server::bind(&node.path, None).is_ok());
    let nowhere = Server::bind(Path::new("/nonexistent/pgkeeper.sock"), None).unwrap_err();
    assert!(nowhere.to_string().contains("/nonexistent"), "{nowhere}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever bytes come, the server answers with a refusal or waits, and is there for the next.
    #[test]
    fn any_bytes_are_harmless(
        bytes in proptest::collection::vec(any::<u8>(), 0..MAX_REQUEST_BYTES * 2),
    ) {
        let mut node = Loop::new(Core::booted());
        if let Some(answer) = node.send(&bytes) {
            prop_assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        }
        prop_assert!(node.keeper.ordered.is_empty());
        let answer = node.ask(&Request::Pg(PgRequest::Status));
        prop_assert!(matches!(answer, Answer::Database(_)), "{answer:?}");
    }
}
