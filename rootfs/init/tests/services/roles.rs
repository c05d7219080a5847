//! What services of the scenarios do that a shell can't: this test binary plays the part.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use control::{Logs, Request};

const ROLE: &str = "EDGEPAIR_ROLE";

/// A service whose program is this test, in a role.
pub(crate) fn service(name: &str, role: &str, more: &str) -> String {
    let exe = std::env::current_exe().expect("this test");
    let exe = exe.display();
    format!(
        "[[services]]\nname = \"{name}\"\ncommand = [\"{exe}\", \"--exact\", \"roles::play\", \
         \"--nocapture\"]\nenvironment = {{ {ROLE} = {role:?} }}\n{more}\n"
    )
}

/// The same, but it plays its role only when it is told to end, and says when it waits for that.
pub(crate) fn service_at_its_end(name: &str, role: &str) -> String {
    let exe = std::env::current_exe().expect("this test");
    let play = format!("{} --exact roles::play --nocapture", exe.display());
    format!(
        "[[services]]\nname = \"{name}\"\nenvironment = {{ {ROLE} = {role:?} }}\n\
         command = [\"/bin/sh\", \"-c\", \"trap '{play}; exit' TERM; echo waiting for the end; \
         while :; do sleep 0.01; done\"]\n"
    )
}

/// Does nothing unless it was given a role.
#[test]
fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.split(' ');
    match (words.next(), words.next()) {
        (Some("notify"), Some(text)) => {
            tell(&text.replace(',', "\n"));
            wait_for_ever();
        }
        // Opens a pipe for reading: whoever opens the other end says when to go on.
        (Some("notify-when-asked"), Some(pipe)) => {
            let mut asked = String::new();
            let pipe = std::fs::File::open(pipe).expect("the pipe");
            std::io::BufReader::new(pipe).read_to_string(&mut asked).expect("read");
            tell("READY=1\nSTATUS=all \x1b[31mwell");
            wait_for_ever();
        }
        (Some("listen"), Some(port)) => {
            let _listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).expect("free");
            wait_for_ever();
        }
        // Asks a control socket for everything that there is, as logd does at its end.
        (Some("keep-what-was-said"), Some(socket)) => {
            let file = words.next().expect("a file");
            let logs = Logs { service: None, lines: 1000, follow: false, from_seq: Some(1) };
            let mut stream = UnixStream::connect(socket).expect("connected");
            let request = Request::Logs(logs).to_line().expect("short");
            stream.write_all(&request).expect("sent");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("read");
            std::fs::write(file, said).expect("written");
        }
        _ => panic!("no such role: {role}"),
    }
}

fn tell(text: &str) {
    let socket = std::env::var("NOTIFY_SOCKET").expect("given");
    let ours = UnixDatagram::unbound().expect("a socket");
    ours.send_to(text.as_bytes(), Path::new(&socket)).expect("sent");
}

fn wait_for_ever() {
    loop {
        std::thread::park();
    }
}
