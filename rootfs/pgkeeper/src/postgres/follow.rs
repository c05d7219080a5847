//! Streaming from the peer, and stopping that for certain.
//!
//! To stop, PostgreSQL would have to be told (a changed `primary_conninfo`), and its startup process
//! looks at that whenever it comes to it: until then it may start another WAL receiver, which would
//! acknowledge. So the way to the peer goes through a name that the keeper owns: without the CA's
//! certificate under that name, libpq connects to nobody. A stop takes the name away, and then ends
//! the receivers that are there. One that starts later finds no CA; one that read it before is seen
//! in PostgreSQL's list, which it entered before it read anything.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::config::Part;
use super::error::{DriverError, about};
use super::worker::Worker;

/// A receiver writes what it has to the disk before it ends.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);
const RECEIVERS: &str = "select pid from pg_stat_activity where backend_type = 'walreceiver'";

impl Worker {
    /// Makes the name by which a receiver finds the CA, or takes it away.
    pub(super) fn open_way(&self, open: bool) -> Result<(), DriverError> {
        let name = self.settings.receiver_ca();
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about("remove", &name)(error));
            }
            _ => {}
        }
        if open {
            symlink(&self.settings.certificates.ca, &name).map_err(about("make", &name))?;
        }
        Ok(())
    }

    pub(super) fn start_receiver(&mut self) -> Result<(), DriverError> {
        self.must_be_standby("StartStandby")?;
        self.open_way(true)?;
        self.configure(Part::Standby { receive: true })?;
        self.reload();
        self.look_or_go_on()
    }

    pub(super) fn stop_receiver(&mut self) -> Result<(), DriverError> {
        self.must_be_standby("StopReceiver")?;
        self.open_way(false)?;
        // So that PostgreSQL doesn't try in vain for as long as this lasts.
        self.configure(Part::Standby { receive: false })?;
        self.reload();
        let end = Instant::now() + STOP_LIMIT;
        loop {
            let receivers: Vec<Pid> = self
                .ask(RECEIVERS)?
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
                .collect();
            if receivers.is_empty() {
                break;
            }
            if Instant::now() >= end {
                let what = "the WAL receiver's end".to_owned();
                return Err(DriverError::Late { what, limit: STOP_LIMIT });
            }
            for receiver in receivers {
                let _ended = kill_process(receiver, Signal::TERM);
            }
            self.pause(LOOK_EVERY)?;
        }
        self.look().map(drop)
    }

    /// Looks, if PostgreSQL lets us in already.
    fn look_or_go_on(&mut self) -> Result<(), DriverError> {
        match self.look() {
            Ok(_) | Err(DriverError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn must_be_standby(&self, command: &str) -> Result<(), DriverError> {
        match self.part {
            Some(Part::Standby { .. }) if self.server.is_some() => Ok(()),
            part => Err(DriverError::Senseless {
                command: command.to_owned(),
                role: part.map_or("stopped".to_owned(), |part| format!("{part:?}")),
            }),
        }
    }
}
