//! Which acceleration works here, found out by booting.
//!
//! `/dev/kvm` exists on machines where ordinary guests hang under it, so its presence proves
//! nothing. A kernel without a root filesystem is booted under KVM: if it gets as far as missing
//! that root, KVM works. The answer is remembered for this boot of the host and this QEMU.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::command::{Acceleration, Console, Machine, Start};
use super::program::Qemu;
use crate::unfinished::Running;

/// A guest under working KVM is there within one second; slow disks may double that.
const PROBE_LIMIT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(20);
/// What every kernel says that was given no root filesystem.
const PROOF: &str = "VFS: Unable to mount root fs";

/// Finds out which acceleration works, with `kernel` as the guest.
pub fn probe(qemu: &Qemu, kernel: &Path, cache: &Path) -> Acceleration {
    if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Acceleration::Tcg;
    }
    let memory = cache.join(format!("acceleration-{}", host_and_program(qemu)));
    match fs::read_to_string(&memory).as_deref() {
        Ok("kvm") => return Acceleration::Kvm,
        Ok("tcg") => return Acceleration::Tcg,
        _ => {}
    }
    let (acceleration, word) = if boots_under_kvm(qemu, kernel) {
        (Acceleration::Kvm, "kvm")
    } else {
        (Acceleration::Tcg, "tcg")
    };
    // Without this note the next run probes again, which is only slower.
    let _not_remembered = fs::write(&memory, word);
    acceleration
}

/// Changes with every boot of the host and with every other QEMU.
fn host_and_program(qemu: &Qemu) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digest = Sha256::digest(format!("{boot} {} {}", qemu.version, qemu.describe()));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn boots_under_kvm(qemu: &Qemu, kernel: &Path) -> bool {
    let machine = Machine {
        name: "acceleration-probe".to_owned(),
        acceleration: Acceleration::Kvm,
        memory_mib: 256,
        processors: 1,
        start: Start::Direct {
            kernel: kernel.to_owned(),
            initramfs: None,
            command_line: "console=ttyS0 panic=-1".to_owned(),
        },
        disks: Vec::new(),
        sockets: false,
        watchdog: false,
        cards: Vec::new(),
        channels: Vec::new(),
        console: Console::Output,
        control: None,
        clock: None,
        end_on_restart: true,
        incoming: false,
    };
    let mut command = qemu.command(&machine);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Running::spawn(&mut command).is_ok_and(|mut running| said_proof(running.child()))
}

/// Reads the guest's console until the proof, the end or the limit.
fn said_proof(child: &mut Child) -> bool {
    let Some(mut output) = child.stdout.take() else {
        return false;
    };
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut part) {
            said.extend_from_slice(&part[..count]);
            if String::from_utf8_lossy(&said).contains(PROOF) {
                return true;
            }
        }
        false
    });
    let started = Instant::now();
    while !reader.is_finished() && started.elapsed() < PROBE_LIMIT {
        thread::sleep(POLL);
    }
    if !reader.is_finished() {
        // Ending the guest closes its output, which ends the reader.
        let _ended = child.kill();
    }
    reader.join().unwrap_or(false)
}
