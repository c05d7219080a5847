//! Where the seed comes from: the places in their order, and what each of them offered.
//!
//! ```text
//!  1. the SEED partition of the disk that we booted from
//!  2. any volume labelled SEED (seed.toml) or CIDATA (NoCloud): a USB stick
//!  3. QEMU's fw_cfg, as opt/seed
//! ```
//! The first place that has a seed decides, good or bad: a node must not quietly fall back to an
//! older identity because of a typing mistake in the newer one. An empty SEED partition is no seed.

use std::fs;
use std::path::{Path, PathBuf};

use disk::ReadAt;
use disk::fat::{ReadError, Volume};
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
            Err(complaint) => search.complaints.push(format!("{}: {complaint}", device.display())),
        }
    }
    match fs::read_to_string(FW_CFG) {
        Ok(text) => search.found = Some(FoundSeed { place: "fw_cfg opt/seed".to_owned(), text }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => search.complaints.push(format!("{FW_CFG}: {error}")),
    }
    search
}

/// The seed on a FAT volume, if it is one of ours; other volumes are none of our business.
fn seed_on_volume(device: &impl ReadAt) -> Result<Option<String>, String> {
    let Ok(volume) = Volume::open(device) else { return Ok(None) };
    let Ok(label) = volume.label() else { return Ok(None) };
    if label.eq_ignore_ascii_case(SEED_LABEL) {
        return read_text(&volume, SEED_FILE);
    }
    if !label.eq_ignore_ascii_case(nocloud::VOLUME_LABEL) {
        return Ok(None);
    }
    let Some(user_data) = read_text(&volume, "user-data")? else { return Ok(None) };
    nocloud::find_seed(&user_data).map(Some).map_err(|error| error.to_string())
}

fn read_text<R: ReadAt>(volume: &Volume<R>, name: &str) -> Result<Option<String>, String> {
    match volume.read_file(name, seed::MAX_SEED_BYTES as u64) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| format!("{name} is no UTF-8 text: save it as UTF-8")),
        Err(ReadError::NotFound(_)) => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
