//! A cluster: the nodes of a site, a tester, and the one switch between them.
//!
//! Nothing of it is on the desk's network: the switch's ports are unix sockets in a private folder.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use builder::build::seeds::{self, SealedSeed, SeedsError};
use builder::cluster::{self as site, ClusterError};
use builder::progress::Progress;
use builder::project::Project;
use seed::Seed;
use seed::scalar::Cidr;
use thiserror::Error;
use vswitch::rule::Port;
use vswitch::server::{Plan, Server as Switch, ServerError};

use super::entry::{Ip, Site, Topology};
use super::kit::Kit;
use super::machine::{Body, Machine, MachineError, Spec};
use super::warm::{self, Record, Warm, WarmError};

/// The tester's place in each network; no node of a cluster file is called that.
const TESTER_HOST: u32 = 250;
/// The tester's name, and its lane in reports.
pub const TESTER: &str = "tester";
/// The port where no machine is, but a drill may be.
pub const STRANGER: &str = "stranger";

#[derive(Debug, Error)]
pub enum ClusterSetUpError {
    #[error(transparent)]
    Site(#[from] ClusterError),
    #[error(transparent)]
    Seeds(#[from] SeedsError),
    #[error("{0}")]
    Seed(seed::Problems),
    #[error(transparent)]
    Switch(#[from] ServerError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Warm(#[from] WarmError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// A virtual address of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    pub name: String,
    pub vrid: u8,
    pub address: IpAddr,
    pub interval: Duration,
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Machine>,
    pub tester: Option<Machine>,
    /// Of the version that the drill is about; without one, all.
    pub vips: Vec<Vip>,
    /// The folder with the site's secrets.
    pub secrets: PathBuf,
    /// The seeds, as they are on the disks.
    pub seeds: Vec<SealedSeed>,
    pub origin: Instant,
    tester_addresses: Vec<String>,
    folder: PathBuf,
    // Machines go before the switch does.
    pub switch: Switch,
    /// Where a drill sends frames of its own.
    pub stranger: Port,
}

/// What a cluster is made from.
#[derive(Debug)]
pub struct Setting<'a> {
    pub kit: &'a Arc<Kit>,
    pub project: &'a Project,
    pub topology: &'a Topology,
    pub ip: Option<Ip>,
    /// For sockets and secrets; its path must be short.
    pub folder: &'a Path,
    pub seed: u64,
    pub origin: Instant,
    /// Where the capture of the wire goes.
    pub capture: PathBuf,
    /// The formed cluster that it goes on from, if there is one.
    pub warm: Option<&'a Warm>,
}

impl Cluster {
    /// Puts a cluster together; nothing runs yet.
    pub fn new(setting: &Setting<'_>) -> Result<Self, ClusterSetUpError> {
        let sealed = match setting.warm {
            Some(warm) => unpack(warm, setting.folder)?,
            None => seal(setting)?,
        };
        let parsed: Vec<Seed> = sealed
            .iter()
            .map(|sealed| seed::parse(&sealed.node, &sealed.text).map_err(ClusterSetUpError::Seed))
            .collect::<Result<_, _>>()?;
        let mut ports: Vec<String> = sealed.iter().map(|sealed| sealed.node.clone()).collect();
        if setting.topology.tester {
            ports.push(TESTER.to_owned());
        }
        let stranger = Port(ports.len());
        ports.push(STRANGER.to_owned());
        let switch = Switch::start(&Plan {
            folder: setting.folder.to_owned(),
            ports: ports.clone(),
            seed: setting.seed,
            capture: Some(setting.capture.clone()),
            origin: setting.origin,
        })?;
        let machine = |number: usize, mac: String, body: Body| {
            let port = Port(number);
            let spec = Spec {
                name: ports.get(number).cloned().unwrap_or_default(),
                port,
                mac,
                network: switch.socket(port).unwrap_or(Path::new("")).to_owned(),
                folder: setting.folder.to_owned(),
                origin: setting.origin,
                body,
            };
            Machine::new(setting.kit, spec)
        };
        let mut nodes = Vec::new();
        for (number, (sealed, parsed)) in sealed.iter().zip(&parsed).enumerate() {
            let mac = mac_of(parsed).unwrap_or_else(|| made_mac(number));
            nodes.push(machine(number, mac, Body::Node { seed: sealed.text.clone() })?);
        }
        let tester = setting.topology.tester;
        let tester = tester.then(|| machine(nodes.len(), made_mac(0xff), Body::Tester));
        Ok(Self {
            tester: tester.transpose()?,
            nodes,
            vips: vips_of(&parsed, setting.ip),
            secrets: setting.folder.join("site/secrets"),
            seeds: sealed,
            origin: setting.origin,
            tester_addresses: tester_addresses(&parsed),
            folder: setting.folder.to_owned(),
            switch,
            stranger,
        })
    }

    /// Turns the tester on, and gives it its addresses once it is there.
    pub fn start_tester(&mut self, limit: Duration) -> Result<(), MachineError> {
        let Some(tester) = &mut self.tester else { return Ok(()) };
        tester.start()?;
        tester.probe.wait(limit)?;
        let addresses = self.tester_addresses.clone();
        tester.probe.ask(::probe::words::Ask::Network { addresses })?;
        Ok(())
    }

    /// Saves a cluster that is as it should be. All of it is off then.
    pub fn save(&mut self, warm: &Warm) -> Result<(), ClusterSetUpError> {
        for machine in self.nodes.iter_mut().chain(&mut self.tester) {
            machine.freeze()?;
        }
        let mut boot_ids = Vec::new();
        for machine in self.nodes.iter_mut().chain(&mut self.tester) {
            boot_ids.push((machine.name.clone(), machine.save(&warm.folder)?));
        }
        warm::copy(&self.folder.join("site"), &warm.site)?;
        let seeds = self.seeds.iter().map(|seed| (seed.node.clone(), seed.text.clone())).collect();
        Ok(warm.write(&Record { seeds, boot_ids })?)
    }

    /// Puts all machines where they were saved, and lets them go on at the same time.
    pub fn resume(&mut self, warm: &Warm) -> Result<(), ClusterSetUpError> {
        let record = warm.record()?;
        let said = |name: &str| {
            let of = record.boot_ids.iter().find(|(machine, _)| machine == name);
            of.map_or("", |(_, boot_id)| boot_id)
        };
        for machine in self.nodes.iter_mut().chain(&mut self.tester) {
            let boot_id = said(&machine.name).to_owned();
            machine.resume(&warm.folder, &boot_id)?;
        }
        for machine in self.nodes.iter_mut().chain(&mut self.tester) {
            machine.thaw()?;
        }
        Ok(())
    }

    /// The time since the run's beginning.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The machine at a port.
    pub fn name_of(&self, port: Port) -> &str {
        let all = self.nodes.iter().chain(&self.tester);
        all.into_iter().find(|machine| machine.port == port).map_or("?", |machine| &machine.name)
    }
}

/// The seeds and secrets of a formed cluster, in the run's own folder: the other may be removed.
fn unpack(warm: &Warm, folder: &Path) -> Result<Vec<SealedSeed>, ClusterSetUpError> {
    let site = folder.join("site");
    warm::copy(&warm.site, &site)?;
    let seeds = warm.record()?.seeds.into_iter();
    let sealed = |(node, text): (String, String)| {
        let path = site.join(format!("{node}.toml"));
        SealedSeed { path, node, text }
    };
    Ok(seeds.map(sealed).collect())
}

/// Seeds with their secrets, in a folder that goes with the run.
fn seal(setting: &Setting<'_>) -> Result<Vec<SealedSeed>, ClusterSetUpError> {
    let root = setting.project.root();
    let out = setting.folder.join("site");
    let paths = match setting.topology.site {
        Site::Cluster { v4, v6 } => {
            let file = if setting.ip == Some(Ip::V6) { v6 } else { v4 };
            site::create(&root.join(file), &out)?.seeds
        }
        Site::Seeds(files) => {
            let fail = |path: &Path| {
                let path = path.to_owned();
                move |source| ClusterSetUpError::File { path, source }
            };
            fs::create_dir(&out).map_err(fail(&out))?;
            let mut paths = Vec::new();
            for file in files {
                let (from, to) =
                    (root.join(file), out.join(Path::new(file).file_name().unwrap_or_default()));
                fs::copy(&from, &to).map_err(fail(&from))?;
                paths.push(to);
            }
            paths
        }
    };
    Ok(seeds::seal_all(&paths, &Progress::quiet())?)
}

fn mac_of(seed: &Seed) -> Option<String> {
    let mut links = seed.links.iter();
    links.find_map(|link| Some(link.r#match.as_ref()?.mac.as_ref()?.to_string()))
}

fn made_mac(number: usize) -> String {
    format!("52:54:00:d0:00:{number:02x}")
}

/// The site's virtual addresses, each once.
fn vips_of(seeds: &[Seed], ip: Option<Ip>) -> Vec<Vip> {
    let mut vips: Vec<Vip> = Vec::new();
    for vip in seeds.iter().flat_map(|seed| &seed.vips) {
        for cidr in &vip.addresses {
            let address = cidr.address();
            let wanted = ip.is_none_or(|ip| address.is_ipv4() == (ip == Ip::V4));
            let new = Vip {
                name: vip.name.to_string(),
                vrid: vip.vrid.get(),
                address,
                interval: vip.interval.duration(),
            };
            if wanted && !vips.contains(&new) {
                vips.push(new);
            }
        }
    }
    vips
}

/// An address of the tester in each network that a node has one in.
fn tester_addresses(seeds: &[Seed]) -> Vec<String> {
    let links = seeds.iter().flat_map(|seed| &seed.links);
    let mut addresses: Vec<String> =
        links.flat_map(|link| &link.addresses).map(|cidr| beside(*cidr)).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

fn beside(cidr: Cidr) -> String {
    let ip: IpAddr = match cidr.network() {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) | TESTER_HOST).into(),
        IpAddr::V6(network) => Ipv6Addr::from(u128::from(network) | u128::from(TESTER_HOST)).into(),
    };
    format!("{ip}/{}", cidr.prefix())
}
