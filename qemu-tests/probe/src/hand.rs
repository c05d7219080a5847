//! What the probe does when it is asked, and the clients that run meanwhile.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ledger::client::{Clock, Session, Settings};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::port::{Listener, PortError, Speaker};
use crate::switch::PowerSwitch;
use crate::words::{Ask, Facts, Question, Role, Said};
use crate::{address, database, door, http, place, process, state};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

type Outcome = Result<Value, Box<dyn Error>>;

/// The probe at work.
#[derive(Debug)]
pub struct Hand {
    role: Role,
    speaker: Speaker,
    clock: Clock,
    session: Option<Session>,
    switch: Option<PowerSwitch>,
}

impl Hand {
    pub fn new(role: Role, speaker: Speaker) -> Self {
        Self { role, speaker, clock: Clock::from(Instant::now()), session: None, switch: None }
    }

    /// Does what it is asked, until the port is gone.
    pub fn serve(&mut self, listener: &mut Listener) -> PortError {
        let boot_id = boot_id();
        self.speaker.begin();
        self.speaker.say(&Said::Hello { role: self.role, boot_id });
        loop {
            let line = match listener.line() {
                Ok(line) => line,
                Err(error) => return error,
            };
            let said = match serde_json::from_slice::<Question>(&line) {
                Ok(Question { id, ask }) => match self.answer(ask) {
                    Ok(answer) => Said::Answer { id, answer },
                    Err(error) => Said::Refused { id, error: error.to_string() },
                },
                Err(error) => Said::Refused { id: 0, error: error.to_string() },
            };
            self.speaker.say(&said);
        }
    }

    fn answer(&mut self, ask: Ask) -> Outcome {
        let signal = |name: &str, signal| Ok(json!(process::signal(name, signal)?));
        match ask {
            Ask::Clock => Ok(json!(self.clock.now())),
            Ask::Facts => Ok(serde_json::to_value(facts()?)?),
            Ask::Network { addresses } => {
                address::set(&addresses)?;
                Ok(Value::Null)
            }
            Ask::Kill { process } => signal(&process, Signal::KILL),
            Ask::Hang { process } => signal(&process, Signal::STOP),
            Ask::Resume { process } => signal(&process, Signal::CONT),
            Ask::FillState => Ok(json!(state::fill()?)),
            Ask::FreeState => {
                state::free()?;
                Ok(Value::Null)
            }
            Ask::StepClock { seconds } => {
                sys::clock::step(seconds.saturating_mul(NANOS_PER_SECOND))?;
                Ok(Value::Null)
            }
            Ask::MakeOrphans { count } => {
                let mut maker = process::start_role(&["make-orphans", &count.to_string()])?;
                maker.wait()?;
                Ok(Value::Null)
            }
            Ask::HogMemory => {
                let mut hog = process::start_role(&["hog-memory"])?;
                // Whoever started it must reap it.
                thread::spawn(move || hog.wait());
                Ok(Value::Null)
            }
            Ask::ReadFile { path } => Ok(json!(place::read_of_node(&path)?)),
            Ask::ReadRows { database, table } => {
                Ok(serde_json::to_value(database::rows(&database, &table)?)?)
            }
            Ask::Order { request } => Ok(serde_json::to_value(door::ask(&request)?)?),
            Ask::Post { port, path, json } => Ok(json!(http::post(port, &path, &json)?)),
            Ask::Get { port, path } => Ok(json!(http::get(port, &path)?)),
            Ask::PlugPowerSwitchIn => {
                self.switch = Some(PowerSwitch::plug_in()?);
                Ok(Value::Null)
            }
            Ask::OutletsAsked => Ok(json!(self.switch()?.asked())),
            Ask::OutletIsOff { outlet } => {
                self.switch()?.confirm(outlet);
                Ok(Value::Null)
            }
            Ask::StartClients { settings } => {
                self.start(&settings)?;
                Ok(Value::Null)
            }
            Ask::StopClients { limit_ms } => {
                let session = self.session.take().ok_or("no clients run")?;
                Ok(json!(session.finish(Duration::from_millis(limit_ms))))
            }
        }
    }

    fn switch(&self) -> Result<&PowerSwitch, Box<dyn Error>> {
        self.switch.as_ref().ok_or_else(|| "no power switch is plugged in".into())
    }

    fn start(&mut self, settings: &Settings) -> Result<(), Box<dyn Error>> {
        if self.session.is_some() {
            return Err("clients run already".into());
        }
        let speaker = self.speaker.clone();
        let tell = Arc::new(move |operation| speaker.say(&Said::Did { operation }));
        self.session = Some(Session::start(settings, self.clock, tell)?);
        Ok(())
    }
}

fn boot_id() -> String {
    place::read("proc/sys/kernel/random/boot_id").unwrap_or_default().trim_end().to_owned()
}

fn facts() -> Result<Facts, Box<dyn Error>> {
    let processes = process::all();
    let init = fs::read_link(place::path("proc/1/exe"))?;
    Ok(Facts {
        boot_id: boot_id(),
        wall_seconds: sys::clock::wall().as_secs(),
        zombies: u32::try_from(processes.iter().filter(|process| process.zombie).count())?,
        processes: process::names(&processes),
        init: init.to_string_lossy().into_owned(),
        addresses: address::addresses()?,
        carriers: address::carriers()?,
        root_options: root_options(&place::read("proc/1/mounts")?).unwrap_or_default(),
    })
}

/// The options of the last mount on `/`, which is the one that shows.
fn root_options(mounts: &str) -> Option<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut roots = fields.filter(|fields| fields.get(1) == Some(&"/"));
    roots.next_back().and_then(|fields| fields.get(3).map(|options| (*options).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_that_shows_is_the_last_one_mounted() {
        let mounts =
            "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n/dev/dm-0 / ext4 ro,noatime 0 0";
        assert_eq!(root_options(mounts).as_deref(), Some("ro,noatime"));
        assert_eq!(root_options(""), None);
    }
}
