//! The configuration of `vipd`: one TOML file, read strictly.
//!
//! The file speaks of *instances*: a VRID with its addresses on an interface. An instance with
//! addresses of both families is two virtual routers, which elect separately. Reading is pure; the
//! caller brings the text.

mod checks;
mod instance;
mod reader;
mod values;

pub use checks::{CheckConfig, Subject};
pub use instance::{InstanceConfig, Permit, Signing};
pub use reader::Problem;
pub use values::{Cidr, Url};

use std::path::PathBuf;

use toml::de::DeTable;

use reader::{Reader, Section, Wrong};

/// Where status and metrics are asked for, unless the file says otherwise.
pub const CONTROL_SOCKET: &str = "/run/edgepair/vipd.sock";
/// Where the holder of a permit connects to, unless the file says otherwise.
pub const PERMIT_SOCKET: &str = "/run/edgepair/permit.sock";
/// Above normal programs, below whatever a site runs at the top.
const REALTIME_PRIORITY: u8 = 20;
/// More than any site has, and few enough for one loop.
const INSTANCES_MAX: usize = 128;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub control: PathBuf,
    pub permit_socket: PathBuf,
    /// Who may hold the permit beside root, by number.
    pub permit_user: u32,
    /// 1 to 99, or none to stay a normal process.
    pub realtime_priority: Option<u8>,
    pub instances: Vec<InstanceConfig>,
}

impl Config {
    /// Reads the text of a file, or says everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(text);
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let wrong = Wrong {
                    wrong: error.message().to_owned(),
                    mend: "mend the TOML syntax".to_owned(),
                };
                reader.report(&span, "", wrong);
                return Err(reader.problems);
            }
        };
        let mut root = Section::new(String::new(), 0..0, document.get_ref());
        let config = read_root(&mut root, &mut reader);
        root.finish(&mut reader);
        if reader.problems.is_empty() {
            return Ok(config);
        }
        reader.problems.sort_by_key(|problem| problem.line);
        Err(reader.problems)
    }

    /// Whether any instance waits for a permit.
    pub fn wants_permit(&self) -> bool {
        self.instances.iter().any(|instance| instance.permit == Permit::Holder)
    }
}

fn read_root(root: &mut Section<'_>, reader: &mut Reader<'_>) -> Config {
    let control = root.optional(reader, "control", values::path);
    let permit_socket = root.optional(reader, "permit_socket", values::path);
    let permit_user = root
        .optional(reader, "permit_user", values::number(0..=i64::from(u32::MAX)))
        .and_then(|user| u32::try_from(user).ok());
    let priority = root
        .optional(reader, "realtime_priority", values::number(0..=99))
        .and_then(|priority| u8::try_from(priority).ok())
        .unwrap_or(REALTIME_PRIORITY);
    let sections = root.sections(reader, "instances");
    if sections.is_empty() && !root.has("instances") {
        let wrong = Wrong {
            wrong: "there is nothing to do".to_owned(),
            mend: "write an `[[instances]]`".to_owned(),
        };
        reader.report(&(0..0), "instances", wrong);
    }
    let mut instances: Vec<InstanceConfig> = Vec::new();
    for mut section in sections {
        if let Some(instance) = instance::read(&mut section, reader) {
            against_the_others(&instance, &instances, &section, reader);
            instances.push(instance);
        }
        section.finish(reader);
    }
    if instances.len() > INSTANCES_MAX {
        let wrong = Wrong {
            wrong: format!("{} instances", instances.len()),
            mend: format!("at most {INSTANCES_MAX} run in one process"),
        };
        reader.report(&root.span_of("instances"), "instances", wrong);
    }
    Config {
        control: control.unwrap_or_else(|| PathBuf::from(CONTROL_SOCKET)),
        permit_user: permit_user.unwrap_or(0),
        permit_socket: permit_socket.unwrap_or_else(|| PathBuf::from(PERMIT_SOCKET)),
        realtime_priority: Some(priority).filter(|priority| *priority > 0),
        instances,
    }
}

/// What two instances must not share.
fn against_the_others(
    instance: &InstanceConfig,
    others: &[InstanceConfig],
    section: &Section<'_>,
    reader: &mut Reader<'_>,
) {
    let mut clash = |key: &str, wrong: String, mend: &str| {
        let wrong = Wrong { wrong, mend: mend.to_owned() };
        reader.report(&section.span_of(key), &section.path_of(key), wrong);
    };
    for other in others {
        if other.name == instance.name {
            let wrong = format!("two instances are called \"{}\"", instance.name);
            clash("name", wrong, "give each its own name");
        }
        let family = |ipv4| instance.has_family(ipv4) && other.has_family(ipv4);
        let same_router = other.interface == instance.interface && other.vrid == instance.vrid;
        if same_router && (family(true) || family(false)) {
            let wrong = format!("\"{}\" has VRID {} on this interface", other.name, other.vrid);
            clash("vrid", wrong, "choose another, free on the whole network");
        }
        let shared = instance.addresses.iter().find(|mine| {
            let same = |theirs: &&Cidr| theirs.address == mine.address;
            other.interface == instance.interface && other.addresses.iter().any(|c| same(&c))
        });
        if let Some(shared) = shared {
            let wrong = format!("\"{}\" has {} already", other.name, shared.address);
            clash("addresses", wrong, "give an address to one instance only");
        }
    }
}
