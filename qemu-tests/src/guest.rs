//! A running virtual machine that ends with its test.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use builder::qemu::command::Machine;
use builder::qemu::program::Qemu;
use serde_json::{Value, json};
use thiserror::Error;

use crate::console::Console;

const POLL: Duration = Duration::from_millis(10);
/// QEMU opens its control socket before the guest runs its first instruction.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum GuestError {
    #[error("QEMU can't be started: {0}")]
    Start(io::Error),
    #[error("QEMU's control socket: {0}")]
    Control(io::Error),
    #[error("QEMU refused {command}: {answer}")]
    Refused { command: String, answer: String },
    #[error("the guest was still running after {0:?}")]
    StillRunning(Duration),
}

/// A guest; dropping it ends it.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    pub console: Console,
    control: BufReader<UnixStream>,
}

impl Guest {
    /// Starts a machine. It must have a control socket, and its console on standard output.
    pub fn start(qemu: &Qemu, machine: &Machine) -> Result<Self, GuestError> {
        let mut command = qemu.command(machine);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(GuestError::Start)?;
        let output = child.stdout.take().ok_or_else(|| {
            GuestError::Start(io::Error::other("its standard output is not a pipe"))
        })?;
        let console = Console::new(output);
        let socket = machine.control.as_deref().unwrap_or(Path::new(""));
        match connect(socket, &mut child) {
            Ok(control) => {
                let mut guest = Self { child, console, control };
                guest.command("qmp_capabilities")?;
                Ok(guest)
            }
            Err(error) => {
                // Without control the guest could not be ended later.
                let _ended = child.kill();
                let _reaped = child.wait();
                Err(GuestError::Control(error))
            }
        }
    }

    /// Sends a command of QEMU's control protocol and waits for its answer.
    pub fn command(&mut self, command: &str) -> Result<Value, GuestError> {
        self.command_with(command, &json!({}))
    }

    /// The same, for a command that takes arguments.
    pub fn command_with(&mut self, command: &str, arguments: &Value) -> Result<Value, GuestError> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.control.get_mut().write_all(line.as_bytes()).map_err(GuestError::Control)?;
        loop {
            let mut answer = String::new();
            if self.control.read_line(&mut answer).map_err(GuestError::Control)? == 0 {
                return Err(GuestError::Control(io::ErrorKind::UnexpectedEof.into()));
            }
            let value: Value = serde_json::from_str(&answer).unwrap_or_default();
            if let Some(result) = value.get("return") {
                return Ok(result.clone());
            }
            if value.get("error").is_some() {
                return Err(GuestError::Refused { command: command.to_owned(), answer });
            }
            // Greetings and events come in between.
        }
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) -> Result<(), GuestError> {
        self.command("system_powerdown").map(drop)
    }

    /// Waits for the end of the guest, and for the last of its console.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus, GuestError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().map_err(GuestError::Start)? {
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

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        self.console.join();
    }
}

fn connect(socket: &Path, child: &mut Child) -> io::Result<BufReader<UnixStream>> {
    let deadline = Instant::now() + CONTROL_LIMIT;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(BufReader::new(stream)),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("QEMU ended at once: {status}")));
        }
        thread::sleep(POLL);
    }
}
