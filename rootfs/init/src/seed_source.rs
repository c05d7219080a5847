//! Where the seed comes from: the places in their order, and what each of them offered.
//!
//! ```text
//!  1. the SEED partition of the disk that carries our root
//!  2. any volume labelled SEED (seed.toml), then any labelled CIDATA (NoCloud), FAT or ISO 9660: a
//!     stick, with a partition table of either kind or with none
//!  3. QEMU's fw_cfg, as opt/seed
//!  4. the kernel's command line, as edgepair.seed=BASE64: for a lab, since it is short
//! ```
//! The first good seed wins. A bad one in an earlier place is said on the console and passed over, so
//! that a stick can help a node whose own seed is bad. An empty SEED partition is no seed.
//!
//! A spare disk that was flashed for another node has a SEED partition too, and may well come before
//! ours by name. Ours is told by its disk: to come up as the other node beside it would be worse than
//! not to come up at all. Only a node without a good seed of its own takes the spare's, as it takes a
//! stick's.

use std::fs;
use std::path::{Path, PathBuf};

use disk::iso::{self, IsoError};
use disk::{ReadAt, fat};
use seed::{Seed, base64, nocloud};

use crate::disks::{self, BlockDevice};
use crate::state::place;

/// The file on a volume labelled SEED.
pub(crate) const SEED_FILE: &str = "seed.toml";
const SEED_LABEL: &str = "SEED";
const COMMAND_LINE_KEY: &str = "edgepair.seed=";
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/seed/raw";

/// A seed's text, and where it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) place: String,
    pub(crate) text: String,
    /// What a NoCloud volume says beside it.
    meta_data: Option<String>,
}

impl Candidate {
    fn plain(place: &str, text: String) -> Self {
        Self { place: place.to_owned(), text, meta_data: None }
    }

    /// Reads and checks it; what is wrong comes as text for the console.
    pub(crate) fn parse(&self) -> Result<Seed, String> {
        let seed = seed::parse(&self.place, &self.text).map_err(|problems| problems.to_string())?;
        let meta_data = self.meta_data.as_deref().unwrap_or_default();
        nocloud::check_meta_data(meta_data, &seed).map_err(|error| error.to_string())?;
        Ok(seed)
    }
}

/// What the label of a volume promises, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Seed,
    NoCloud,
}

/// What each place offers, in order: a candidate, or why what is there can't be one.
pub(crate) fn search() -> Vec<Result<Candidate, String>> {
    let own = own_partition();
    let mut volumes = Vec::new();
    for device in devices() {
        let Ok(open) = BlockDevice::open(&device) else { continue };
        let place = device.display().to_string();
        let is_own = Some(&device) == own.as_ref();
        volumes.extend(seed_on_volume(&open).map(|(kind, offer)| Volume {
            place,
            is_own,
            kind,
            offer,
        }));
    }
    let mut found = in_order(volumes);
    match fs::read_to_string(FW_CFG) {
        Ok(text) => found.push(Ok(Candidate::plain("fw_cfg opt/seed", text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => found.push(Err(format!("{FW_CFG}: {error}"))),
    }
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    found.extend(on_command_line(&line));
    found
}

/// A volume that should hold a seed, and what it offers; nothing, if it is blank.
#[derive(Debug)]
struct Volume {
    place: String,
    is_own: bool,
    kind: Kind,
    offer: Result<Option<Candidate>, String>,
}

/// Our own first, then by what their labels promise, then as they were found.
fn in_order(mut volumes: Vec<Volume>) -> Vec<Result<Candidate, String>> {
    volumes.sort_by_key(|volume| (!volume.is_own, volume.kind));
    let offered = volumes.into_iter().filter_map(|Volume { place, offer, .. }| match offer {
        Ok(candidate) => candidate.map(|candidate| Ok(Candidate { place, ..candidate })),
        Err(complaint) => Some(Err(format!("{place}: {complaint}"))),
    });
    offered.collect()
}

/// The SEED partition on the disk that carries our root.
fn own_partition() -> Option<PathBuf> {
    let disk = place::root_disk().ok()?;
    let mut all = disks::partitions().into_iter();
    let own = all.find(|it| it.disk == disk && it.partition.name == SEED_LABEL)?;
    Some(own.device)
}

/// All partitions of all disks, then the disks, which may be volumes themselves.
fn devices() -> impl Iterator<Item = PathBuf> {
    let names = disks::names();
    let partitions: Vec<PathBuf> =
        names.iter().flat_map(|name| disks::partition_nodes(name)).collect();
    partitions.into_iter().chain(names.into_iter().map(|name| Path::new("/dev").join(name)))
}

/// The seed on the kernel's command line, if there is one.
fn on_command_line(line: &str) -> Option<Result<Candidate, String>> {
    let mut words = line.split_ascii_whitespace();
    let word = words.find_map(|word| word.strip_prefix(COMMAND_LINE_KEY))?;
    let text = base64::decode(word).and_then(|bytes| String::from_utf8(bytes).ok());
    let broken = || format!("{COMMAND_LINE_KEY}… on the kernel's command line is no base64");
    Some(text.map(|text| Candidate::plain("the kernel's command line", text)).ok_or_else(broken))
}

/// What a volume should hold by its label, and what it does; other volumes are none of our business.
fn seed_on_volume(device: &impl ReadAt) -> Option<(Kind, Result<Option<Candidate>, String>)> {
    if let Ok(volume) = fat::Volume::open(device)
        && let Ok(label) = volume.label()
    {
        return seed_by_label(&label, &|name, limit| match volume.read_file(name, limit) {
            Err(fat::ReadError::NotFound(_)) => Ok(None),
            other => other.map(Some).map_err(|error| error.to_string()),
        });
    }
    let volume = iso::Volume::open(device).ok()?;
    seed_by_label(volume.label(), &|name, limit| match volume.read_file(name, limit) {
        Err(IsoError::NotFound(_)) => Ok(None),
        other => other.map(Some).map_err(|error| error.to_string()),
    })
}

/// Reads a file of a volume, within a limit of bytes; none if it isn't there.
type ReadFile<'a> = &'a dyn Fn(&str, u64) -> Result<Option<Vec<u8>>, String>;

/// The label says what is on the volume: a seed, or a NoCloud pair of files with one inside.
fn seed_by_label(
    label: &str,
    read: ReadFile<'_>,
) -> Option<(Kind, Result<Option<Candidate>, String>)> {
    if label.eq_ignore_ascii_case(SEED_LABEL) {
        let text = read_text(SEED_FILE, seed::MAX_SEED_BYTES, read);
        return Some((Kind::Seed, text.map(|text| text.map(|text| Candidate::plain("", text)))));
    }
    let is_nocloud = label.eq_ignore_ascii_case(nocloud::VOLUME_LABEL);
    is_nocloud.then(|| (Kind::NoCloud, seed_for_nocloud(read)))
}

fn seed_for_nocloud(read: ReadFile<'_>) -> Result<Option<Candidate>, String> {
    let user_data = read_text("user-data", nocloud::MAX_USER_DATA_BYTES, read)?;
    let Some(user_data) = user_data else { return Ok(None) };
    let text = nocloud::find_seed(&user_data).map_err(|error| error.to_string())?;
    let meta_data = read_text("meta-data", nocloud::MAX_USER_DATA_BYTES, read)?;
    Ok(Some(Candidate { place: String::new(), text, meta_data }))
}

fn read_text(name: &str, limit: usize, read: ReadFile<'_>) -> Result<Option<String>, String> {
    let Some(bytes) = read(name, limit as u64).map_err(|error| format!("{name}: {error}"))? else {
        return Ok(None);
    };
    let no_text = |_| format!("{name} is no UTF-8 text: save it as UTF-8");
    String::from_utf8(bytes).map(Some).map_err(no_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_on_the_command_line_is_base64() {
        let found = on_command_line("quiet edgepair.seed=Zm9ybWF0ID0gMQ== panic=1");
        assert_eq!(found.unwrap().unwrap().text, "format = 1");
        assert!(on_command_line("quiet edgepair.seed=?? panic=1").unwrap().is_err());
        assert!(on_command_line("quiet panic=1").is_none());
    }

    #[test]
    fn a_volume_is_read_by_its_label() {
        let files = |name: &str, _: u64| -> Result<Option<Vec<u8>>, String> {
            Ok(match name {
                SEED_FILE => Some(b"format = 1".to_vec()),
                "user-data" => Some(b"#edgepair-seed\nformat = 1\n".to_vec()),
                _ => None,
            })
        };
        let (kind, offer) = seed_by_label("SEED", &files).unwrap();
        assert_eq!((kind, offer.unwrap().unwrap().text.as_str()), (Kind::Seed, "format = 1"));
        let (kind, offer) = seed_by_label("cidata", &files).unwrap();
        assert_eq!((kind, offer.unwrap().is_some()), (Kind::NoCloud, true));
        assert!(seed_by_label("HOLIDAYS", &files).is_none());
    }

    #[test]
    fn our_own_comes_first_and_a_seed_before_nocloud() {
        let volume = |place: &str, is_own, kind, offer| {
            let place = place.to_owned();
            Volume { place, is_own, kind, offer }
        };
        let text = |text: &str| Ok(Some(Candidate::plain("", text.to_owned())));
        let found = in_order(vec![
            volume("/dev/sda4", false, Kind::Seed, text("a spare disk's")),
            volume("/dev/sdb1", false, Kind::NoCloud, text("a cloud's")),
            volume("/dev/sdc1", false, Kind::Seed, Ok(None)),
            volume("/dev/sdd1", false, Kind::Seed, text("a stick's")),
            volume("/dev/vda4", true, Kind::Seed, Err("no UTF-8".to_owned())),
        ]);
        let told: Vec<String> = found
            .into_iter()
            .map(|offer| {
                offer.map_or_else(|error| error, |it| format!("{}: {}", it.place, it.text))
            })
            .collect();
        assert_eq!(
            told,
            [
                "/dev/vda4: no UTF-8",
                "/dev/sda4: a spare disk's",
                "/dev/sdd1: a stick's",
                "/dev/sdb1: a cloud's"
            ]
        );
    }
}
