//! A running virtual machine that ends with its test.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use builder::qemu::command::Machine;
use builder::qemu::program::Qemu;
use builder::unfinished::Running;
use rustix::process::{Pid, setpriority_process};
use serde_json::{Value, json};
use thiserror::Error;

use crate::console::Console;
use crate::qmp::{Control, Events, QmpError};

/// How long a guest's memory takes to be written or read on a busy desk.
const MOVE_LIMIT: Duration = Duration::from_mins(1);
/// In bytes a second; QEMU is careful with a network that isn't there.
const MOVE_SPEED: u64 = 1 << 40;
/// Above what people start by hand, below what keeps the desk alive.
const NICENESS: i32 = -10;
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Error)]
pub enum GuestError {
    #[error("QEMU can't be started: {0}")]
    Start(io::Error),
    #[error("nothing can be typed at its console: {0}")]
    Keyboard(io::Error),
    #[error(transparent)]
    Control(#[from] QmpError),
    #[error("the guest was still running after {0:?}")]
    StillRunning(Duration),
    #[error("{}: the guest can't be saved there or read from it: {why}", path.display())]
    Moved { path: PathBuf, why: String },
}

/// A guest; dropping it ends it, and so does an interrupt of this process.
#[derive(Debug)]
pub struct Guest {
    running: Running,
    pub console: Console,
    keyboard: ChildStdin,
    control: Control,
}

impl Guest {
    /// Starts a machine. It must have a control socket, and its console on standard output.
    pub fn start(qemu: &Qemu, machine: &Machine) -> Result<Self, GuestError> {
        let now = Instant::now();
        Self::start_within(qemu, machine, &Console::since(now), &Events::since(now))
    }

    /// The same, within a run: what the guest says is added to `console`, and what its QEMU tells by
    /// itself to `events`.
    pub fn start_within(
        qemu: &Qemu,
        machine: &Machine,
        console: &Console,
        events: &Events,
    ) -> Result<Self, GuestError> {
        let mut command = qemu.command(machine);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut running = Running::spawn(&mut command).map_err(GuestError::Start)?;
        hurry(running.child().id());
        let child = running.child();
        let (Some(keyboard), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            let missing = io::Error::other("its standard input and output are no pipes");
            return Err(GuestError::Start(missing));
        };
        console.read(output);
        let socket = machine.control.as_deref().unwrap_or(Path::new(""));
        let control = Control::connect(socket, running.child(), events)?;
        Ok(Self { running, console: console.clone(), keyboard, control })
    }

    /// Types a line at its console.
    pub fn type_line(&mut self, text: &str) -> Result<(), GuestError> {
        self.keyboard.write_all(format!("{text}\n").as_bytes()).map_err(GuestError::Keyboard)
    }

    /// Sends a command of QEMU's control protocol and waits for its answer.
    pub fn command(&mut self, command: &str) -> Result<Value, GuestError> {
        self.command_with(command, &json!({}))
    }

    /// The same, for a command that takes arguments.
    pub fn command_with(&mut self, command: &str, arguments: &Value) -> Result<Value, GuestError> {
        Ok(self.control.ask(command, arguments)?)
    }

    /// Writes its memory and the state of its devices to a new file. It stands still afterwards.
    pub fn save(&mut self, path: &Path) -> Result<(), GuestError> {
        let parameters = json!({ "max-bandwidth": MOVE_SPEED });
        self.command_with("migrate-set-parameters", &parameters)?;
        self.command_with("migrate", &json!({ "uri": format!("file:{}", path.display()) }))?;
        self.wait_for_move(path)
    }

    /// Reads them from the file, in a machine that was started for it; it stands still afterwards.
    pub fn load(&mut self, path: &Path) -> Result<(), GuestError> {
        // It hasn't moved to another port of a switch, so nobody needs to be told where it is.
        self.command_with("migrate-set-parameters", &json!({ "announce-rounds": 0 }))?;
        let uri = json!({ "uri": format!("file:{}", path.display()) });
        self.command_with("migrate-incoming", &uri)?;
        self.wait_for_move(path)
    }

    fn wait_for_move(&mut self, path: &Path) -> Result<(), GuestError> {
        let failed = |why| GuestError::Moved { path: path.to_owned(), why };
        let deadline = Instant::now() + MOVE_LIMIT;
        loop {
            let state = self.command("query-migrate")?;
            match state.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(failed(state.to_string())),
                _ if Instant::now() > deadline => {
                    return Err(failed(format!("it takes more than {MOVE_LIMIT:?}")));
                }
                _ => thread::sleep(POLL),
            }
        }
    }

    /// QEMU's process.
    pub fn id(&mut self) -> u32 {
        self.running.child().id()
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) -> Result<(), GuestError> {
        self.command("system_powerdown").map(drop)
    }

    /// Presses Ctrl-Alt-Del on its keyboard.
    pub fn press_ctrl_alt_delete(&mut self) -> Result<(), GuestError> {
        let keys = ["ctrl", "alt", "delete"].map(|key| json!({ "type": "qcode", "data": key }));
        self.command_with("send-key", &json!({ "keys": keys })).map(drop)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, GuestError> {
        self.running.child().try_wait().map_err(GuestError::Start)
    }

    /// Waits for the end of the guest, and for the last of its console.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus, GuestError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                self.console.join();
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(GuestError::StillRunning(limit));
            }
            thread::sleep(POLL);
        }
    }
}

/// Lets a guest go before the desk's other work, where that is allowed: its clock is measured against
/// the desk's. Elsewhere it waits like everybody, and the rig sees by how much.
fn hurry(id: u32) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let _not_allowed = setpriority_process(pid, NICENESS);
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself; either way the last of its console can be read now.
        let _ended = self.running.child().kill();
        let _reaped = self.running.child().wait();
        self.console.join();
    }
}
