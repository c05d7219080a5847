//! The door for operators, attacked: every certificate but the right one, slow peers, floods.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use control::{Answer, Logs, PgRequest, Reason, Request, VipRequest};
use nodectl::client::{Client, ClientError, NodeAddress, Target};
use nodectl::serve::{Config, Patience, Server};
use support::{FakeAgent, Identity, Siblings, Site};
use tempfile::TempDir;

/// Long enough that a loaded machine doesn't miss it; no test waits that long when all is well.
const SOON: Duration = Duration::from_secs(20);
/// The patience with whoever takes too long on purpose. All else has the default, which a loaded
/// machine keeps.
const SHORT: Duration = Duration::from_millis(500);

/// A node with its API.
struct Node {
    folder: TempDir,
    site: Site,
    agent: FakeAgent,
    address: SocketAddr,
    said: Receiver<String>,
    operator: PathBuf,
}

fn node() -> Node {
    node_with(Patience::default())
}

fn node_with(patience: Patience) -> Node {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::new("shop-17 site CA");
    let agent = FakeAgent::start(folder.path());
    let operator = site.client("operator");
    let own = site.node();
    let config = Config {
        port: 0,
        fingerprints: vec![operator.fingerprint.clone()],
        ca_certificate: site.ca_pem.clone(),
        node_certificate: own.certificate,
        node_key: own.key,
    };
    let (say, said) = channel();
    let say = Box::new(move |line: &str| drop(say.send(line.to_owned())));
    let server = Server::bind(&config, &agent.socket, patience, say).expect("a server");
    let address = server.address().expect("an address");
    thread::spawn(move || server.run());
    let operator = site.folder(folder.path(), "operator", &operator);
    Node { folder, site, agent, address, said, operator }
}

impl Node {
    fn client_at(&self, host: &str, operator: &Path) -> Client {
        let address = NodeAddress { host: host.to_owned(), port: self.address.port() };
        let operator = operator.to_owned();
        Client::new(&Target::Remote { address, operator }).expect("a good folder")
    }

    fn ask(&self, operator: &Path) -> Result<Answer, ClientError> {
        self.client_at("127.0.0.1", operator).one(&Request::Status)
    }

    fn folder_of(&self, name: &str, identity: &Identity) -> PathBuf {
        self.site.folder(self.folder.path(), name, identity)
    }

    fn stranger(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.address.port())).expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("set");
        stream
    }

    /// Waits until the API says something that contains all of this.
    fn says(&self, wanted: &[&str]) -> String {
        loop {
            let line = self.said.recv_timeout(SOON).expect("it says something");
            if wanted.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    fn refuses(&self, folder: &Path, log: &[&str]) {
        match self.ask(folder) {
            Err(error @ ClientError::CertificateRefused { .. }) => {
                assert_eq!(error.exit_code(), 1);
            }
            other => panic!("{other:?}"),
        }
        self.says(&[&["refused 127.0.0.1"], log].concat());
        assert_eq!(self.agent.asked(), [], "PID 1 hears nothing of it");
    }
}

/// Reads until the other side closes; says whether it did.
fn is_closed(mut stream: &TcpStream) -> bool {
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
}

#[test]
fn the_operator_is_answered_over_ipv4_and_ipv6() {
    let node = node();
    assert!(matches!(node.ask(&node.operator), Ok(Answer::Status(_))));
    if node.address.is_ipv6() {
        let answer = node.client_at("::1", &node.operator).one(&Request::Top);
        assert!(matches!(answer, Ok(Answer::Top(_))), "{answer:?}");
    }
}

#[test]
fn what_changes_something_is_logged_with_who_asked() {
    let node = node();
    let request = Request::Restart { service: "haproxy".parse().expect("a name") };
    let answer = node.client_at("127.0.0.1", &node.operator).one(&request);
    assert!(matches!(answer, Ok(Answer::Accepted)), "{answer:?}");
    node.says(&["operator ", "at 127.0.0.1", "asked: restart haproxy"]);
    assert_eq!(node.agent.asked(), [request]);
}

/// What is for pgkeeper or vipd goes there, and PID 1 is not between.
#[test]
fn siblings_of_the_agent_are_asked_from_afar() {
    let node = node();
    let client = node.client_at("127.0.0.1", &node.operator);
    let absent = client.one(&Request::Pg(PgRequest::Status));
    let Err(ClientError::Refused { refusal, .. }) = absent else { panic!("{absent:?}") };
    assert_eq!(refusal.reason, Reason::NotNow);
    let siblings = Siblings::start(node.folder.path());
    let answer = client.one(&Request::Pg(PgRequest::Status));
    assert!(matches!(&answer, Ok(Answer::Database(it)) if it.role == "primary"), "{answer:?}");
    let answer = client.one(&Request::Vip(VipRequest::Status));
    assert!(matches!(&answer, Ok(Answer::Vips(vips)) if vips.len() == 1), "{answer:?}");
    let answer = client.one(&Request::Vip(VipRequest::Metrics));
    assert!(matches!(&answer, Ok(Answer::Metrics { text }) if text.contains("vipd_active")));
    let order = Request::Pg(PgRequest::Maintenance { on: true });
    assert!(matches!(client.one(&order), Ok(Answer::Accepted)));
    node.says(&["operator ", "at 127.0.0.1", "asked: pg maintenance on"]);
    assert_eq!(siblings.ordered(), [PgRequest::Maintenance { on: true }]);
    assert_eq!(node.agent.asked(), []);
}

#[test]
fn a_refusal_of_the_agent_comes_through() {
    let node = node();
    let request = Request::Stop { service: "nosuch".parse().expect("a name") };
    let answer = node.client_at("127.0.0.1", &node.operator).one(&request);
    let Err(ClientError::Refused { refusal, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(refusal.reason, Reason::UnknownService);
}

#[test]
fn a_certificate_of_the_right_ca_that_is_not_listed_is_refused() {
    let node = node();
    let other = node.site.client("operator");
    let folder = node.folder_of("other", &other);
    node.refuses(&folder, &[&other.fingerprint, "operators.fingerprints"]);
    // A node's own certificate is of the right CA too.
    let folder = node.folder_of("node", &node.site.node());
    node.refuses(&folder, &["operators.fingerprints"]);
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let node = node();
    let elsewhere = Site::new("shop-17 site CA");
    let folder = elsewhere.folder(node.folder.path(), "elsewhere", &elsewhere.client("operator"));
    // So that the client gets as far as showing its certificate.
    std::fs::write(folder.join("ca.pem"), &node.site.ca_pem).expect("written");
    node.refuses(&folder, &["invalid peer certificate"]);
}

#[test]
fn an_expired_certificate_is_refused_even_if_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::new("shop-17 site CA");
    let agent = FakeAgent::start(folder.path());
    let operator = site.expired_client("operator");
    let own = site.node();
    let config = Config {
        port: 0,
        fingerprints: vec![operator.fingerprint.clone()],
        ca_certificate: site.ca_pem.clone(),
        node_certificate: own.certificate,
        node_key: own.key,
    };
    let (say, said) = channel();
    let say = Box::new(move |line: &str| drop(say.send(line.to_owned())));
    let server = Server::bind(&config, &agent.socket, Patience::default(), say).expect("a server");
    let address = server.address().expect("an address");
    thread::spawn(move || server.run());
    let operator = site.folder(folder.path(), "operator", &operator);
    let node = Node { folder, site, agent, address, said, operator };
    node.refuses(&node.operator, &["expired"]);
}

#[test]
fn nobody_comes_in_without_a_certificate() {
    let node = node();
    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls_ca(&node.site.ca_pem);
    roots.add(pem).expect("a CA");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().expect("a name");
    let mut tls = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut stream = node.stranger();
    let mut stream = rustls::Stream::new(&mut tls, &mut stream);
    let _ = stream.write_all(&Request::Status.to_line().expect("short"));
    let answer = stream.read(&mut [0; 100]);
    assert!(answer.is_err(), "{answer:?}");
    node.says(&["refused 127.0.0.1", "peer sent no certificates"]);
    assert_eq!(node.agent.asked(), []);
}

fn rustls_ca(pem: &str) -> rustls::pki_types::CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

#[test]
fn the_client_refuses_a_node_of_another_site() {
    let node = node();
    let elsewhere = Site::new("elsewhere");
    let folder = elsewhere.folder(node.folder.path(), "elsewhere", &elsewhere.client("operator"));
    let answer = node.ask(&folder);
    assert!(matches!(answer, Err(ClientError::Stranger { .. })), "{answer:?}");
    // The right site, but another host than the certificate names.
    let answer = node.client_at("localhost", &node.operator).one(&Request::Status);
    assert!(matches!(answer, Err(ClientError::Stranger { .. })), "{answer:?}");
}

#[test]
fn what_is_no_tls_is_refused() {
    let node = node();
    let mut stream = node.stranger();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: node1\r\n\r\n").expect("sent");
    assert!(is_closed(&stream));
    node.says(&["refused 127.0.0.1"]);
}

/// One byte now and then keeps a connection alive; the door has one deadline for all of them.
#[test]
fn a_slow_handshake_is_cut_off() {
    let node = node_with(Patience { handshake: SHORT, ..Patience::default() });
    let mut stream = node.stranger();
    let patient = stream.try_clone().expect("a clone");
    let dripping = thread::spawn(move || {
        // The head of a TLS record that announces more than ever comes.
        let record = [22, 3, 1, 2, 0].into_iter().chain(std::iter::repeat_n(1, 400));
        for byte in record {
            if stream.write_all(&[byte]).is_err() {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    });
    assert!(is_closed(&patient));
    node.says(&["refused 127.0.0.1", "no TLS handshake in time"]);
    assert!(dripping.join().expect("it ends"), "the door closes long before the record is whole");
}

#[test]
fn a_silent_operator_is_cut_off() {
    let node = node_with(Patience { request: SHORT, ..Patience::default() });
    let operator = nodectl::client::Operator::load(&node.operator).expect("a folder");
    let name = "127.0.0.1".try_into().expect("a name");
    let mut tls = rustls::ClientConnection::new(operator.config, name).expect("a client");
    let mut stream = node.stranger();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).expect("a handshake");
    }
    assert!(is_closed(&stream));
    node.says(&["operator ", "no request in time"]);
}

/// Many strangers at once neither exhaust the door nor lock out who was let in before.
#[test]
fn a_flood_locks_no_operator_out() {
    let node = node();
    assert!(node.ask(&node.operator).is_ok());
    let friends = "127.0.0.1";
    // The flood comes from another address of this machine, so that it is another peer.
    let flood: Vec<TcpStream> =
        (0..200_u8).filter_map(|at| from(node.address.port(), at)).collect();
    for _ in 0..30 {
        let answer = node.client_at(friends, &node.operator).one(&Request::Status);
        assert!(answer.is_ok(), "{answer:?}");
    }
    node.says(&["connections were turned away"]);
    drop(flood);
}

/// A connection from 127.1.0.AT.
fn from(port: u16, at: u8) -> Option<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let own = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&own, &SocketAddr::from(([127, 1, 0, at], 0))).ok()?;
    connect(&own, &SocketAddr::from(([127, 0, 0, 1], port))).ok()?;
    Some(own.into())
}

#[test]
fn a_peer_that_keeps_failing_is_turned_away_without_tls() {
    let node = node();
    let other = node.folder_of("other", &node.site.client("operator"));
    let hung_up = (0..40).any(|_| matches!(node.ask(&other), Err(ClientError::HungUp { .. })));
    assert!(hung_up, "forty wrong certificates in a row were all looked at");
}

/// A follower that leaves gives its place back, so more can follow one after the other than there
/// are places.
#[test]
fn places_of_those_who_left_are_free_again() {
    let node = node();
    let logs = Logs { service: None, lines: 3, follow: true, from_seq: None };
    for _ in 0..40 {
        let client = node.client_at("127.0.0.1", &node.operator);
        let mut answers = client.ask(&Request::Logs(logs.clone()), true).expect("a connection");
        let answer = answers.next();
        assert!(matches!(answer, Ok(Some(Answer::Missed { lines: 3 }))), "{answer:?}");
    }
}

#[test]
fn an_agent_that_is_gone_is_said_so() {
    let node = node();
    std::fs::remove_file(&node.agent.socket).expect("removed");
    let answer = node.ask(&node.operator);
    let Err(ClientError::Refused { refusal, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(refusal.reason, Reason::Failed);
    assert!(refusal.message.contains("agent does not answer"), "{refusal}");
}
