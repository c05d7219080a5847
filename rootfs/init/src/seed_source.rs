//! Where the seed comes from: the places in their order, and what each of them offered.
//!
//! ```text
//!  1. the SEED partition of the disk that we booted from
//!  2. any volume labelled SEED (seed.toml) or CIDATA (NoCloud), FAT or ISO 9660: a stick
//!  3. QEMU's fw_cfg, as opt/seed
//! ```
//! The first place that has a seed decides, good or bad: a node must not quietly fall back to an
//! older identity because of a typing mistake in the newer one. An empty SEED partition is no seed.

use std::fs;
use std::path::{Path, PathBuf};

use disk::iso::{self, IsoError};
use disk::{ReadAt, fat};
use seed::nocloud;

use crate::disks::{self, BlockDevice};

/// The file on a volume labelled SEED.
pub(crate) const SEED_FILE: &str = "seed.toml";
const SEED_LABEL: &str = "SEED";
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/seed/raw";

/// A seed's text, and where it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundSeed {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// What a look at all places gave.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) found: Option<FoundSeed>,
    /// What was there but could not be used, in words.
    pub(crate) complaints: Vec<String>,
}

/// Looks at every place, in order, until one has a seed.
pub(crate) fn search() -> Search {
    let mut search = Search::default();
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
        match seed_on_volume(&open) {
            Ok(Some(text)) => {
                let place = device.display().to_string();
                search.found = Some(FoundSeed { place, text });
                return search;
            }
            Ok(None) => {}
            Err(complaint) => {
                search.complaints.push(format!("{}: {complaint}", device.display()));
                return search;
            }
        }
    }
    match fs::read_to_string(FW_CFG) {
        Ok(text) => search.found = Some(FoundSeed { place: "fw_cfg opt/seed".to_owned(), text }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => search.complaints.push(format!("{FW_CFG}: {error}")),
    }
    search
}

/// The seed on a volume, if it is one of ours; other volumes are none of our business.
fn seed_on_volume(device: &impl ReadAt) -> Result<Option<String>, String> {
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
fn seed_by_label(label: &str, read: ReadFile<'_>) -> Result<Option<String>, String> {
    if label.eq_ignore_ascii_case(SEED_LABEL) {
        return read_text(SEED_FILE, seed::MAX_SEED_BYTES, read);
    }
    if !label.eq_ignore_ascii_case(nocloud::VOLUME_LABEL) {
        return Ok(None);
    }
    let user_data = read_text("user-data", nocloud::MAX_USER_DATA_BYTES, read)?;
    let Some(user_data) = user_data else { return Ok(None) };
    nocloud::find_seed(&user_data).map(Some).map_err(|error| error.to_string())
}

fn read_text(name: &str, limit: usize, read: ReadFile<'_>) -> Result<Option<String>, String> {
    let Some(bytes) = read(name, limit as u64).map_err(|error| format!("{name}: {error}"))? else {
        return Ok(None);
    };
    let no_text = |_| format!("{name} is no UTF-8 text: save it as UTF-8");
    String::from_utf8(bytes).map(Some).map_err(no_text)
}
