//! pgkeeper, its backups and vipd as far as their sockets go, beside a fake PID 1.

use super::{
    Answer, Arc, Backup, BackupStatus, ChannelStatus, DatabaseStatus, Inbox, Mutex, NOON, Path,
    PeerStatus, PgRequest, Read, Reason, Request, UnixListener, UnixStream, WitnessStatus, Write,
    thread,
};

/// What vipd writes, shortened to one router.
const VIPD_JSON: &str = r#"{"version":"0.1.0","uptime_seconds":1.5,"permit":null,"checks":[],
"routers":[{"name":"api","interface":"lan","vrrp_version":3,"vrid":77,"state":"active",
"since_seconds":1.0,"priority":110,"interval_seconds":0.1,"addresses":["10.0.10.10/24"],
"source":"10.0.10.11","permitted":true,"hindrance":null,"reason":"nobody else","other":null}]}"#;

/// Programs whose sockets are beside PID 1's.
pub(crate) struct Siblings {
    ordered: Arc<Mutex<Vec<PgRequest>>>,
}

impl Siblings {
    pub(crate) fn start(below: &Path) -> Self {
        let ordered = Arc::new(Mutex::new(Vec::new()));
        std::fs::create_dir(below.join("pgkeeper")).expect("a folder");
        for socket in ["pgkeeper/control.sock", "pgkeeper/backup.sock"] {
            let ordered = ordered.clone();
            serve(below, socket, move |stream| pg(stream, &ordered));
        }
        serve(below, "vipd.sock", vipd);
        Self { ordered }
    }

    /// What was asked of pgkeeper and the backups, but for questions.
    pub(crate) fn ordered(&self) -> Vec<PgRequest> {
        let ordered = self.ordered.lock().expect("unpoisoned");
        ordered.iter().filter(|request| request.changes()).cloned().collect()
    }
}

fn serve(below: &Path, name: &str, talk: impl Fn(UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(below.join(name)).expect("a socket");
    thread::spawn(move || listener.incoming().flatten().for_each(talk));
}

fn vipd(mut stream: UnixStream) {
    let mut word = [0; 16];
    let count = stream.read(&mut word).unwrap_or(0);
    let answer = match &word[..count] {
        b"json\n" => VIPD_JSON,
        b"metrics\n" => "# TYPE vipd_active gauge\nvipd_active{router=\"api\"} 1\n",
        _ => "",
    };
    let _gone = stream.write_all(answer.as_bytes());
}

fn pg(mut stream: UnixStream, ordered: &Mutex<Vec<PgRequest>>) {
    let mut inbox = Inbox::new();
    let mut piece = [0; 100];
    let request = loop {
        let Ok(count @ 1..) = stream.read(&mut piece) else { return };
        match inbox.push(&piece[..count]) {
            Ok(None) => {}
            Ok(Some(Request::Pg(request))) => break request,
            other => panic!("{other:?}"),
        }
    };
    let mut ordered = ordered.lock().expect("unpoisoned");
    ordered.push(request.clone());
    let handed_over = ordered.contains(&PgRequest::Switchover);
    let answer = match request {
        PgRequest::Status => Answer::Database(Box::new(database(handed_over))),
        PgRequest::Metrics => {
            Answer::Metrics { text: control::database_metrics(&database(handed_over)) }
        }
        PgRequest::Backups => Answer::Backups(Box::new(backups())),
        PgRequest::ForcePrimary { accept_data_loss: false } => {
            Answer::refused(Reason::Unsafe, "acknowledged commits may be lost; say so")
        }
        _ => Answer::Accepted,
    };
    let _gone = stream.write_all(&answer.to_line());
}

fn database(handed_over: bool) -> DatabaseStatus {
    let primary = if handed_over { "node2" } else { "node1" };
    DatabaseStatus {
        node: "node1".to_owned(),
        role: if handed_over { "standby" } else { "primary" }.to_owned(),
        for_ms: 90_000,
        epoch: 7 + u64::from(handed_over),
        primary: Some(primary.to_owned()),
        in_sync: Some(true),
        lag_bytes: Some(0),
        gate_open: !handed_over,
        sessions: Some(12),
        lsn: "1/23456789".to_owned(),
        peer: Some(PeerStatus {
            node: "node2".to_owned(),
            role: Some(if handed_over { "solo" } else { "standby" }.to_owned()),
            contact_ms: Some(40),
            channels: vec![
                ChannelStatus { name: "lan".to_owned(), heard: true },
                ChannelStatus { name: "crossover".to_owned(), heard: false },
            ],
        }),
        arbiter: "witness".to_owned(),
        witness: Some(WitnessStatus {
            address: "10.0.10.13".to_owned(),
            answered_ms: Some(2000),
            because: None,
        }),
        gate_counters: [("swallowed_cancels".to_owned(), 3)].into(),
        notes: vec!["a note with \x1b[31m in it".to_owned()],
        ..DatabaseStatus::default()
    }
}

fn backups() -> BackupStatus {
    BackupStatus {
        target: "/state/backup".to_owned(),
        state: "idle".to_owned(),
        next_unix_ms: Some(NOON + 3_600_000),
        failure: None,
        archive: Some([
            "000000010000000000000001".to_owned(),
            "00000002000000000000000A".to_owned(),
        ]),
        backups: vec![Backup {
            label: "20261120-115500F".to_owned(),
            from_unix: NOON / 1000 - 300,
            until_unix: NOON / 1000 - 290,
            database_bytes: 40 << 20,
            stored_bytes: 5 << 20,
            damaged: false,
        }],
    }
}
