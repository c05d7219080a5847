//! Where the seed comes from: the places in their order, and what each of them offered.
//!
//! ```text
//!  1. the SEED partition of the disk that we booted from
//!  2. any volume labelled SEED (seed.toml) or CIDATA (NoCloud), FAT or ISO 9660: a stick
//!  3. QEMU's fw_cfg, as opt/seed
//!  4. the kernel's command line, as edgepair.seed=BASE64: for a lab, since it is short
//! ```
//! The first good seed wins. A bad one in an earlier place is said on the console and passed over, so
//! that a stick can help a node whose own seed is bad. An empty SEED partition is no seed.

use std::fs;
use std::path::{Path, PathBuf};

use disk::iso::{self, IsoError};
use disk::{ReadAt, fat};
use seed::{Seed, base64, nocloud};

use crate::disks::{self, BlockDevice};

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

/// What each place offers, in order: a candidate, or why what is there can't be one.
pub(crate) fn search() -> Vec<Result<Candidate, String>> {
    let mut found = Vec::new();
    let mut devices: Vec<(String, PathBuf)> = Vec::new();
    for located in disks::partitions() {
        let entry = (located.partition.name.clone(), located.device);
        // Our own partition comes before every stick.
        if located.partition.name == SEED_LABEL {
            devices.insert(0, entry);
        } else {
            devices.push(entry);
        }
    }
    devices.extend(
        disks::names().into_iter().map(|name| (String::new(), Path::new("/dev").join(name))),
    );
    for (_, device) in devices {
        let Ok(open) = BlockDevice::open(&device) else { continue };
        let place = device.display().to_string();
        match seed_on_volume(&open) {
            Ok(Some(candidate)) => found.push(Ok(Candidate { place, ..candidate })),
            Ok(None) => {}
            Err(complaint) => found.push(Err(format!("{place}: {complaint}"))),
        }
    }
    match fs::read_to_string(FW_CFG) {
        Ok(text) => found.push(Ok(Candidate::plain("fw_cfg opt/seed", text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => found.push(Err(format!("{FW_CFG}: {error}"))),
    }
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    found.extend(on_command_line(&line));
    found
}

/// The seed on the kernel's command line, if there is one.
fn on_command_line(line: &str) -> Option<Result<Candidate, String>> {
    let mut words = line.split_ascii_whitespace();
    let word = words.find_map(|word| word.strip_prefix(COMMAND_LINE_KEY))?;
    let text = base64::decode(word).and_then(|bytes| String::from_utf8(bytes).ok());
    let broken = || format!("{COMMAND_LINE_KEY}… on the kernel's command line is no base64");
    Some(text.map(|text| Candidate::plain("the kernel's command line", text)).ok_or_else(broken))
}

/// The seed on a volume, if it is one of ours; other volumes are none of our business.
fn seed_on_volume(device: &impl ReadAt) -> Result<Option<Candidate>, String> {
    if let Ok(volume) = fat::Volume::open(device)
        && let Ok(label) = volume.label()
    {
        return seed_by_label(&label, &|name, limit| match volume.read_file(name, limit) {
            Err(fat::ReadError::NotFound(_)) => Ok(None),
            other => other.map(Some).map_err(|error| error.to_string()),
        });
    }
    let Ok(volume) = iso::Volume::open(device) else { return Ok(None) };
    seed_by_label(volume.label(), &|name, limit| match volume.read_file(name, limit) {
        Err(IsoError::NotFound(_)) => Ok(None),
        other => other.map(Some).map_err(|error| error.to_string()),
    })
}

/// Reads a file of a volume, within a limit of bytes; none if it isn't there.
type ReadFile<'a> = &'a dyn Fn(&str, u64) -> Result<Option<Vec<u8>>, String>;

/// The label says what is on the volume: a seed, or a NoCloud pair of files with one inside.
fn seed_by_label(label: &str, read: ReadFile<'_>) -> Result<Option<Candidate>, String> {
    if label.eq_ignore_ascii_case(SEED_LABEL) {
        let text = read_text(SEED_FILE, seed::MAX_SEED_BYTES, read)?;
        return Ok(text.map(|text| Candidate::plain("", text)));
    }
    if !label.eq_ignore_ascii_case(nocloud::VOLUME_LABEL) {
        return Ok(None);
    }
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
        assert_eq!(seed_by_label("SEED", &files).unwrap().unwrap().text, "format = 1");
        assert!(seed_by_label("cidata", &files).unwrap().is_some());
        assert!(seed_by_label("HOLIDAYS", &files).unwrap().is_none());
    }
}
