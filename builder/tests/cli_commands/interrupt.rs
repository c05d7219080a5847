//! Ctrl-C in the middle of a flash, of copying a disk to keep, and of a build that waits for cargo or
//! for its mirror.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use builder::image::layout::Part;
use builder::image::open::OpenImage;
use rustix::process::{Pid, Signal, kill_process};

use crate::shared::command::command;
use crate::shared::definition::definition_text;
use crate::shared::flashable::{Choice, MIB, SEED, used_disk, write_image};
use crate::shared::noise::noise;
use crate::support::{part_files, put_idle_qemu, text};

/// What Ctrl-C is in a shell's eyes.
const INTERRUPTED: i32 = 130;
const WAIT: Duration = Duration::from_secs(30);
/// So much is written at least, that there is a middle; a machine whose memory takes it all at once
/// is given twice as much, so many times.
const STORED_LEAST_BYTES: u64 = 192 * MIB;
const ATTEMPTS: u32 = 3;

/// An image whose state partition is full, so that writing it takes a while.
fn large_image(folder: &Path, stored_bytes: u64) -> PathBuf {
    let path = folder.join("large.raw");
    write_image(&path, Choice::SHIPPED);
    let file = File::options().read(true).write(true).open(&path).expect("opened");
    let image = OpenImage::open(&path).expect("an image");
    let start = image.partition(Part::State).expect("there").offset_bytes();
    let mut table = image.table.table.clone();
    let bytes = start + stored_bytes + MIB;
    file.set_len(bytes).expect("sized");
    table.relocate(bytes / 512).expect("larger");
    table.grow_last(2048).expect("grown");
    for piece in table.encode().expect("a table") {
        file.write_all_at(&piece.bytes, piece.offset).expect("written");
    }
    let filling = noise(usize::try_from(MIB).expect("small"));
    for mib in 0..stored_bytes / MIB {
        file.write_all_at(&filling, start + mib * MIB).expect("written");
    }
    path
}

fn start(image: &Path, disk: &Path) -> Child {
    let arguments = ["flash", text(image), text(disk), "--yes", "-q"];
    let mut command = command();
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

/// Interrupts it as soon as something is so; says whether that came before its end.
fn interrupt_when(child: &mut Child, what: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !what() && child.try_wait().expect("asked").is_none() {
        assert!(begun.elapsed() < WAIT, "nothing happened");
        thread::sleep(Duration::from_millis(1));
    }
    if child.try_wait().expect("asked").is_none() {
        kill_process(Pid::from_child(child), Signal::INT).expect("sent");
    }
    match child.wait().expect("it ends").code() {
        Some(0) => false,
        code => {
            assert_eq!(code, Some(INTERRUPTED));
            true
        }
    }
}

/// Flashes more and more until a flash can be interrupted in its middle.
fn until_interrupted(flash: impl Fn(u64) -> bool) {
    let interrupted = (0..ATTEMPTS).any(|attempt| flash(STORED_LEAST_BYTES << attempt));
    assert!(interrupted, "each ended too early");
}

#[test]
fn a_new_file_vanishes() {
    until_interrupted(|stored_bytes| {
        let folder = tempfile::tempdir().expect("a folder");
        let image = large_image(folder.path(), stored_bytes);
        let disk = folder.path().join("disk.raw");
        let mut child = start(&image, &disk);
        if !interrupt_when(&mut child, || !part_files(folder.path()).is_empty()) {
            return false;
        }
        assert_eq!(part_files(folder.path()), Vec::<PathBuf>::new());
        assert!(!disk.exists());
        true
    });
}

#[test]
fn a_disk_is_left_without_partitions() {
    until_interrupted(|stored_bytes| {
        let folder = tempfile::tempdir().expect("a folder");
        let image = large_image(folder.path(), stored_bytes);
        let disk = folder.path().join("disk.raw");
        used_disk(&disk, fs::metadata(&image).expect("there").len() + 3 * MIB);
        let mut child = start(&image, &disk);
        // The first partition is written after the table was wiped.
        let file = File::open(&disk).expect("opened");
        let begun = || {
            let mut byte = [0xa5];
            file.read_exact_at(&mut byte, MIB).expect("read");
            byte != [0xa5]
        };
        if !interrupt_when(&mut child, begun) {
            return false;
        }
        let left = OpenImage::open(&disk).expect_err("no table").to_string();
        assert!(left.contains("primary missing, backup missing"), "{left}");
        true
    });
}

#[test]
fn a_disk_to_keep_is_there_when_it_is_whole_and_only_for_its_owner() {
    until_interrupted(|stored_bytes| {
        let folder = tempfile::tempdir().expect("a folder");
        let image = large_image(folder.path(), stored_bytes);
        let disk = folder.path().join("kept.raw");
        let programs = put_idle_qemu(folder.path());
        let path = format!("{}:{}", text(&programs), std::env::var("PATH").expect("set"));
        let run = || {
            let mut command = command();
            command.args(["run", text(&image), "--keep", text(&disk)]);
            command.args(["--acceleration", "tcg", "-q"]);
            command.env("PATH", &path).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("it starts")
        };
        let mut child = run();
        if !interrupt_when(&mut child, || !part_files(folder.path()).is_empty()) {
            return false;
        }
        assert_eq!(part_files(folder.path()), Vec::<PathBuf>::new());
        assert!(!disk.exists(), "half a disk would be booted next time");

        assert!(run().wait().expect("it ends").success());
        let state = |path: &Path| {
            let image = OpenImage::open(path).expect("an image");
            let mut end = vec![0; usize::try_from(MIB).expect("small")];
            let start = image.partition(Part::State).expect("there").offset_bytes();
            image.file.read_exact_at(&mut end, start + stored_bytes - MIB).expect("read");
            end
        };
        assert!(state(&disk) == state(&image), "it is whole");
        assert_eq!(fs::metadata(&disk).expect("there").permissions().mode() & 0o777, 0o600);
        true
    });
}

/// A project whose node binaries come from a script in the place of cargo.
fn put_project(root: &Path) {
    let put = |inside: &str, content: &str| {
        let path = root.join(inside);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
    };
    put("images/tiny.toml", &definition_text(&[], [8, 2, 5]));
    put("overlays/README.md", "none");
    put("node1.toml", SEED);
    let target = "target/node/x86_64-unknown-linux-gnu/node";
    put("cargo", &format!("#!/bin/sh\nmkdir -p {target} && echo init > {target}/init\n"));
}

#[test]
fn a_build_that_waits_for_its_mirror_ends_and_leaves_no_image() {
    let folder = tempfile::tempdir().expect("a folder");
    put_project(folder.path());
    let mirror = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", mirror.local_addr().expect("bound"));
    let inside = |name: &str| folder.path().join(name);
    let mut command = command();
    command.env("CARGO", inside("cargo")).env("no_proxy", "*").current_dir(folder.path());
    command.arg("--cache").arg(inside("cache")).arg("--project").arg(folder.path());
    command.args(["build", "--image", "tiny", "--seed", "node1.toml", "--mirror", &address]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    mirror.set_nonblocking(true).expect("set");
    // The mirror takes the call and never answers.
    let call = RefCell::new(None);
    let called = || {
        if let Ok((stream, _)) = mirror.accept() {
            call.replace(Some(stream));
        }
        call.borrow().is_some()
    };
    assert!(interrupt_when(&mut child, called), "it ended too early");
    assert!(!inside("out").exists());
    assert_eq!(fs::read_dir(inside("cache/bases")).map_or(0, Iterator::count), 0);
}

#[test]
fn a_build_that_waits_for_cargo_says_nothing_of_how_that_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    put_project(folder.path());
    let inside = |name: &str| folder.path().join(name);
    fs::write(inside("cargo"), "#!/bin/sh\ntouch begun\nexec sleep 1000\n").expect("written");
    let mut command = command();
    command.env("CARGO", inside("cargo")).current_dir(folder.path());
    command.arg("--cache").arg(inside("cache")).arg("--project").arg(folder.path());
    command.args(["build", "--image", "tiny", "--seed", "node1.toml", "--quiet"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    assert!(interrupt_when(&mut child, || inside("begun").exists()), "it ended too early");
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(!said.contains("error:"), "{said}");
}
