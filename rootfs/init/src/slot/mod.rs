//! The two slots from the node's side: which one runs, whether it is good, and what happens if not.
//!
//! ```text
//!  boot fails (either stage) ─> give_up ──> the boot loader is asked for the other slot, once
//!  the node is healthy ───────> mark_good ─> the kernel's name loses its count of tries
//!  a block is refused ────────> leave_damaged ─> the kernel goes last in order, and a restart
//! ```
//! The verity table has none of the kernel's own reactions (`restart_on_corruption`,
//! `panic_on_corruption`). They would stop the machine in the middle of whatever it does, and the
//! boot loader, for which a good slot counts no tries, would start the same slot into the same
//! block for ever. Without them a damaged block is refused with an error, which is as safe, and
//! the kernel tells us: so the slot is given up first, and the node restarts in good order. Only a
//! damaged page of the agent itself would stop the kernel; stage 1 reads that file whole before
//! it starts it.
//!
//! What blocks on a disk runs in a program of its own, the agent's binary in another role.

mod efi;
mod esp;
mod kernel_name;
mod retreat;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use disk::boot::{BootArguments, Slot};
use rustix::process::{Pid, Signal, kill_process};

use crate::say;
pub(crate) use efi::{is_there as has_firmware, started_from};
use esp::{Esp, EspError};
use kernel_name::{KernelName, Tries};
use retreat::Other;

/// The agent's binary, and the names that make it these programs.
const BINARY: &str = "/usr/lib/edgepair/init";
pub(crate) const MARK_GOOD_ROLE: &str = "mark-slot-good";
pub(crate) const LEAVE_DAMAGED_ROLE: &str = "leave-damaged-slot";
pub(crate) const LOOK_ROLE: &str = "look-at-slots";

/// What these programs found out about the slots, in a line for `nodectl status`. PID 1 itself never
/// reads the boot partition: its disk may hang.
const STATUS_PATH: &str = "/run/edgepair/slots";
const UNFINISHED_PATH: &str = "/run/edgepair/slots.new";

/// What `nodectl status` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotStatus {
    /// The slot that runs; none where the kernel was started without ours.
    pub(crate) booted: Option<Slot>,
    kernels: Vec<KernelName>,
}

/// How far a slot is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Absent,
    Good,
    /// A node was not healthy with it yet; so many more starts are granted.
    Trial {
        left: u32,
    },
    Damaged,
}

impl SlotStatus {
    pub(crate) fn trust(&self, slot: Slot) -> Trust {
        let of_slot = self.kernels.iter().filter(|name| name.slot == slot);
        // After a power cut in a renaming there may be two names; the better one counts.
        let trusts = of_slot.map(|name| match name.tries {
            Tries::Good => Trust::Good,
            Tries::Counted { left, .. } => Trust::Trial { left },
            Tries::Damaged => Trust::Damaged,
        });
        let mut best = Trust::Absent;
        for trust in trusts {
            best = match (best, trust) {
                (Trust::Good, _) | (_, Trust::Good) => Trust::Good,
                (Trust::Absent, other) => other,
                (known, _) => known,
            };
        }
        best
    }
}

impl fmt::Display for SlotStatus {
    /// `slot a (good); b: 3 tries left`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(booted) = self.booted else { return f.write_str("no slot") };
        let other = other_than(booted);
        write!(f, "slot {} ({})", booted.letter(), self.trust(booted))?;
        write!(f, "; {}: {}", other.letter(), self.trust(other))
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Good => f.write_str("good"),
            Self::Trial { left: 1 } => f.write_str("1 try left"),
            Self::Trial { left } => write!(f, "{left} tries left"),
            Self::Damaged => f.write_str("damaged"),
        }
    }
}

/// Reads what the boot partition says: a few kilobytes of the disk.
pub(crate) fn status() -> SlotStatus {
    let Some(arguments) = booted() else {
        return SlotStatus { booted: None, kernels: Vec::new() };
    };
    let kernels = Esp::find(&arguments).and_then(|esp| esp.kernels()).unwrap_or_default();
    SlotStatus { booted: Some(arguments.slot), kernels }
}

/// Has a program look at the slots; [`published`] tells then.
pub(crate) fn look() {
    // A test's machine has no slots to look at, and no such program.
    if std::process::id() == 1 {
        start(LOOK_ROLE);
    }
}

/// What a program found out about the slots last; none before one has looked.
pub(crate) fn published() -> Option<String> {
    let text = fs::read_to_string(STATUS_PATH).ok()?;
    Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
}

/// The program behind [`look`].
pub(crate) fn run_look() -> ExitCode {
    match publish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{STATUS_PATH}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A reader finds the old line or the new one, and never half of it.
fn publish() -> io::Result<()> {
    if let Some(folder) = Path::new(STATUS_PATH).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(UNFINISHED_PATH, format!("{}\n", status()))?;
    fs::rename(UNFINISHED_PATH, STATUS_PATH)
}

/// The node is healthy with what it booted: the slot needs no more tries. Call it once.
pub(crate) fn mark_good() {
    // Without firmware no boot loader counted anything.
    if efi::is_there() { start(MARK_GOOD_ROLE) } else { look() }
}

/// The root of this slot has a block that does not fit its hash: what read it got an error. If the
/// other slot can be used, this one goes last in order, and the node is asked to restart.
pub(crate) fn leave_damaged(block: &str) {
    say!("the root is damaged: dm-verity refused block {block} (0: data, 1: hashes)");
    start(LEAVE_DAMAGED_ROLE);
}

fn start(role: &str) {
    let mut command = Command::new(BINARY);
    command.env_clear().arg(role).stdin(Stdio::null());
    // Whoever reaps orphans takes its status; what it has to say goes to the console.
    if let Err(error) = sys::process::hears_signals(&mut command).spawn() {
        say!("{BINARY} {role}: {error}");
    }
}

/// The boot has failed. Asks for the other slot if there is one, and says how long to wait before
/// the restart.
pub(crate) fn give_up() -> Duration {
    let arguments = booted();
    let other = arguments.as_ref().map_or(Other::Unknown, |arguments| {
        let kernels = Esp::find(arguments).and_then(|esp| esp.kernels());
        let wanted = other_than(arguments.slot);
        kernels.map_or(Other::Unknown, |kernels| {
            let found = kernels.iter().any(|name| name.slot == wanted);
            if found { Other::Complete } else { Other::Absent }
        })
    });
    let has_firmware = efi::is_there();
    let before = if has_firmware { efi::failures() } else { 0 };
    let retreat = retreat::decide(before, has_firmware, other);
    if retreat.failures != before
        && has_firmware
        && let Err(error) = efi::set_failures(retreat.failures)
    {
        say!("this failure can't be counted: {error}");
    }
    match arguments.filter(|_| retreat.start_other) {
        Some(arguments) => ask_for(other_than(arguments.slot)),
        None if has_firmware => say!("the other slot is empty: the same slot starts again"),
        None => say!("no boot loader started this kernel: the same slot starts again"),
    }
    retreat.pause
}

/// The entry's name is a pattern, since nobody here knows how many tries it has left.
fn ask_for(slot: Slot) {
    let letter = slot.letter();
    match efi::start_once(&format!("edgepair-{letter}*")) {
        Ok(()) => say!("slot {letter} starts next"),
        Err(error) => say!("slot {letter} can't be asked for: {error}"),
    }
}

/// The program behind [`mark_good`].
pub(crate) fn run_mark_good() -> ExitCode {
    if let Err(error) = efi::clear_failures() {
        say!("earlier failures to boot can't be forgotten: {error}");
    }
    let renamed = rename_booted(Tries::Good).map(|renamed| {
        if let Some(name) = renamed {
            say!("slot {} is good", name.slot.letter());
        }
    });
    run_look();
    report(renamed)
}

/// The program behind [`leave_damaged`].
pub(crate) fn run_leave_damaged() -> ExitCode {
    let status = status();
    let Some(booted) = status.booted else { return ExitCode::FAILURE };
    let other = other_than(booted);
    let usable = status.kernels.iter().any(|name| name.slot == other && name.is_usable());
    if !usable || !efi::is_there() {
        say!("slot {} can't be used: staying with the damaged one", other.letter());
        return ExitCode::FAILURE;
    }
    let renamed = rename_booted(Tries::Damaged);
    if renamed.is_err() {
        // The driver for the boot partition may itself be damaged.
        ask_for(other);
    }
    say!("restarting into slot {}", other.letter());
    // PID 1 takes this for a wish to restart, and ends the run in good order.
    let asked = kill_process(Pid::INIT, Signal::USR1);
    if asked.is_err() { ExitCode::FAILURE } else { report(renamed.map(drop)) }
}

fn report(result: Result<(), EspError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the kernel that runs the name that says so, if its name may still change.
fn rename_booted(tries: Tries) -> Result<Option<KernelName>, EspError> {
    let Some(arguments) = booted() else { return Ok(None) };
    let esp = Esp::find(&arguments)?;
    let kernels = esp.kernels()?;
    let to = KernelName { slot: arguments.slot, tries };
    let from =
        kernels.iter().find(|name| name.slot == arguments.slot && may_become(name.tries, tries));
    let Some(from) = from.filter(|_| !kernels.contains(&to)) else { return Ok(None) };
    esp.rename(*from, to)?;
    Ok(Some(to))
}

/// A damaged root does not become good by a node that is healthy in spite of it.
fn may_become(now: Tries, then: Tries) -> bool {
    match then {
        Tries::Good => matches!(now, Tries::Counted { .. }),
        Tries::Damaged => now != Tries::Damaged,
        Tries::Counted { .. } => false,
    }
}

/// What the kernel's command line says of this boot.
fn booted() -> Option<BootArguments> {
    fs::read_to_string("/proc/cmdline").ok()?.parse().ok()
}

fn other_than(slot: Slot) -> Slot {
    match slot {
        Slot::A => Slot::B,
        Slot::B => Slot::A,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[&str]) -> SlotStatus {
        let kernels = files.iter().map(|file| KernelName::parse(file).unwrap()).collect();
        SlotStatus { booted: Some(Slot::A), kernels }
    }

    #[test]
    fn the_status_fits_a_line() {
        let line = |files: &[&str]| with(files).to_string();
        assert_eq!(line(&["edgepair-a.efi", "edgepair-b+3.efi"]), "slot a (good); b: 3 tries left");
        assert_eq!(line(&["edgepair-a+1-2.efi"]), "slot a (1 try left); b: absent");
        let both_names = ["edgepair-a+2-1.efi", "edgepair-a.efi", "edgepair-b+0-99.efi"];
        assert_eq!(line(&both_names), "slot a (good); b: damaged");
    }

    #[test]
    fn only_a_counted_kernel_becomes_good() {
        let counted = Tries::Counted { left: 0, done: 3 };
        assert!(may_become(counted, Tries::Good), "it was the last try, and it worked");
        assert!(!may_become(Tries::Damaged, Tries::Good));
        assert!(!may_become(Tries::Good, Tries::Good));
        assert!(may_become(Tries::Good, Tries::Damaged));
    }
}
