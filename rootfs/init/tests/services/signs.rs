//! Signs of readiness, and who may give them.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use supervise::State;

use crate::roles;
use crate::site::in_own_process;

#[test]
fn a_service_is_ready_when_it_says_so_and_a_stranger_cannot() {
    in_own_process(
        "signs::a_service_is_ready_when_it_says_so_and_a_stranger_cannot",
        |mut site| {
            let pipe = site.path("go");
            assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
            let role = format!("notify-when-asked {}", pipe.display());
            site.begin(&roles::service("speaker", &role, "ready = { kind = \"notify\" }"));
            site.until_state("speaker", State::Running);
            // We are root, and yet no process of the service.
            let socket = site.path("notify").join("speaker");
            let stranger = UnixDatagram::unbound().expect("a socket");
            stranger.set_nonblocking(true).expect("set");
            for turn in 0..2000 {
                let junk = if turn % 2 == 0 { &b"READY=1"[..] } else { &[0xff; 3000] };
                // A full queue is what a flood comes to.
                let _refused = stranger.send_to(junk, &socket);
                if turn % 20 == 0 {
                    site.node.wait(Some(std::time::Duration::ZERO));
                }
            }
            assert_eq!(site.state("speaker"), State::Running);
            // Opening it waits until the service reads, and closing it says "go".
            drop(fs::OpenOptions::new().write(true).open(&pipe).expect("the service reads"));
            site.until_state("speaker", State::Ready);
            assert_eq!(site.services().status_text(0), Some("all \\x1b[31mwell"));
            site.end();
        },
    );
}

#[test]
fn a_port_a_file_and_a_command_are_signs() {
    in_own_process("signs::a_port_a_file_and_a_command_are_signs", |mut site| {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("known").port();
        drop(free);
        let ready = format!("ready = {{ kind = \"tcp\", port = {port} }}");
        let listener = roles::service("listener", &format!("listen {port}"), &ready);
        let file = site.path("sign");
        let by_file = format!(
            "[[services]]\nname = \"filer\"\ncommand = [\"/bin/sh\", \"-c\", \
             \"sleep 0.2; touch {0}; exec sleep 1000\"]\nready = {{ kind = \"file\", path = {0:?} }}\n",
            file.display().to_string().as_str().trim_matches('"')
        )
        .replace("touch \"", "touch ");
        let attempts = site.path("attempts");
        let by_command = format!(
            "[[services]]\nname = \"asked\"\ncommand = [\"/bin/sleep\", \"1000\"]\n\
             ready = {{ kind = \"command\", interval = \"100ms\", command = [\"/bin/sh\", \"-c\", \
             '''echo x >> {0}; test $(wc -l < {0}) -ge 3'''] }}\n",
            attempts.display()
        );
        site.begin(&format!("{listener}{by_file}{by_command}"));
        for name in ["listener", "filer", "asked"] {
            site.until_state(name, State::Ready);
        }
        let tries = fs::read_to_string(&attempts).expect("tried").lines().count();
        assert_eq!(tries, 3, "the third attempt was good, and the last");
        site.end();
    });
}

#[test]
fn a_readiness_command_that_hangs_dies_with_its_service() {
    in_own_process("signs::a_readiness_command_that_hangs_dies_with_its_service", |mut site| {
        let toml = "[[services]]\nname = \"slow\"\ncommand = [\"/bin/sleep\", \"1000\"]\n\
                    ready_timeout = \"3s\"\nrestart = { policy = \"never\" }\n\
                    ready = { kind = \"command\", command = [\"/bin/sh\", \"-c\", \
                    \"echo asked; trap '' TERM; while :; do sleep 1000; done\"] }\n";
        site.begin(toml);
        site.until_said("asked");
        site.until_state("slow", State::Failed);
        assert!(site.said().contains("not ready in time"), "{}", site.said());
        site.end();
    });
}
