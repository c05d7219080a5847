//! The disk over its socket, as a client of the protocol sees it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use vdisk::protocol;
use vdisk::server::Server;
use vdisk::store::{Cut, Store};

const LIMIT: Duration = Duration::from_secs(20);
const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const WRITE_ZEROES: u16 = 6;
const DURABLE: u16 = 1;

struct Client(UnixStream);

impl Client {
    fn connect(server: &Server) -> (Self, u64) {
        let mut stream = UnixStream::connect(server.socket()).expect("connected");
        stream.set_read_timeout(Some(LIMIT)).expect("set");
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        // No zeroes; then the option to go, with an empty name and no wishes.
        stream.write_all(&3_u32.to_be_bytes()).expect("written");
        stream.write_all(b"IHAVEOPT\0\0\0\x07\0\0\0\x06\0\0\0\0\0\0").expect("written");
        let mut size = 0;
        loop {
            let mut reply = [0; 20];
            stream.read_exact(&mut reply).expect("a reply");
            let kind = u32::from_be_bytes(reply[12..16].try_into().expect("four"));
            let length = u32::from_be_bytes(reply[16..].try_into().expect("four"));
            let mut data = vec![0; usize::try_from(length).expect("small")];
            stream.read_exact(&mut data).expect("its data");
            match (kind, data.first_chunk::<2>()) {
                (1, _) => return (Self(stream), size),
                (3, Some([0, 0])) => size = u64::from_be_bytes(data[2..10].try_into().expect("8")),
                _ => {}
            }
        }
    }

    fn ask(&mut self, flags: u16, command: u16, offset: u64, length: u32, data: &[u8]) {
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(77_u64.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        self.0.write_all(&bytes).expect("written");
    }

    /// The error's number, and the data of a good read.
    fn answer(&mut self, length: usize) -> (u32, Vec<u8>) {
        let mut head = [0; 16];
        self.0.read_exact(&mut head).expect("an answer");
        assert_eq!(head[..4], 0x6744_6698_u32.to_be_bytes());
        let error = u32::from_be_bytes(head[4..8].try_into().expect("four"));
        let mut data = vec![0; if error == 0 { length } else { 0 }];
        self.0.read_exact(&mut data).expect("data");
        (error, data)
    }
}

fn server() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    std::fs::write(&image, vec![5; 1 << 16]).expect("written");
    let store = Store::over(&image, 1 << 20).expect("a disk");
    (Server::start(&folder.path().join("disk.nbd"), store).expect("started"), folder)
}

#[test]
fn a_client_reads_writes_and_flushes_and_a_cut_loses_the_rest() {
    let (server, _folder) = server();
    let (mut client, size) = Client::connect(&server);
    assert_eq!(size, 1 << 20);
    client.ask(0, READ, 512, 512, &[]);
    assert_eq!(client.answer(512), (0, vec![5; 512]));
    client.ask(0, WRITE, 0, 512, &[1; 512]);
    assert_eq!(client.answer(0).0, 0);
    client.ask(0, FLUSH, 0, 0, &[]);
    assert_eq!(client.answer(0).0, 0);
    client.ask(0, WRITE_ZEROES, 0, 1024, &[]);
    assert_eq!(client.answer(0).0, 0);
    client.ask(DURABLE, WRITE, 4096, 512, &[9; 512]);
    assert_eq!(client.answer(0).0, 0, "a durable write takes all before it along");
    client.ask(0, WRITE, 8192, 512, &[8; 512]);
    assert_eq!(client.answer(0).0, 0);
    assert_eq!(server.power_cut(Cut::All), Ok(1));
    let mut rest = Vec::new();
    assert!(client.0.read_to_end(&mut rest).is_ok_and(|count| count == 0), "disconnected");

    let (mut client, _) = Client::connect(&server);
    for (offset, mark) in [(0, 0), (512, 0), (4096, 9), (8192, 5)] {
        client.ask(0, READ, offset, 512, &[]);
        assert_eq!(client.answer(512), (0, vec![mark; 512]), "at {offset}");
    }
}

#[test]
fn a_stalled_disk_answers_when_it_goes_on_and_never_after_a_cut() {
    let (server, _folder) = server();
    let (mut client, _) = Client::connect(&server);
    server.stall(true);
    client.ask(0, READ, 0, 512, &[]);
    let (answered, answer) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let data = client.answer(512);
        answered.send(data).expect("heard");
        client
    });
    assert!(answer.recv_timeout(Duration::from_millis(100)).is_err(), "it is stalled");
    server.stall(false);
    assert_eq!(answer.recv_timeout(LIMIT).expect("answered").0, 0);
    let mut client = waiter.join().expect("ended");
    server.stall(true);
    client.ask(0, WRITE, 0, 512, &[1; 512]);
    server.disconnect();
    assert_eq!(client.0.read(&mut [0; 1]).expect("the end"), 0);
}

#[test]
fn faults_have_their_numbers() {
    let (server, _folder) = server();
    let (mut client, _) = Client::connect(&server);
    server.with_store(|store| store.break_range(0..512));
    client.ask(0, READ, 0, 512, &[]);
    assert_eq!(client.answer(512).0, 5);
    server.with_store(|store| store.set_full(true));
    client.ask(0, WRITE, 512, 512, &[1; 512]);
    assert_eq!(client.answer(0).0, 28);
    client.ask(0, READ, 1 << 40, 512, &[]);
    assert_eq!(client.answer(512).0, 22);
}

/// Both directions of a client's talk, as bytes in memory.
struct Talk {
    input: std::io::Cursor<Vec<u8>>,
}

impl Read for Talk {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_talk_panics(
        start in prop_oneof![Just(&b""[..]), Just(&b"\0\0\0\x03IHAVEOPT"[..]), Just(&b"\x25\x60\x95\x13"[..])],
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let input: Vec<u8> = start.iter().chain(&bytes).copied().collect();
        let mut talk = Talk { input: std::io::Cursor::new(input.clone()) };
        let _shaken = protocol::shake_hands(&mut talk, 512);
        let _request = protocol::read_request(&mut &input[..]);
    }
}
