//! The control socket under good and bad clients: real sockets, and every history of bytes.

use std::cell::RefCell;
use std::io::{Read, Write};

use ::control::{
    Clock, Image, LogLine, MAX_REQUEST_BYTES, Readiness, Refusal, Status, Top, Watchdog,
};
use logs::Journal;
use proptest::prelude::*;

use super::client::{REQUEST_LIMIT, STALL_LIMIT};
use super::*;

const T0: Duration = Duration::from_secs(100);
const NOON: u64 = 1_795_176_000_000;

/// A node that notes its orders.
struct World {
    journal: Journal,
    orders: Vec<Order>,
    asked: RefCell<usize>,
}

impl World {
    fn new() -> Self {
        let journal = Journal::new(&["haproxy", "k3s"], 8192);
        Self { journal, orders: Vec::new(), asked: RefCell::new(0) }
    }

    fn says(&mut self, source: usize, text: &str) {
        self.journal.push(source, T0, format!("{text}\n").as_bytes());
    }
}

impl NodeView for World {
    fn status(&self, now: Duration) -> Status {
        *self.asked.borrow_mut() += 1;
        Status {
            node: Some("node1".to_owned()),
            cluster: None,
            image: Image {
                name: "lab".to_owned(),
                version: "1".to_owned(),
                stand_in: false,
                debug: true,
            },
            slot: None,
            slots: None,
            storage: None,
            boot_id: String::new(),
            uptime_ms: u64::try_from(now.as_millis()).unwrap(),
            clock: Clock { unix_ms: NOON, synchronised: false, source: None, detail: None },
            readiness: Readiness { ready: true, phase: "running".to_owned(), because: vec![] },
            services: Vec::new(),
            links: Vec::new(),
            watchdog: Watchdog { device: None, fed: false, because: None },
            vip: Vec::new(),
            database: None,
            k3s: None,
            missing: Vec::new(),
        }
    }

    fn top(&self, now: Duration) -> Top {
        usage::of_node(now, Vec::new())
    }

    fn journal(&self) -> Option<&Journal> {
        Some(&self.journal)
    }

    fn order(&mut self, order: Order, _: Duration) -> Result<(), Refusal> {
        let unknown =
            |message: &str| Refusal { reason: Reason::UnknownService, message: message.to_owned() };
        if matches!(&order, Order::Start(name) if name.as_str() == "nosuch") {
            return Err(unknown("no such service"));
        }
        self.orders.push(order);
        Ok(())
    }

    fn unix_ms(&self) -> u64 {
        NOON
    }
}

/// A server, its node, and the loop around them.
struct Loop {
    server: Server,
    world: World,
    path: PathBuf,
    now: Duration,
    _folder: tempfile::TempDir,
}

impl Loop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let server = Server::bind(&path, None).unwrap();
        Self { server, world: World::new(), path, now: T0, _folder: folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    fn asks(&mut self, request: &Request) -> UnixStream {
        let mut stream = self.connect();
        stream.write_all(&request.to_line().unwrap()).unwrap();
        self.turns(3);
        stream
    }

    /// Turns of the loop, as long as something is ready.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            let mut polls = Vec::new();
            let mut inputs = Vec::new();
            self.server.watch(self.now, |descriptor, flags, input| {
                polls.push(PollFd::from_borrowed_fd(descriptor, flags));
                inputs.push(input);
            });
            poll(&mut polls, Some(&Timespec::default())).unwrap();
            let ready: Vec<ControlInput> = polls
                .iter()
                .zip(inputs)
                .filter(|(poll, _)| !poll.revents().is_empty())
                .map(|(_, input)| input)
                .collect();
            for input in ready {
                self.server.attend(input, &mut self.world, self.now);
            }
            self.server.pass_time(&self.world, self.now);
        }
    }
}

/// What waits for a client, and whether it was closed after it.
fn read(stream: &mut UnixStream) -> (Vec<Answer>, bool) {
    let mut bytes = Vec::new();
    let closed = stream.read_to_end(&mut bytes).is_ok();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    (lines.map(|line| Answer::parse(line).unwrap()).collect(), closed)
}

fn texts(answers: &[Answer]) -> Vec<&str> {
    let text = |answer| match answer {
        &Answer::Log(LogLine { ref text, .. }) => text.as_str(),
        Answer::Missed { .. } => "missed",
        Answer::End => "end",
        other => panic!("{other:?}"),
    };
    answers.iter().map(text).collect()
}

fn logs(service: Option<&str>, lines: u32, follow: bool, from_seq: Option<u64>) -> Request {
    let service = service.map(|name| name.parse().unwrap());
    Request::Logs(Logs { service, lines, follow, from_seq })
}

#[test]
fn a_status_is_answered_and_the_client_closed() {
    let mut node = Loop::new();
    let mut stream = node.asks(&Request::Status);
    let (answers, closed) = read(&mut stream);
    assert!(matches!(&answers[..], [Answer::Status(status)] if status.uptime_ms == 100_000));
    assert!(closed);
    assert_eq!(node.server.clients(), 0);
}

#[test]
fn orders_reach_the_node_and_refusals_the_client() {
    let mut node = Loop::new();
    let service = |name: &str| name.parse().unwrap();
    for request in [
        Request::Restart { service: service("k3s") },
        Request::Stop { service: service("k3s") },
        Request::Reboot,
        Request::PowerOff,
    ] {
        let mut stream = node.asks(&request);
        assert_eq!(read(&mut stream), (vec![Answer::Accepted], true));
    }
    let mut stream = node.asks(&Request::Start { service: service("nosuch") });
    assert!(matches!(&read(&mut stream).0[..], [Answer::Refused(_)]));
    let (restart, stop) = (Order::Restart(service("k3s")), Order::Stop(service("k3s")));
    assert_eq!(node.world.orders, [restart, stop, Order::Reboot, Order::PowerOff]);
}

#[test]
fn facts_and_metrics_are_answered() {
    let mut node = Loop::new();
    let mut stream = node.asks(&Request::Get { fact: Fact::Uptime });
    assert!(matches!(&read(&mut stream).0[..], [Answer::Fact(told)] if told.whole));
    let mut stream = node.asks(&Request::Metrics);
    let answers = read(&mut stream).0;
    assert!(
        matches!(&answers[..], [Answer::Metrics { text }] if text.contains("edgepair_ready 1"))
    );
}

#[test]
fn the_last_lines_of_all_and_of_one() {
    let mut node = Loop::new();
    for (source, text) in [(0, "a"), (1, "b"), (0, "c\x1b"), (1, "d")] {
        node.world.says(source, text);
    }
    let mut stream = node.asks(&logs(None, 3, false, None));
    assert_eq!(texts(&read(&mut stream).0), ["b", "c\\x1b", "d", "end"]);
    let mut stream = node.asks(&logs(Some("haproxy"), 1, false, None));
    assert_eq!(texts(&read(&mut stream).0), ["c\\x1b", "end"]);
    let mut stream = node.asks(&logs(Some("haproxy"), 9, false, None));
    assert_eq!(texts(&read(&mut stream).0), ["a", "c\\x1b", "end"]);
    let mut stream = node.asks(&logs(Some("haproxy"), 0, false, None));
    assert_eq!(texts(&read(&mut stream).0), ["end"]);
    let mut stream = node.asks(&logs(Some("nosuch"), 1, false, None));
    assert!(matches!(&read(&mut stream).0[..], [Answer::Refused(_)]));
}

#[test]
fn a_follower_gets_lines_as_they_come() {
    let mut node = Loop::new();
    node.world.says(0, "before");
    let mut stream = node.asks(&logs(None, 10, true, None));
    assert_eq!(texts(&read(&mut stream).0), ["before"]);
    node.world.says(1, "after");
    node.turns(1);
    let (answers, closed) = read(&mut stream);
    let [Answer::Log(line)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((line.seq, line.unix_ms, line.text.as_str()), (2, NOON, "after"));
    assert!(!closed);
    node.now += STALL_LIMIT * 10;
    node.turns(1);
    assert_eq!(node.server.clients(), 1, "a quiet log makes nobody slow");
    drop(stream);
    node.turns(1);
    assert_eq!(node.server.clients(), 0, "who leaves is noticed");
}

#[test]
fn a_follower_is_told_what_it_missed() {
    let mut node = Loop::new();
    for number in 0..1000 {
        node.world.says(0, &format!("line {number} {}", "x".repeat(40)));
    }
    let first = node.world.journal.since(None, 0).next().unwrap().seq;
    let mut stream = node.asks(&logs(None, 9, true, Some(1)));
    let answers = read(&mut stream).0;
    assert_eq!(answers.first(), Some(&Answer::Missed { lines: first - 1 }));
    assert!(matches!(answers.get(1), Some(Answer::Log(line)) if line.seq == first));
}

/// With a quiet node the loop turns once a second, and whoever reads a long log would wait for that
/// after each portion.
#[test]
fn who_took_a_portion_and_is_behind_wakes_the_loop() {
    let mut world = World::new();
    world.journal = Journal::new(&["haproxy", "k3s"], 64 * 1024);
    for number in 0..500 {
        world.says(0, &format!("line {number} {}", "x".repeat(80)));
    }
    let Request::Logs(all) = logs(None, 500, false, None) else { panic!("logs") };
    let wire = Wire { deliveries: Vec::new(), takes: vec![usize::MAX; 99], taken: Vec::new() };
    let mut client = Client::new(wire, T0);
    client.begin_following(LogReader::new(&all, &world.journal).unwrap(), T0);
    let mut portions = 0;
    loop {
        client.follow(&world.journal, T0, NOON);
        if client.write(T0).is_gone() {
            break;
        }
        portions += 1;
        assert_eq!((client.waiting(), client.interest()), (0, PollFlags::OUT));
    }
    assert!(portions > 1, "more than one portion");
    assert!(client.stream().taken.ends_with(&Answer::End.to_line()));
}

/// Who reads slowly misses lines; who reads nothing is dropped; what waits is bounded.
#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let mut node = Loop::new();
    let stream = node.asks(&logs(None, 0, true, None));
    for _ in 0..2000 {
        node.world.says(0, &"x".repeat(2000));
        node.turns(1);
    }
    let waiting: usize = node.server.clients.iter().flatten().map(Client::waiting).sum();
    assert!(waiting > 0 && waiting < 64 * 1024, "{waiting}");
    assert_eq!(node.server.clients(), 1);
    node.now += STALL_LIMIT;
    node.turns(1);
    assert_eq!(node.server.clients(), 0);
    drop(stream);
}

#[test]
fn a_client_that_says_nothing_is_dropped() {
    let mut node = Loop::new();
    let mut stream = node.connect();
    stream.write_all(b"{").unwrap();
    node.turns(2);
    assert_eq!(node.server.clients(), 1);
    assert_eq!(node.server.next_deadline(node.now), Some(T0 + REQUEST_LIMIT));
    node.now += REQUEST_LIMIT;
    node.turns(1);
    assert_eq!(node.server.clients(), 0);
}

#[test]
fn more_clients_than_places_are_turned_away() {
    let mut node = Loop::new();
    let mut streams: Vec<UnixStream> = Vec::new();
    for _ in 0..CLIENTS {
        streams.push(node.connect());
        node.turns(1);
    }
    let mut late = node.connect();
    node.turns(1);
    let (answers, closed) = read(&mut late);
    assert!(closed);
    assert!(matches!(&answers[..], [Answer::Refused(it)] if it.reason == Reason::Busy));
    assert_eq!(node.server.clients(), CLIENTS);
    drop(streams);
    node.turns(1);
    assert_eq!(node.server.clients(), 0);
}

#[test]
fn what_is_too_long_or_wrong_is_refused() {
    let mut node = Loop::new();
    for bytes in [vec![b' '; MAX_REQUEST_BYTES + 1], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stream = node.connect();
        stream.write_all(&bytes).unwrap();
        node.turns(5);
        let mut answer = [0; 400];
        let count = stream.read(&mut answer).unwrap();
        assert!(matches!(Answer::parse(&answer[..count]), Ok(Answer::Refused(_))));
        assert_eq!(node.server.clients(), 0);
    }
    assert_eq!(node.world.orders, []);
}

#[test]
fn the_socket_is_for_root_and_a_group() {
    let node = Loop::new();
    let mode = fs::metadata(&node.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // A second server takes the place of one that ended without removing its socket.
    assert!(Server::bind(&node.path, None).is_ok());
}

/// A network that delivers in any pieces, takes in any pieces, and breaks at any time.
#[derive(Debug)]
struct Wire {
    deliveries: Vec<Vec<u8>>,
    takes: Vec<usize>,
    taken: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.deliveries.pop() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if piece.first() == Some(&255) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        let rest = piece.split_off(count);
        if !rest.is_empty() {
            self.deliveries.push(rest);
        }
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.takes.pop() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(9999) => Err(io::ErrorKind::BrokenPipe.into()),
            Some(count) => {
                let count = count.min(bytes.len());
                self.taken.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let good = prop_oneof![
        Just(Request::Status.to_line().unwrap()),
        Just(logs(None, 5, false, None).to_line().unwrap()),
        Just(logs(Some("k3s"), 5, true, Some(2)).to_line().unwrap()),
    ];
    let piece = prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..600),
        3 => good,
        1 => Just(b"{\"version\":1,".to_vec()),
        1 => Just(b"\"request\":\"status\"}\n".to_vec()),
    ];
    proptest::collection::vec(piece, 0..6)
}

proptest! {
    /// Whatever comes, in whatever pieces, and however it is taken: no panic, and what waits is
    /// bounded.
    #[test]
    fn no_history_of_bytes_does_harm(
        deliveries in pieces(),
        takes in proptest::collection::vec(prop_oneof![9 => 0_usize..5000, 1 => Just(9999)], 0..20),
        speech in proptest::collection::vec((0_usize..2, 0_usize..1500), 0..20),
    ) {
        let mut world = World::new();
        let wire = Wire { deliveries, takes, taken: Vec::new() };
        let mut client = Client::new(wire, T0);
        let mut asked = 0;
        let mut speech = speech.into_iter();
        for _ in 0..30 {
            if let Some((source, length)) = speech.next() {
                world.says(source, &"y".repeat(length));
            }
            match client.read() {
                Heard::Nothing => {}
                Heard::Gone => return Ok(()),
                Heard::Broken(error) => client.finish(&Answer::Refused(error.refusal()), T0),
                Heard::Request(Request::Logs(logs)) => {
                    asked += 1;
                    let reader = LogReader::new(&logs, &world.journal).unwrap();
                    client.begin_following(reader, T0);
                }
                Heard::Request(_) => {
                    asked += 1;
                    client.finish(&Answer::Status(Box::new(world.status(T0))), T0);
                }
            }
            client.follow(&world.journal, T0, NOON);
            prop_assert!(client.waiting() < 64 * 1024);
            if client.write(T0).is_gone() {
                break;
            }
        }
        prop_assert!(asked <= 1, "one connection asks one thing");
        let taken = &client.stream().taken;
        let whole = taken.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in taken[..whole].split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(Answer::parse(line).is_ok());
        }
    }
}
