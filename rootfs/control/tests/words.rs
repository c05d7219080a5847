//! The words keep their promises: round trips, bounds, strictness, and no input that panics.

use control::{
    Answer, Fact, Inbox, LogLine, Logs, MAX_ANSWER_BYTES, MAX_LOG_TEXT_BYTES, MAX_REQUEST_BYTES,
    PgRequest, ProtocolError, Reason, Request, Restore, RestoreTo, ServiceName, ServiceState,
    VipRequest,
};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = ServiceName> {
    "[a-z0-9][a-z0-9-]{0,62}".prop_map(|text| text.parse().expect("a name"))
}

fn request() -> impl Strategy<Value = Request> {
    let logs = (proptest::option::of(name()), 0..=100_000_u32, any::<bool>(), any::<Option<u64>>())
        .prop_map(|(service, lines, follow, from_seq)| {
            Request::Logs(Logs { service, lines, follow, from_seq })
        });
    prop_oneof![
        Just(Request::Status),
        logs,
        name().prop_map(|service| Request::Start { service }),
        name().prop_map(|service| Request::Stop { service }),
        name().prop_map(|service| Request::Restart { service }),
        Just(Request::Reboot),
        Just(Request::PowerOff),
        Just(Request::Top),
        (0..Fact::ALL.len()).prop_map(|at| Request::Get { fact: Fact::ALL[at] }),
        Just(Request::Metrics),
        pg().prop_map(Request::Pg),
        prop_oneof![Just(VipRequest::Status), Just(VipRequest::Metrics)].prop_map(Request::Vip),
    ]
}

fn pg() -> impl Strategy<Value = PgRequest> {
    prop_oneof![
        Just(PgRequest::Status),
        Just(PgRequest::Metrics),
        Just(PgRequest::Switchover),
        any::<bool>().prop_map(|on| PgRequest::Maintenance { on }),
        any::<bool>().prop_map(|accept_data_loss| PgRequest::ForcePrimary { accept_data_loss }),
        Just(PgRequest::Reinit),
        Just(PgRequest::BackupNow),
        Just(PgRequest::Backups),
        (restore_to(), any::<bool>()).prop_map(|(to, accept_data_loss)| {
            PgRequest::Restore(Restore { to, accept_data_loss })
        }),
    ]
}

fn restore_to() -> impl Strategy<Value = RestoreTo> {
    prop_oneof![
        Just(RestoreTo::Latest),
        any::<u64>().prop_map(|unix_ms| RestoreTo::Time { unix_ms }),
        "[0-9][0-9FDI_-]{0,39}"
            .prop_map(|text| { RestoreTo::Backup { label: text.parse().expect("a label") } }),
    ]
}

/// Pushes in pieces, as a network would deliver them; gives the first outcome.
fn push_split(bytes: &[u8], cuts: &[usize]) -> Result<Option<Request>, ProtocolError> {
    let mut inbox = Inbox::new();
    let capacity = inbox.capacity();
    let mut outcome = Ok(None);
    let mut rest = bytes;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        let pushed = inbox.push(piece);
        assert_eq!(inbox.capacity(), capacity, "the inbox grew");
        match (&outcome, pushed) {
            (Ok(None), pushed) => outcome = pushed,
            (Ok(Some(_)), Err(error)) => outcome = Err(error),
            (Err(first), Err(again)) => assert_eq!(first, &again, "the error is final"),
            (_, Ok(None)) => {}
            (_, Ok(Some(request))) => panic!("a second request: {request:?}"),
        }
    }
    outcome
}

proptest! {
    /// Every request survives the wire, however it is cut.
    #[test]
    fn requests_round_trip(request in request(), cuts in proptest::collection::vec(0_usize..40, 0..9)) {
        let line = request.to_line().expect("short");
        prop_assert!(line.len() <= MAX_REQUEST_BYTES);
        prop_assert_eq!(push_split(&line, &cuts), Ok(Some(request)));
    }

    /// No bytes panic, none make the inbox grow, and how they are cut changes nothing.
    #[test]
    fn any_bytes_are_harmless(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        cuts in proptest::collection::vec(0_usize..1500, 0..6),
    ) {
        prop_assert_eq!(push_split(&bytes, &cuts), push_split(&bytes, &[]));
    }

    /// The same for bytes that look like requests.
    #[test]
    fn damaged_requests_are_harmless(
        request in request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cuts in proptest::collection::vec(0_usize..40, 0..6),
    ) {
        let mut line = request.to_line().expect("short");
        let at = at.index(line.len());
        line[at] = byte;
        prop_assert_eq!(push_split(&line, &cuts), push_split(&line, &[]));
    }

    #[test]
    fn any_answer_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Answer::parse(&bytes);
    }

    /// What a service writes is carried whole up to the bound, and never breaks a line in two.
    #[test]
    fn log_lines_round_trip(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        repeat in 1_usize..40,
    ) {
        let line = LogLine::new(7, 8, None, &bytes.repeat(repeat));
        prop_assert!(line.text.len() <= MAX_LOG_TEXT_BYTES);
        let wire = Answer::Log(line.clone()).to_line();
        prop_assert!(wire.len() <= MAX_ANSWER_BYTES);
        prop_assert_eq!(wire.iter().position(|byte| *byte == b'\n'), Some(wire.len() - 1));
        prop_assert_eq!(Answer::parse(&wire), Ok(Answer::Log(line)));
    }
}

fn ask(text: &str) -> Result<Option<Request>, ProtocolError> {
    Inbox::new().push(format!("{text}\n").as_bytes())
}

#[test]
fn requests_are_as_documented() {
    let restart = Request::Restart { service: "nginx".parse().expect("a name") };
    let line = br#"{"version":1,"request":{"restart":{"service":"nginx"}}}"#;
    assert_eq!(restart.to_line().expect("short"), [line.as_slice(), b"\n"].concat());
    assert_eq!(ask(r#"{"version":1,"request":"poweroff"}"#), Ok(Some(Request::PowerOff)));
    let order = r#"{"version":1,"request":{"pg":{"maintenance":{"on":true}}}}"#;
    assert_eq!(ask(order), Ok(Some(Request::Pg(PgRequest::Maintenance { on: true }))));
    let brief = ask(r#"{"version":1,"request":{"logs":{"lines":10}}}"#);
    let logs = Logs { service: None, lines: 10, follow: false, from_seq: None };
    assert_eq!(brief, Ok(Some(Request::Logs(logs))));
}

#[test]
fn strangers_words_are_refused() {
    for bad in [
        "",
        "{}",
        "status",
        r#"{"version":1}"#,
        r#"{"version":1,"request":"format-disk"}"#,
        r#"{"version":1,"request":"status","sudo":true}"#,
        r#"{"version":1,"version":1,"request":"status"}"#,
        r#"{"version":1,"request":"status"} {}"#,
        r#"{"version":1,"request":{"restart":{"service":"../x"}}}"#,
        r#"{"version":1,"request":{"restart":{"service":"x","force":true}}}"#,
        r#"{"version":1,"request":{"restart":{"service":"x"},"stop":{"service":"y"}}}"#,
        r#"{"version":1,"request":{"get":{"fact":"/etc/shadow"}}}"#,
        r#"{"version":1,"request":{"logs":{"lines":-1}}}"#,
        r#"{"version":1,"request":{"pg":"promote"}}"#,
        r#"{"version":1,"request":{"pg":{"force-primary":{}}}}"#,
        r#"{"version":1,"request":{"pg":{"maintenance":{"on":1}}}}"#,
        r#"{"version":1,"request":{"pg":{"switchover":{"force":true}}}}"#,
    ] {
        let refused = ask(bad).expect_err(bad);
        assert_eq!(refused.refusal().reason, Reason::Malformed, "{bad}: {refused}");
    }
    let newer = ask(r#"{"version":2,"request":"unheard-of","key":1}"#);
    assert_eq!(newer, Err(ProtocolError::Version { found: 2 }));
    let greedy = ask(r#"{"version":1,"request":{"logs":{"lines":4000000000}}}"#);
    assert_eq!(greedy, Err(ProtocolError::TooManyLines { asked: 4_000_000_000 }));
    let deep = ask(&format!(r#"{{"version":1,"request":{}"#, "[".repeat(900)));
    assert!(matches!(deep, Err(ProtocolError::Malformed { .. })), "{deep:?}");
}

#[test]
fn an_endless_line_is_cut_off_at_the_bound() {
    let mut inbox = Inbox::new();
    assert_eq!(inbox.push(&[b' '; MAX_REQUEST_BYTES]), Ok(None));
    assert_eq!(inbox.push(b" "), Err(ProtocolError::RequestTooLong));
    assert_eq!(inbox.push(b"\n"), Err(ProtocolError::RequestTooLong));
}

#[test]
fn one_connection_asks_one_thing() {
    let line = Request::Status.to_line().expect("short");
    assert_eq!(push_split(&line.repeat(2), &[]), Err(ProtocolError::MoreThanOne));
    assert_eq!(push_split(&line.repeat(2), &[line.len()]), Err(ProtocolError::MoreThanOne));
}

#[test]
fn an_answer_beyond_the_bound_says_so() {
    let answer = Answer::Metrics { text: "x".repeat(MAX_ANSWER_BYTES) };
    let told = Answer::parse(&answer.to_line()).expect("an answer");
    let Answer::Refused(refusal) = told else { panic!("{told:?}") };
    assert_eq!(refusal.reason, Reason::TooMuch);
}

#[test]
fn an_answer_of_a_newer_node_can_be_read() {
    let line = br#"{"missed":{"lines":3,"since":"boot"}}"#;
    assert_eq!(Answer::parse(line), Ok(Answer::Missed { lines: 3 }));
}

#[test]
fn states_are_called_the_same_everywhere() {
    for state in ServiceState::ALL {
        assert_eq!(serde_json::to_value(state).expect("JSON"), state.word());
    }
}
