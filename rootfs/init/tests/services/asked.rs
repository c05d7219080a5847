//! The loop of PID 1 asked over its control socket, as `nodectl` and `logd` do.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use control::{Answer, Logs, Reason, Request, ServiceState, Status};
use init::control::Server;

use crate::roles;
use crate::site::{Site, in_own_process};

/// Opens the site's control socket.
fn listen(site: &mut Site) {
    let server = Server::bind(&site.path("control.sock"), None).expect("a socket");
    site.node.listen(server);
}

/// Somebody who asked.
struct Asker {
    stream: UnixStream,
    bytes: Vec<u8>,
    closed: bool,
}

impl Asker {
    fn new(site: &Site, request: &Request) -> Self {
        let mut stream = UnixStream::connect(site.path("control.sock")).expect("connected");
        stream.write_all(&request.to_line().expect("short")).expect("sent");
        stream.set_nonblocking(true).expect("set");
        Self { stream, bytes: Vec::new(), closed: false }
    }

    /// What was answered so far.
    fn answers(&mut self) -> Vec<Answer> {
        self.closed = self.stream.read_to_end(&mut self.bytes).is_ok();
        let whole = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = self.bytes[..whole].split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| Answer::parse(line).expect("an answer")).collect()
    }
}

fn ask(site: &mut Site, request: &Request) -> Vec<Answer> {
    let mut asker = Asker::new(site, request);
    let mut answers = Vec::new();
    site.until("an answer", |_| {
        answers = asker.answers();
        asker.closed
    });
    answers
}

fn status(site: &mut Site) -> Status {
    match ask(site, &Request::Status).pop() {
        Some(Answer::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

const TALKER: &str = "[[services]]\nname = \"talker\"\n\
    command = [\"/bin/sh\", \"-c\", \"echo here I am; exec sleep 1000\"]\n";

#[test]
fn a_node_tells_how_it_is_from_the_start() {
    in_own_process("asked::a_node_tells_how_it_is_from_the_start", |mut site| {
        listen(&mut site);
        let early = status(&mut site);
        assert_eq!((early.node, early.readiness.ready), (None, false));
        assert_eq!(early.readiness.phase, "waiting for a seed");
        let logs = Logs { service: None, lines: 1, follow: false, from_seq: None };
        let answers = ask(&mut site, &Request::Logs(logs));
        assert!(matches!(&answers[..], [Answer::Refused(it)] if it.reason == Reason::NotNow));
        site.begin(TALKER);
        site.until_state("talker", supervise::State::Ready);
        let talker = status(&mut site).services.remove(0);
        assert_eq!((talker.name.as_str(), talker.state), ("talker", ServiceState::Ready));
        assert_eq!(talker.pid.map(i64::from), site.pid("talker").map(i64::from));
        let Some(Answer::Top(top)) = ask(&mut site, &Request::Top).pop() else { panic!("no top") };
        assert_eq!(top.services.len(), 1);
        site.end();
    });
}

#[test]
fn an_operator_restarts_a_service_and_follows_its_log() {
    in_own_process("asked::an_operator_restarts_a_service_and_follows_its_log", |mut site| {
        listen(&mut site);
        site.begin(TALKER);
        let service = || "talker".parse().expect("a name");
        let logs = Logs { service: Some(service()), lines: 10, follow: true, from_seq: None };
        let mut follower = Asker::new(&site, &Request::Logs(logs));
        let said = |follower: &mut Asker| {
            let answers = follower.answers().into_iter();
            answers.filter(|it| matches!(it, Answer::Log(line) if line.text == "here I am")).count()
        };
        site.until("its first words", |_| said(&mut follower) == 1);
        let answers = ask(&mut site, &Request::Restart { service: service() });
        assert_eq!(answers, [Answer::Accepted]);
        site.until("its next words", |_| said(&mut follower) == 2);
        let nosuch = Request::Stop { service: "nosuch".parse().expect("a name") };
        let answers = ask(&mut site, &nosuch);
        assert!(
            matches!(&answers[..], [Answer::Refused(it)] if it.reason == Reason::UnknownService)
        );
        site.end();
    });
}

#[test]
fn an_operator_switches_the_node_off() {
    in_own_process("asked::an_operator_switches_the_node_off", |mut site| {
        listen(&mut site);
        site.begin(TALKER);
        site.until_said("here I am");
        assert_eq!(ask(&mut site, &Request::PowerOff), [Answer::Accepted]);
        site.until_state("talker", supervise::State::Down);
        let status = status(&mut site);
        assert_eq!(
            (status.readiness.ready, status.readiness.phase.as_str()),
            (false, "going down")
        );
        let start = Request::Start { service: "talker".parse().expect("a name") };
        let answers = ask(&mut site, &start);
        assert!(matches!(&answers[..], [Answer::Refused(it)] if it.reason == Reason::NotNow));
        site.end();
    });
}

/// As it is with logd, which every other service comes after.
#[test]
fn who_is_stopped_last_hears_the_last_words_of_all_others() {
    in_own_process("asked::who_is_stopped_last_hears_the_last_words_of_all_others", |mut site| {
        listen(&mut site);
        let folder = tempfile::tempdir().expect("a folder");
        let (file, socket) = (folder.path().join("said"), site.path("control.sock"));
        let role = format!("keep-what-was-said {} {}", socket.display(), file.display());
        let talker = "command = [\"/bin/sh\", \"-c\", \
                \"trap 'echo my last words; exit' TERM; echo here I am; \
                while :; do sleep 0.01; done\"]";
        let talker = format!("[[services]]\nname = \"talker\"\nafter = [\"keeper\"]\n{talker}\n");
        site.begin(&format!("{}{talker}", roles::service_at_its_end("keeper", &role)));
        site.until_said("waiting for the end");
        site.until_said("here I am");
        site.end();
        let said = std::fs::read_to_string(&file).expect("it asked");
        let answers = said.lines().map(|line| Answer::parse(line.as_bytes()).expect("one"));
        let answers: Vec<Answer> = answers.collect();
        let has = |of: &str, text: &str| {
            let is = |line: &control::LogLine| {
                let service = line.service.as_ref().map_or("init", |name| name.as_str());
                service == of && line.text.contains(text)
            };
            answers.iter().any(|it| matches!(it, Answer::Log(line) if is(line)))
        };
        assert!(has("talker", "my last words"), "{said}");
        assert!(has("talker", "-- stopped"), "{said}");
        assert!(has("keeper", "-- stopping"), "{said}");
        assert!(has("init", "asked to power off"), "{said}");
        assert_eq!(answers.last(), Some(&Answer::End));
    });
}
