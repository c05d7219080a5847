//! One virtual machine of a cluster, and everything that can be done to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::probe::words::PORT;
use builder::qemu::command::{self, Card, Channel, Disk, Storage};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use thiserror::Error;
use vdisk::server::{Server as DiskServer, ServerError};
use vdisk::store::{Cut, Fault as DiskFault, Store, StoreError};
use vswitch::rule::Port;

use super::kit::{Kit, KitError};
use super::probe::{Probe, ProbeError};
use crate::console::Console;
use crate::guest::{Guest, GuestError};
use crate::qmp::Events;

/// What a node's disk holds in all; the image is a part of it, the rest becomes STATE.
const DISK_BYTES: u64 = 1 << 30;
/// A killed process is gone at once, unless the desk is very busy.
const VANISH_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum MachineError {
    #[error("{name}: {source}")]
    Guest { name: String, source: GuestError },
    #[error("{name}: {source}")]
    Disk { name: String, source: StoreError },
    #[error("{name}: {source}")]
    DiskServer { name: String, source: ServerError },
    #[error("{name}: the disk can't be written: {fault:?}")]
    DiskWrite { name: String, fault: DiskFault },
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Kit(#[from] KitError),
    #[error("{name} is not running")]
    Off { name: String },
    #[error("{name} runs already")]
    On { name: String },
    #[error("{name} has no disk")]
    NoDisk { name: String },
    #[error("{}: {source}", path.display())]
    Said { path: PathBuf, source: io::Error },
    #[error("{name}: its process can't be signalled: {source}")]
    Signal { name: String, source: io::Error },
}

impl MachineError {
    fn said(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Said { path, source }
    }
}

/// What a machine is made of, apart from the kit that all share.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub port: Port,
    pub mac: String,
    /// The switch's socket for this machine.
    pub network: PathBuf,
    /// The folder for its sockets.
    pub folder: PathBuf,
    /// When the run began.
    pub origin: Instant,
    pub body: Body,
}

/// What a machine is.
#[derive(Clone, Debug)]
pub enum Body {
    /// A node: the image, with this text on its SEED partition.
    Node { seed: String },
    /// The tester: a kernel and the probe.
    Tester,
}

impl Spec {
    /// The path of one of its sockets.
    fn below(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.name))
    }
}

/// What QEMU is asked for, without the disk.
fn plan(kit: &Kit, spec: &Spec) -> command::Machine {
    let network = spec.network.display().to_string().replace(',', ",,");
    command::Machine {
        name: spec.name.clone(),
        acceleration: kit.acceleration,
        memory_mib: kit.memory_mib(&spec.body),
        processors: 1,
        start: kit.start(&spec.body),
        disks: Vec::new(),
        sockets: false,
        watchdog: false,
        cards: vec![Card {
            mac: spec.mac.clone(),
            backend: format!("stream,server=off,addr.type=unix,addr.path={network}"),
        }],
        channels: vec![Channel { name: PORT.to_owned(), socket: spec.below("probe") }],
        console: command::Console::Output,
        control: Some(spec.below("control")),
        clock: None,
        end_on_restart: false,
        incoming: false,
    }
}

fn served_disk(socket: PathBuf) -> Disk {
    Disk { storage: Storage::NbdSocket, ..Disk::from(socket) }
}

/// A machine. Dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    pub name: String,
    pub port: Port,
    pub console: Console,
    pub events: Events,
    pub probe: Probe,
    kit: Arc<Kit>,
    spec: Spec,
    plan: command::Machine,
    // QEMU goes before its disk does, or it would say that the disk failed.
    guest: Option<Guest>,
    disk: Option<DiskServer>,
}

impl Machine {
    /// Puts a machine together, without starting it.
    pub fn new(kit: &Arc<Kit>, spec: Spec) -> Result<Self, MachineError> {
        let probe = Probe::listen(&spec.name, &spec.below("probe"))?;
        let plan = plan(kit, &spec);
        let mut machine = Self {
            name: spec.name.clone(),
            port: spec.port,
            console: Console::since(spec.origin),
            events: Events::since(spec.origin),
            probe,
            kit: Arc::clone(kit),
            spec,
            plan,
            guest: None,
            disk: None,
        };
        machine.fit_disk()?;
        Ok(machine)
    }

    /// What QEMU is asked for, apart from what each machine has of its own.
    pub fn shape(kit: &Kit, body: &Body) -> String {
        let nowhere = PathBuf::new();
        let spec = Spec {
            name: String::new(),
            port: Port(0),
            mac: String::new(),
            network: nowhere.clone(),
            folder: nowhere,
            origin: Instant::now(),
            body: body.clone(),
        };
        let mut plan = plan(kit, &spec);
        if matches!(body, Body::Node { .. }) {
            plan.disks = vec![served_disk(spec.below("disk"))];
        }
        let words: Vec<String> =
            plan.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let folder = kit.folder.display().to_string();
        format!("{} {DISK_BYTES}", words.join(" ").replace(&folder, ""))
    }

    /// Why its disk failed though nobody broke it.
    pub fn desk_failure(&self) -> Option<String> {
        let failure = |store: &mut Store| store.desk_failure().map(ToString::to_string);
        self.disk.as_ref().and_then(|disk| disk.with_store(failure))
    }

    /// Gives a node a new disk: the image, its seed, and nothing that it ever wrote.
    fn fit_disk(&mut self) -> Result<(), MachineError> {
        let Body::Node { seed } = &self.spec.body else { return Ok(()) };
        let name = || self.name.clone();
        let mut store = Store::over(&self.kit.image, DISK_BYTES)
            .map_err(|source| MachineError::Disk { name: name(), source })?;
        let (offset, volume) = self.kit.seed_volume(seed)?;
        let written = store.write(offset, &volume).and_then(|()| store.flush());
        written.map_err(|fault| MachineError::DiskWrite { name: name(), fault })?;
        self.serve_disk(store)
    }

    fn serve_disk(&mut self, store: Store) -> Result<(), MachineError> {
        // The old one's socket goes with it.
        self.disk = None;
        let path = self.spec.below("disk");
        let server = DiskServer::start(&path, store)
            .map_err(|source| MachineError::DiskServer { name: self.name.clone(), source })?;
        self.plan.disks = vec![served_disk(path)];
        self.disk = Some(server);
        Ok(())
    }

    /// Saves it in a folder as it is: memory, devices, disk. It must stand still, and is off then.
    /// Gives the boot id that its probe said.
    pub fn save(&mut self, folder: &Path) -> Result<String, MachineError> {
        let boot_id = self.probe.wait(VANISH_LIMIT)?;
        let (memory, disk, said) = self.saved_in(folder);
        let saved = self.guest()?.save(&memory);
        saved.map_err(|source| self.failed(source))?;
        self.kill()?;
        if let Some(server) = &self.disk {
            let saved = server.with_store(|store| store.save(&disk));
            saved.map_err(|source| MachineError::Disk { name: self.name.clone(), source })?;
        }
        let lines = self.console.lines().into_iter().map(|line| line.text + "\n");
        fs::write(&said, lines.collect::<String>()).map_err(MachineError::said(&said))?;
        Ok(boot_id)
    }

    /// Puts it where a machine of the same shape was saved. It stands still, and its probe is there.
    pub fn resume(&mut self, folder: &Path, boot_id: &str) -> Result<(), MachineError> {
        self.must_be_off()?;
        let (memory, disk, said) = self.saved_in(folder);
        let lines = fs::read_to_string(&said).map_err(MachineError::said(&said))?;
        self.console.remember(lines.lines().map(str::to_owned));
        if matches!(self.spec.body, Body::Node { .. }) {
            let store = Store::resume(&self.kit.image, DISK_BYTES, &disk)
                .map_err(|source| MachineError::Disk { name: self.name.clone(), source })?;
            self.serve_disk(store)?;
        }
        self.plan.incoming = true;
        let started = self.start();
        self.plan.incoming = false;
        started?;
        let loaded = self.guest()?.load(&memory);
        loaded.map_err(|source| self.failed(source))?;
        Ok(self.probe.greet(boot_id, VANISH_LIMIT)?)
    }

    /// The files of a saved machine: its memory and devices, its disk, what its console had said.
    fn saved_in(&self, folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
        let below = |what: &str| folder.join(format!("{}.{what}", self.name));
        (below("memory"), below("disk"), below("console"))
    }

    /// Turns it on.
    pub fn start(&mut self) -> Result<(), MachineError> {
        self.must_be_off()?;
        // QEMU leaves its control socket behind when it is killed.
        if let Some(control) = &self.plan.control {
            let _none = fs::remove_file(control);
        }
        let (console, events) = (&self.console, &self.events);
        let guest = Guest::start_within(&self.kit.qemu, &self.plan, console, events);
        self.guest = Some(guest.map_err(|source| self.failed(source))?);
        Ok(())
    }

    /// Whether its QEMU is there.
    pub fn is_running(&mut self) -> Result<bool, MachineError> {
        let Some(guest) = &mut self.guest else { return Ok(false) };
        let ended = guest.ended();
        Ok(ended.map_err(|source| self.failed(source))?.is_none())
    }

    /// Stops its processors; its clocks stand still, and it will notice nothing.
    pub fn freeze(&mut self) -> Result<(), MachineError> {
        self.command("stop", &json!({})).map(drop)
    }

    /// Lets its processors go on.
    pub fn thaw(&mut self) -> Result<(), MachineError> {
        self.command("cont", &json!({})).map(drop)
    }

    /// Whether its processors stand still, as QEMU says.
    pub fn is_frozen(&mut self) -> Result<bool, MachineError> {
        let status = self.command("query-status", &json!({}))?;
        Ok(status.get("status").is_some_and(|status| status == "paused"))
    }

    /// Stops QEMU's process; the guest's clocks jump when it goes on.
    pub fn stall(&mut self) -> Result<(), MachineError> {
        self.signal(Signal::STOP)
    }

    /// Lets QEMU's process go on.
    pub fn unstall(&mut self) -> Result<(), MachineError> {
        self.signal(Signal::CONT)
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<(), MachineError> {
        self.command("system_reset", &json!({})).map(drop)
    }

    /// Cuts the power: QEMU dies at once, and the disk loses what was not flushed. Says how many
    /// sectors that was.
    pub fn power_cut(&mut self, cut: Cut) -> Result<u64, MachineError> {
        self.kill()?;
        let Some(disk) = &self.disk else { return Ok(0) };
        let lost = disk.power_cut(cut);
        lost.map_err(|fault| MachineError::DiskWrite { name: self.name.clone(), fault })
    }

    /// Presses the power button; the node goes down in its own order.
    pub fn press_power_button(&mut self) -> Result<(), MachineError> {
        self.command("system_powerdown", &json!({})).map(drop)
    }

    /// Waits until its QEMU has ended by itself; says whether it did.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<bool, MachineError> {
        let Some(guest) = &mut self.guest else { return Ok(true) };
        match guest.wait_for_end(limit) {
            Ok(_status) => {
                self.guest = None;
                Ok(true)
            }
            Err(GuestError::StillRunning(_)) => Ok(false),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Puts another machine in its place: the same seed on a new disk. It must be off.
    pub fn replace(&mut self) -> Result<(), MachineError> {
        self.must_be_off()?;
        self.fit_disk()
    }

    /// Writes another seed onto the SEED partition. It must be off.
    pub fn write_seed(&mut self, text: &str) -> Result<(), MachineError> {
        self.must_be_off()?;
        let (offset, volume) = self.kit.seed_volume(text)?;
        let write = |store: &mut Store| store.write(offset, &volume).and_then(|()| store.flush());
        let written = self.disk()?.with_store(write);
        written.map_err(|fault| MachineError::DiskWrite { name: self.name.clone(), fault })
    }

    /// Pulls or plugs the network cable; the guest sees its carrier go and come.
    pub fn set_link(&mut self, up: bool) -> Result<(), MachineError> {
        self.command("set_link", &json!({ "name": "net0", "up": up })).map(drop)
    }

    /// From the next start on, what the battery-backed clock shows then, such as `1970-01-01`.
    pub fn boot_at(&mut self, date: &str) {
        self.plan.clock = Some(date.to_owned());
    }

    /// Its disk, for faults and counts.
    pub fn disk(&self) -> Result<&DiskServer, MachineError> {
        self.disk.as_ref().ok_or_else(|| MachineError::NoDisk { name: self.name.clone() })
    }

    /// A command of QEMU's control protocol.
    pub fn command(&mut self, command: &str, arguments: &Value) -> Result<Value, MachineError> {
        let answer = self.guest()?.command_with(command, arguments);
        answer.map_err(|source| self.failed(source))
    }

    /// Ends QEMU's process at once, without touching the disk.
    pub fn kill(&mut self) -> Result<(), MachineError> {
        self.signal(Signal::KILL)?;
        let ended = self.guest()?.wait_for_end(VANISH_LIMIT);
        self.guest = None;
        ended.map(drop).map_err(|source| self.failed(source))
    }

    /// Whether QEMU's process stands still, as the desk's kernel says.
    pub fn is_stalled(&mut self) -> Result<bool, MachineError> {
        let id = self.guest()?.id();
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    }

    fn guest(&mut self) -> Result<&mut Guest, MachineError> {
        self.guest.as_mut().ok_or_else(|| MachineError::Off { name: self.name.clone() })
    }

    fn must_be_off(&mut self) -> Result<(), MachineError> {
        if self.is_running()? {
            return Err(MachineError::On { name: self.name.clone() });
        }
        self.guest = None;
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<(), MachineError> {
        let id = self.guest()?.id();
        let name = || self.name.clone();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| MachineError::Off { name: name() })?;
        kill_process(pid, signal)
            .map_err(|errno| MachineError::Signal { name: name(), source: errno.into() })
    }

    fn failed(&self, source: GuestError) -> MachineError {
        MachineError::Guest { name: self.name.clone(), source }
    }
}
