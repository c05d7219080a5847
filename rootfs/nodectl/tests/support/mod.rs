//! A site in miniature: its CA and certificates, a fake PID 1, and a well node's status.
#![allow(dead_code, reason = "each test program uses a part of it")]

mod siblings;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use control::{
    Answer, Backup, BackupStatus, ChannelStatus, Clock, DatabaseStatus, Exit, Fact, FactText,
    Image, Inbox, K3sStatus, LinkStatus, LogLine, PeerStatus, PgRequest, Readiness, Reason,
    Request, ServiceState, ServiceStatus, Status, Storage, Top, Usage, Watchdog, WitnessStatus,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData, SanType, date_time_ymd,
};

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use siblings::Siblings;

/// A CA and what it certifies.
pub(crate) struct Site {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca_pem: String,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) fingerprint: String,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = date_time_ymd(1970, 1, 1);
        let ca = params.self_signed(&key).expect("a CA");
        let ca_pem = ca.pem();
        Self { issuer: Issuer::new(params, key), ca_pem }
    }

    fn issue(&self, name: &str, end: i32, server: bool) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
            params.subject_alt_names = addresses.map(SanType::IpAddress).to_vec();
        }
        assert!(!key.subject_public_key_info().is_empty());
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate.der());
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            fingerprint: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    pub(crate) fn client(&self, name: &str) -> Identity {
        self.issue(name, 2090, false)
    }

    pub(crate) fn expired_client(&self, name: &str) -> Identity {
        self.issue(name, 2001, false)
    }

    pub(crate) fn node(&self) -> Identity {
        self.issue("node1", 2090, true)
    }

    /// A folder as `builder cluster new` makes it.
    pub(crate) fn folder(&self, below: &Path, name: &str, operator: &Identity) -> PathBuf {
        let folder = below.join(name);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("ca.pem"), &self.ca_pem).expect("written");
        fs::write(folder.join("operator.pem"), &operator.certificate).expect("written");
        fs::write(folder.join("operator.key"), &operator.key).expect("written");
        folder
    }
}

/// PID 1 as far as its socket goes.
pub(crate) struct FakeAgent {
    pub(crate) socket: PathBuf,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl FakeAgent {
    pub(crate) fn start(below: &Path) -> Self {
        Self::start_with(below, status)
    }

    /// One whose node is as `status` says.
    pub(crate) fn start_with(below: &Path, status: fn() -> Status) -> Self {
        let socket = below.join("control.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let seen = seen.clone();
                thread::spawn(move || answer(stream, &seen, status));
            }
        });
        Self { socket, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("unpoisoned").clone()
    }
}

fn answer(mut stream: UnixStream, seen: &Mutex<Vec<Request>>, status: fn() -> Status) {
    let mut inbox = Inbox::new();
    let mut piece = [0; 100];
    let request = loop {
        let Ok(count @ 1..) = stream.read(&mut piece) else { return };
        match inbox.push(&piece[..count]) {
            Ok(None) => {}
            Ok(Some(request)) => break request,
            Err(error) => {
                let _ = stream.write_all(&Answer::Refused(error.refusal()).to_line());
                return;
            }
        }
    };
    let before = {
        let mut seen = seen.lock().expect("unpoisoned");
        seen.push(request.clone());
        seen.iter().filter(|earlier| **earlier == request).count() - 1
    };
    for answer in answers(&request, u64::try_from(before).expect("few"), status) {
        if stream.write_all(&answer.to_line()).is_err() {
            return;
        }
    }
    if matches!(&request, Request::Logs(logs) if logs.follow) {
        // More lines would come; the client has to leave by itself.
        let _ = stream.read(&mut piece);
    }
}

/// What the request is answered with, having been asked so many times `before`.
fn answers(request: &Request, before: u64, status: fn() -> Status) -> Vec<Answer> {
    match request {
        Request::Status => vec![Answer::Status(Box::new(status()))],
        Request::Logs(logs) => {
            let mut lines = vec![Answer::Missed { lines: 3 }];
            lines.extend(log_lines().into_iter().map(Answer::Log));
            if !logs.follow {
                lines.push(Answer::End);
            }
            lines
        }
        Request::Restart { service } | Request::Start { service } | Request::Stop { service } => {
            match service.as_str() {
                "haproxy" => vec![Answer::Accepted],
                other => vec![Answer::refused(
                    Reason::UnknownService,
                    format!("this node has no service `{other}`: `nodectl status` lists them"),
                )],
            }
        }
        Request::Reboot | Request::PowerOff => vec![Answer::Accepted],
        Request::Top => vec![Answer::Top(top(before))],
        Request::Get { fact: Fact::Disks } => {
            vec![Answer::refused(Reason::Failed, "/sys/block: permission denied")]
        }
        Request::Get { fact } => {
            vec![Answer::Fact(FactText::new(*fact, format!("{fact} line 1\nline 2\n").as_bytes()))]
        }
        // What PID 1 and the database's programs never are asked by mistake.
        Request::Pg(_) | Request::Vip(_) => {
            vec![Answer::refused(Reason::Malformed, "this is for another socket")]
        }
        Request::Metrics => vec![Answer::Metrics { text: control::metrics(&status(), &top(0)) }],
    }
}

const NOON: u64 = 1_795_176_000_000;

fn log_lines() -> Vec<LogLine> {
    let service = || Some("haproxy".parse().expect("a name"));
    vec![
        LogLine::new(40, NOON, None, b"ready node=node1"),
        LogLine::new(41, NOON + 7, service(), b"server up \x1b[31mred\x1b[0m"),
        LogLine::new(42, NOON + 1234, service(), b"login with password=hunter2"),
    ]
}

fn service(name: &str, state: ServiceState, since_ms: u64) -> ServiceStatus {
    let process = matches!(state, ServiceState::Ready | ServiceState::Running);
    ServiceStatus {
        name: name.to_owned(),
        state,
        desired: true,
        pid: process.then_some(200),
        since_ms,
        until_ms: None,
        restarts: 0,
        last_exit: None,
        waits_for: Vec::new(),
        says: None,
    }
}

/// A node in trouble: everything that a status can complain of.
pub(crate) fn troubled() -> Status {
    let why = "STATE is unusable: it was in use, but nothing tells what it is";
    let mut logd = service("logd", ServiceState::Ready, 2_000);
    logd.says = Some("can't write logs: No space left on device".to_owned());
    Status {
        image: Image { debug: true, ..status().image },
        slots: None,
        storage: Some(Storage { usable: false, because: Some(why[19..].to_owned()) }),
        clock: Clock {
            unix_ms: NOON,
            synchronised: false,
            source: Some("the time of the image".to_owned()),
            detail: Some("the clock runs free; 10.0.10.1: no answer".to_owned()),
        },
        readiness: Readiness {
            ready: true,
            phase: "running".to_owned(),
            because: vec![why.to_owned(), "link lan has no carrier".to_owned()],
        },
        watchdog: Watchdog {
            device: Some("softdog".to_owned()),
            fed: false,
            because: Some("pgkeeper did not say it is alive".to_owned()),
        },
        services: vec![logd],
        vip: Vec::new(),
        database: None,
        k3s: None,
        ..status()
    }
}

/// A node with a bit of everything.
pub(crate) fn status() -> Status {
    Status {
        node: Some("node1".to_owned()),
        cluster: Some("shop-17".to_owned()),
        image: Image {
            name: "edge".to_owned(),
            version: "0.1.0".to_owned(),
            stand_in: true,
            debug: false,
        },
        slot: Some("a".to_owned()),
        slots: Some("slot a (good); b: 3 tries left".to_owned()),
        storage: Some(Storage { usable: true, because: None }),
        boot_id: "6f0c2a1e".to_owned(),
        uptime_ms: 273_600_000,
        clock: Clock {
            unix_ms: NOON,
            synchronised: true,
            source: None,
            detail: Some("synchronised: off by 0.012 ms; 3 of 3 agree".to_owned()),
        },
        readiness: Readiness {
            ready: false,
            phase: "running".to_owned(),
            because: vec!["service k3s is in back-off".to_owned()],
        },
        services: services(),
        links: links(),
        watchdog: Watchdog { device: Some("iTCO_wdt".to_owned()), fed: true, because: None },
        vip: Vec::new(),
        database: None,
        k3s: Some(K3sStatus {
            role: "server".to_owned(),
            version: Some("v1.37.1+k3s1".to_owned()),
            ready: false,
            notes: vec!["API server does not answer".to_owned()],
        }),
        missing: Vec::new(),
    }
}

fn services() -> Vec<ServiceStatus> {
    let mut k3s = service("k3s", ServiceState::BackOff, 273_595_000);
    k3s.until_ms = Some(273_602_500);
    k3s.restarts = 12;
    k3s.last_exit = Some(Exit::Signal(9));
    let mut waiting = service("ingress", ServiceState::Waiting, 4_000);
    waiting.waits_for = vec!["k3s".to_owned()];
    let mut stopped = service("registry", ServiceState::Down, 200_000_000);
    stopped.desired = false;
    stopped.last_exit = Some(Exit::Code(0));
    vec![
        service("clockd", ServiceState::Ready, 2_000),
        service("format", ServiceState::Finished, 2_500),
        service("haproxy", ServiceState::Ready, 3_000),
        service("pgkeeper", ServiceState::Ready, 3_000),
        service("vipd", ServiceState::Ready, 3_000),
        k3s,
        waiting,
        stopped,
    ]
}

fn links() -> Vec<LinkStatus> {
    let link = |name: &str, state: &str, addresses: &[&str]| LinkStatus {
        name: name.to_owned(),
        state: state.to_owned(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        mac: Some("52:54:00:77:00:01".to_owned()),
        notes: Vec::new(),
    };
    vec![link("lan", "up", &["10.0.10.11/24", "fd77::11/64"]), link("cable", "no-carrier", &[])]
}

/// Usage after so many times two seconds, in which one service was busy half of the time.
fn top(steps: u64) -> Top {
    let usage = |service: &str, cpu_us: u64, memory: u64| Usage {
        service: service.to_owned(),
        cpu_us: Some(cpu_us),
        memory_bytes: Some(memory),
        memory_peak_bytes: Some(memory * 2),
        memory_limit_bytes: None,
        pids: Some(4),
        oom_kills: Some(0),
    };
    Top {
        uptime_ms: 273_600_000 + 2000 * steps,
        processors: 4,
        memory_bytes: 4 << 30,
        memory_available_bytes: 3 << 30,
        load_hundredths: 42,
        services: vec![
            usage("clockd", 1_000_000, 3 << 20),
            usage("haproxy", 90_000_000 + 1_000_000 * steps, 30 << 20),
        ],
    }
}
