//! First packets, right and wrong, and the drawing against the table.

use proptest::prelude::*;

use super::*;

const DOORS: [Door; 3] = [Door::Fresh, Door::NoGss, Door::Tls];
const KINDS: [Kind; 6] = [
    Kind::DirectTls,
    Kind::SslRequest,
    Kind::GssRequest,
    Kind::Cancel,
    Kind::Startup,
    Kind::Malformed,
];

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).expect("short");
    [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

fn log_in(body: &[u8]) -> Result<Startup, StartupError> {
    match first_packet(&packet(3 << 16, body)) {
        Ok(Some((Packet::Startup(startup), _))) => Ok(startup),
        Err(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_drawing_is_the_table() {
    let drawing = include_str!("../startup.rs");
    let mut drawn = Vec::new();
    for line in drawing.lines().take_while(|line| line.starts_with("//!")) {
        let Some((from, rest)) = line.trim_start_matches("//!").split_once("--") else { continue };
        let Some((kinds, to)) = rest.split_once("-->") else { continue };
        for from in from.trim().split('|') {
            for kind in kinds.split('|') {
                drawn.push(format!("{from} {kind} {}", to.trim()));
            }
        }
    }
    let mut table: Vec<String> = DOORS
        .iter()
        .flat_map(|door| KINDS.map(|kind| format!("{door:?} {kind:?} {:?}", next(*door, kind))))
        .collect();
    drawn.sort();
    table.sort();
    assert_eq!(drawn, table);
}

#[test]
fn only_tls_leads_to_a_log_in_and_nothing_leads_a_cancel_anywhere() {
    for door in DOORS {
        assert_eq!(next(door, Kind::Cancel), Next::Swallowed);
        assert_eq!(next(door, Kind::Startup) == Next::LogIn, door == Door::Tls);
    }
}

#[test]
fn each_packet_is_known_and_taken_off_exactly() {
    for (code, expected) in [(SSL_REQUEST, Packet::SslRequest), (GSS_REQUEST, Packet::GssRequest)] {
        let bytes = [packet(code, b""), b"what follows".to_vec()].concat();
        assert_eq!(first_packet(&bytes), Ok(Some((expected, 8))));
    }
    let cancel = packet(CANCEL, &[0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(first_packet(&cancel), Ok(Some((Packet::Cancel, 16))));
    assert_eq!(first_packet(&[0x16, 3, 1]), Ok(Some((Packet::DirectTls, 0))));
    let long = packet(SSL_REQUEST, b"x");
    assert_eq!(first_packet(&long), Err(StartupError::Length { length: 9 }));
}

#[test]
fn a_log_in_says_who_and_where() {
    let startup = log_in(b"user\0kine\0database\0kubernetes\0application_name\0k3s\0\0").unwrap();
    assert_eq!((startup.user.as_str(), startup.database.as_str()), ("kine", "kubernetes"));
    assert!(!startup.replication);
    assert_eq!(log_in(b"user\0kine\0\0").unwrap().database, "kine");
    assert!(log_in(b"user\0kine\0replication\0database\0\0").unwrap().replication);
    assert!(log_in(b"user\0kine\0replication\0on\0\0").unwrap().replication);
    assert!(!log_in(b"user\0kine\0replication\0off\0\0").unwrap().replication);
}

#[test]
fn a_broken_log_in_is_refused() {
    assert_eq!(log_in(b"database\0x\0\0"), Err(StartupError::NoUser));
    assert_eq!(log_in(b"user\0\0\0"), Err(StartupError::NoUser));
    assert_eq!(log_in(b"user\0kine\0"), Err(StartupError::Layout));
    assert_eq!(log_in(b"user\0kine\0\0more"), Err(StartupError::Layout));
    assert_eq!(log_in(b"user\0\xff\0\0"), Err(StartupError::Layout));
    // PostgreSQL takes the last of two, we would have checked one of them.
    let twice = log_in(b"user\0kine\0user\0postgres\0\0");
    assert_eq!(twice, Err(StartupError::Twice { name: "user".to_owned() }));
}

#[test]
fn lengths_and_versions_have_limits() {
    for length in [0_u32, 7, 10_001, u32::MAX >> 8] {
        let refused = first_packet(&length.to_be_bytes());
        assert_eq!(refused, Err(StartupError::Length { length }));
    }
    let old = first_packet(&packet(2 << 16, b""));
    assert_eq!(old, Err(StartupError::Version { major: 2, minor: 0 }));
}

proptest! {
    #[test]
    fn no_input_panics_or_is_taken_beyond_its_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(Some((_, used))) = first_packet(&bytes) {
            prop_assert!(used <= bytes.len());
        }
    }

    #[test]
    fn no_body_panics(
        code in prop_oneof![Just(3 << 16), Just(CANCEL), Just(SSL_REQUEST), any::<u32>()],
        body in "[a-z\\x00\u{e9}]{0,40}",
    ) {
        let _any = first_packet(&packet(code, body.as_bytes()));
    }

    #[test]
    fn a_part_of_a_packet_waits_for_the_rest(user in "[a-z]{1,20}", cut in 0_usize..100) {
        let whole = packet(3 << 16, format!("user\0{user}\0\0").as_bytes());
        let part = &whole[..cut.min(whole.len() - 1)];
        prop_assert_eq!(first_packet(part), Ok(None));
        let (found, used) = first_packet(&whole).unwrap().unwrap();
        prop_assert_eq!(used, whole.len());
        let Packet::Startup(startup) = found else { panic!("{found:?}") };
        prop_assert_eq!(startup.user, user);
        prop_assert_eq!(startup.packet, whole);
    }
}
