//! The gate as a client sees it, byte by byte, before a PostgreSQL that is a few lines of test.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pgkeeper::gate::{Gate, Patience, Settings};
use pgkeeper::{Epoch, Identity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::{CLIENT, DATABASE, ROLE, Site, until};
use tempfile::TempDir;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const CANCEL: [u8; 16] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 77, 1, 2, 3, 4];
const READY: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x4d\x01\x02\x03\x04Z\0\0\0\x05I";
const READY_BLANK: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x4d\0\0\0\0Z\0\0\0\x05I";

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Greets as PostgreSQL does, then sends everything back; keeps what it heard first.
fn echo(listener: &UnixListener, heard: &Arc<Mutex<Vec<Vec<u8>>>>) {
    for stream in listener.incoming() {
        let (mut stream, heard) = (stream.expect("a connection"), heard.clone());
        thread::spawn(move || {
            let first = packet(&mut stream).unwrap_or_default();
            heard.lock().expect("sound").push(first);
            stream.write_all(READY).ok();
            let mut back = stream.try_clone().expect("cloned");
            io::copy(&mut stream, &mut back).ok();
        });
    }
}

fn packet(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes(bytes[..].try_into().expect("four"));
    bytes.resize(usize::try_from(length).expect("short"), 0);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

struct Bench {
    folder: TempDir,
    site: Site,
    gate: Gate,
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path: PathBuf = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = heard.clone();
        thread::spawn(move || echo(&listener, &hearing));
        let site = Site::new("plant CA");
        let mut settings = support::settings(&site, &path, 100);
        change(&mut settings);
        let gate = support::gate(settings);
        gate.open(Epoch(1)).expect("open");
        let address = gate.address().expect("an address");
        Self { folder, site, gate, address, heard }
    }

    fn heard(&self) -> usize {
        self.heard.lock().expect("sound").len()
    }

    fn plain(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("set");
        stream
    }

    fn tls(&self) -> Tls {
        let mut stream = self.plain();
        stream.write_all(&SSL_REQUEST).expect("written");
        let mut welcome = [0];
        stream.read_exact(&mut welcome).expect("welcome");
        assert_eq!(&welcome, b"S");
        self.dress(stream, &[])
    }

    fn dress(&self, stream: TcpStream, alpn: &[&[u8]]) -> Tls {
        let config = client_config(&self.site.identity(CLIENT), alpn);
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        StreamOwned::new(ClientConnection::new(config, name).expect("a client"), stream)
    }

    /// A session that is ready.
    fn session(&self) -> Tls {
        let mut stream = self.tls();
        stream.write_all(&log_in(ROLE, DATABASE)).expect("written");
        let mut ready = [0; READY.len()];
        stream.read_exact(&mut ready).expect("a greeting");
        assert_eq!(ready, READY_BLANK, "the cancel key must not come through");
        stream
    }
}

fn client_config(identity: &Identity, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(identity.ca_certificate.as_bytes()).expect("a CA");
    roots.add(ca).expect("a CA");
    let own = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("one");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own], key)
        .expect("an identity");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

fn log_in(user: &str, database: &str) -> Vec<u8> {
    let body = format!("user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(body.len() + 8).expect("short");
    [&length.to_be_bytes()[..], &[0, 3, 0, 0], body.as_bytes()].concat()
}

/// The code of the error that the gate ends with.
fn code(stream: &mut impl Read) -> String {
    let mut message = Vec::new();
    let _closed = stream.read_to_end(&mut message);
    assert_eq!(message.first(), Some(&b'E'), "{message:?}");
    let mut fields = message[5..].split(|byte| *byte == 0);
    let code = fields.find_map(|field| field.strip_prefix(b"C"));
    String::from_utf8_lossy(code.expect("a code")).into_owned()
}

#[test]
fn a_session_carries_bytes_and_no_cancel_key() {
    let bench = Bench::new();
    let mut stream = bench.session();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_be_bytes()[3] ^ 0x5a).collect();
    for piece in sent.chunks(50_000) {
        stream.write_all(piece).expect("written");
        let mut back = vec![0; piece.len()];
        stream.read_exact(&mut back).expect("back");
        assert_eq!(back, piece);
    }
    let status = bench.gate.status();
    assert_eq!((status.open_for, status.sessions, status.places), (Some(1), 1, 90));
    assert_eq!(bench.heard.lock().expect("sound")[0], log_in(ROLE, DATABASE));
    drop(stream);
    until("the session ends", || bench.gate.status().sessions == 0);
}

#[test]
fn direct_tls_needs_its_protocol() {
    let bench = Bench::new();
    let mut right = bench.dress(bench.plain(), &[b"postgresql"]);
    right.write_all(&log_in(ROLE, DATABASE)).expect("written");
    let mut ready = [0; READY.len()];
    right.read_exact(&mut ready).expect("a greeting");
    let mut without = bench.dress(bench.plain(), &[]);
    without.write_all(&log_in(ROLE, DATABASE)).expect("written");
    assert_eq!(code(&mut without), "08P01");
    let mut other = bench.dress(bench.plain(), &[b"http/1.1"]);
    assert!(other.write_all(&log_in(ROLE, DATABASE)).and_then(|()| other.flush()).is_err());
}

#[test]
fn gssapi_is_declined_once_and_tls_may_follow() {
    let bench = Bench::new();
    let mut stream = bench.plain();
    stream.write_all(&GSS_REQUEST).expect("written");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"N");
    stream.write_all(&SSL_REQUEST).expect("written");
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"S");
    let mut twice = bench.plain();
    twice.write_all(&[GSS_REQUEST, GSS_REQUEST].concat()).expect("written");
    twice.read_exact(&mut answer).expect("an answer");
    assert_eq!(code(&mut twice), "08P01");
}

#[test]
fn nothing_of_a_stranger_reaches_postgresql() {
    let bench = Bench::new();
    let mut plain = bench.plain();
    plain.write_all(&log_in(ROLE, DATABASE)).expect("written");
    assert_eq!(code(&mut plain), "28000");
    let mut early = bench.plain();
    early.write_all(&[&SSL_REQUEST[..], &log_in(ROLE, DATABASE)].concat()).expect("written");
    let mut said = Vec::new();
    let _closed = early.read_to_end(&mut said);
    assert_eq!(said.first(), Some(&b'S'), "plain text behind a request for TLS is no log-in");
    let mut strange = bench.plain();
    strange.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    assert_eq!(code(&mut strange), "08P01");
    let mut version = bench.plain();
    version.write_all(&[0, 0, 0, 9, 0, 2, 0, 0, 0]).expect("written");
    assert_eq!(code(&mut version), "0A000");
    for (user, database, expected) in
        [("postgres", DATABASE, "28000"), (ROLE, "postgres", "42501"), ("", DATABASE, "28000")]
    {
        let mut stream = bench.tls();
        stream.write_all(&log_in(user, database)).expect("written");
        assert_eq!(code(&mut stream), expected, "{user} {database}");
    }
    let mut again = bench.tls();
    again.write_all(&SSL_REQUEST).expect("written");
    assert_eq!(code(&mut again), "08P01");
    assert_eq!(bench.heard(), 0);
}

/// They come from the address that they go to. A stranger is turned away without a word after forty.
#[test]
fn a_nodes_own_programs_may_come_more_often_than_a_stranger() {
    let bench = Bench::new();
    for attempt in 0..80 {
        let mut own = bench.plain();
        own.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
        assert_eq!(code(&mut own), "08P01", "{attempt}");
    }
}

#[test]
fn cancels_are_swallowed_wherever_they_come() {
    let bench = Bench::new();
    let _session = bench.session();
    let mut plain = bench.plain();
    plain.write_all(&CANCEL).expect("written");
    let mut nothing = Vec::new();
    let _closed = plain.read_to_end(&mut nothing);
    let mut within = bench.tls();
    within.write_all(&CANCEL).expect("written");
    let _closed = within.read_to_end(&mut nothing);
    assert_eq!(nothing, b"");
    until("both are counted", || bench.gate.status().counts.swallowed_cancels == 2);
    assert_eq!((bench.heard(), bench.gate.status().sessions), (1, 1));
}

#[test]
fn a_closed_gate_answers_what_drivers_retry() {
    let bench = Bench::new();
    bench.gate.close();
    let mut stream = bench.tls();
    stream.write_all(&log_in(ROLE, DATABASE)).expect("written");
    assert_eq!(code(&mut stream), "57P03");
    assert_eq!((bench.heard(), bench.gate.status().counts.refused_closed), (0, 1));
}

#[test]
fn closing_waits_for_no_client_that_does_not_read() {
    const STUCK: usize = 3;
    let bench = Bench::new();
    let mut stuck: Vec<Tls> = (0..STUCK).map(|_| bench.session()).collect();
    // The echo of what nobody reads fills every buffer on the way, in both directions.
    for stream in &mut stuck {
        stream.sock.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
        while stream.write_all(&[1; 16384]).is_ok() {}
    }
    let begin = Instant::now();
    assert_eq!(bench.gate.close(), STUCK);
    let took = begin.elapsed();
    eprintln!("{STUCK} stuck sessions were cut in {took:?}");
    for stream in &mut stuck {
        let mut rest = vec![0; 1 << 20];
        let end = loop {
            match stream.sock.read(&mut rest) {
                Ok(1..) => {}
                end => break end,
            }
        };
        assert!(end.is_err(), "a reset, not an orderly end");
    }
    until("all threads are gone", || bench.gate.status().sessions == 0);
}

#[test]
fn places_are_limited_and_given_back() {
    let bench = Bench::with(|settings| settings.max_connections = 12);
    let first = bench.session();
    let _second = bench.session();
    let mut third = bench.tls();
    third.write_all(&log_in(ROLE, DATABASE)).expect("written");
    assert_eq!(code(&mut third), "53300");
    drop(first);
    until("a place is free", || bench.gate.status().sessions == 1);
    bench.session();
}

#[test]
fn slow_clients_are_let_go() {
    // The handshake below is a good one, and has to be through in this time on a busy machine too.
    let greeting = Duration::from_secs(2);
    let bench = Bench::with(|settings| {
        settings.patience = Patience { greeting, ..Patience::default() };
    });
    let mut silent = bench.plain();
    let mut slow = bench.plain();
    slow.write_all(&SSL_REQUEST[..3]).expect("written");
    let mut within = bench.tls();
    within.flush().expect("a handshake");
    let mut rest = Vec::new();
    for stream in [&mut silent, &mut slow, &mut within.sock] {
        let _closed = stream.read_to_end(&mut rest);
    }
    until("all are counted", || bench.gate.status().counts.refused_greetings == 3);
}

#[test]
fn without_postgresql_the_client_is_told_to_try_again() {
    let bench = Bench::new();
    fs::remove_file(bench.folder.path().join("socket")).expect("removed");
    let mut stream = bench.tls();
    stream.write_all(&log_in(ROLE, DATABASE)).expect("written");
    assert_eq!(code(&mut stream), "57P03");
    assert_eq!(bench.gate.status().counts.refused_no_backend, 1);
}

#[test]
fn a_dropped_gate_listens_no_more() {
    let bench = Bench::new();
    let mut session = bench.session();
    let address = bench.address;
    drop(bench.gate);
    let mut rest = Vec::new();
    assert!(session.read_to_end(&mut rest).is_err());
    assert!(TcpStream::connect(address).is_err());
}
