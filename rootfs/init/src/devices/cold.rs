//! Cold-plug: the devices that were there before anyone listened.
//!
//! Every device of a bus or class has a link below `/sys/bus` or `/sys/class`; following these
//! visits each device once, where a walk over the tree of `/sys/devices` would open every folder in
//! between. A driver that comes finds more devices behind its own, so rounds follow until one
//! brings nothing new.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::modules::Loader;

/// A disk behind a controller behind a bridge behind a bus: no machine nests half as deep.
const MAX_ROUNDS: usize = 8;
/// More devices than a large server has; what a hostile USB device adds ends here.
const MAX_DEVICES: usize = 16_384;
/// `modalias` is at most a page.
const MODALIAS_MAX: usize = 4096;

/// What a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Descriptions of devices that were looked up.
    pub(crate) devices: usize,
    /// Names of modules that are new.
    pub(crate) loaded: Vec<String>,
    /// A module that should have been loaded and couldn't be.
    pub(crate) troubles: Vec<String>,
}

/// Loads what the machine's devices ask for. `done` says when to stop early; it is asked whenever
/// something new was loaded.
pub(crate) fn plug(loader: &Loader<'_>, done: &mut dyn FnMut() -> bool) -> Walked {
    let mut known = BTreeSet::new();
    let mut walked = Walked::default();
    for _ in 0..MAX_ROUNDS {
        let new: Vec<String> = modaliases(Path::new("/sys"))
            .into_iter()
            .filter(|alias| !known.contains(alias))
            .collect();
        if new.is_empty() {
            break;
        }
        for alias in new {
            let before = walked.loaded.len();
            load_for(loader, &alias, &mut walked);
            known.insert(alias);
            if walked.loaded.len() > before && done() {
                return walked;
            }
        }
    }
    walked
}

/// Loads what one device asks for. A device without a driver here is as good as any.
pub(crate) fn load_for(loader: &Loader<'_>, alias: &str, walked: &mut Walked) {
    use crate::modules::ModuleError;

    walked.devices += 1;
    match loader.load(alias, "") {
        Ok(new) => walked.loaded.extend(new),
        Err(ModuleError::Unknown { .. }) => {}
        // A driver that finds its device isn't one after all says so with this error.
        Err(ModuleError::Refused { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(ModuleError::Refused { source, .. })
            if source.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
        Err(error) => walked.troubles.push(error.to_string()),
    }
}

/// What the devices below a `/sys` say they are, each once.
fn modaliases(sys: &Path) -> BTreeSet<String> {
    let buses = entries(&sys.join("bus")).into_iter().map(|bus| bus.join("devices"));
    let folders = buses.chain(entries(&sys.join("class")));
    let devices = folders.flat_map(|folder| entries(&folder));
    // The processor's features are those of no single device.
    let processor = sys.join("devices/system/cpu");
    let read = |device: PathBuf| {
        let text = fs::read_to_string(device.join("modalias")).ok()?;
        let text = text.trim_end();
        (!text.is_empty() && text.len() <= MODALIAS_MAX).then(|| text.to_owned())
    };
    devices.chain([processor]).take(MAX_DEVICES).filter_map(read).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_buses_and_classes_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let lay = |device: &str, text: &str| {
            let device = folder.path().join(device);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("modalias"), text).unwrap();
        };
        lay("bus/pci/devices/0000:00:01.0", "pci:v1\n");
        lay("bus/pci/devices/0000:00:02.0", "pci:v1\n");
        lay("class/input/input0", "input:b0\n");
        lay("devices/system/cpu", "cpu:type:x86\n");
        lay("bus/usb/devices/1-1", "\n");
        let found: Vec<String> = modaliases(folder.path()).into_iter().collect();
        assert_eq!(found, ["cpu:type:x86", "input:b0", "pci:v1"]);
        assert!(modaliases(Path::new("/nonexistent")).is_empty());
    }
}
