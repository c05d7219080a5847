//! When an image is not written to a device: pure decisions over facts.
//!
//! Everything that is wrong is said at once. `--force` is for those who know that they write a lab
//! image to hardware; nothing else gives way to it, because no one ever meant to overwrite the disk
//! that their machine runs from.

use std::fmt;

use super::facts::{DeviceFacts, ImageFacts, Kind, SeedState, Use};
use crate::progress::readable_bytes;

/// Why the image is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Partition { name: String, of: String },
    System { name: String },
    InUse(Use),
    ReadOnly { name: String },
    SectorSize { name: String, bytes: u64 },
    TooSmall { name: String, has: u64, needs: u64 },
    LabImage { why: &'static str },
}

/// What is allowed, but should be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    NoSeed,
    BadSeed,
}

impl Refusal {
    /// Whether `--force` is enough to go on.
    pub fn yields_to_force(&self) -> bool {
        matches!(self, Self::LabImage { .. })
    }
}

/// Everything that speaks against writing this image to this device.
pub fn refusals(device: &DeviceFacts, image: &ImageFacts) -> Vec<Refusal> {
    let name = || device.name.clone();
    let mut refusals = Vec::new();
    if let Kind::Partition { of } = &device.kind {
        refusals.push(Refusal::Partition { name: name(), of: of.clone() });
    }
    if device.is_system {
        refusals.push(Refusal::System { name: name() });
    }
    refusals.extend(device.uses.iter().cloned().map(Refusal::InUse));
    if device.read_only {
        refusals.push(Refusal::ReadOnly { name: name() });
    }
    if device.sector_bytes != disk::gpt::SECTOR_BYTES {
        refusals.push(Refusal::SectorSize { name: name(), bytes: device.sector_bytes });
    }
    if let Some(has) = device.bytes
        && has < image.bytes
    {
        refusals.push(Refusal::TooSmall { name: name(), has, needs: image.bytes });
    }
    if let Some(why) = lab_image(image) {
        refusals.push(Refusal::LabImage { why });
    }
    refusals
}

fn lab_image(image: &ImageFacts) -> Option<&'static str> {
    match (image.debug, image.stand_in) {
        (false, false) => None,
        (true, false) => Some("it has a shell"),
        (false, true) => Some("it has a stand-in for K3s"),
        (true, true) => Some("it has a shell and a stand-in for K3s"),
    }
}

/// What the user should know before saying yes.
pub fn warnings(image: &ImageFacts) -> Vec<Warning> {
    match image.seed {
        SeedState::Empty => vec![Warning::NoSeed],
        SeedState::Bad => vec![Warning::BadSeed],
        SeedState::Node { .. } => Vec::new(),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { name, of } => {
                write!(f, "{name} is a partition, and an image is a whole disk: name /dev/{of}")
            }
            Self::System { name } => {
                write!(f, "this machine runs from {name}: name another device")
            }
            Self::InUse(Use::Mounted { device, at }) => {
                write!(f, "{device} is mounted on {at}: unmount it first (umount {at})")
            }
            Self::InUse(Use::Swap { device }) => {
                write!(f, "{device} is swap space: give it up first (swapoff /dev/{device})")
            }
            Self::InUse(Use::Held { device, by }) => {
                write!(f, "{device} is part of {by}: take that apart first")
            }
            Self::ReadOnly { name } => {
                write!(f, "{name} is read-only: does the card have a lock that is set?")
            }
            Self::SectorSize { name, bytes } => write!(
                f,
                "{name} has sectors of {bytes} bytes, and an image is made for 512: take another \
                 disk, or switch it to 512 (`nvme format --lbaf` can do that to some)"
            ),
            Self::TooSmall { name, has, needs } => write!(
                f,
                "{name} holds {}, and the image needs {}: take a larger one, or make \
                 `partitions` smaller in the image definition",
                readable_bytes(*has),
                readable_bytes(*needs)
            ),
            Self::LabImage { why } => write!(
                f,
                "this is a lab image ({why}), not for a site: build with --image edge, or insist \
                 with --force"
            ),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSeed => {
                "the image has no seed: the node will wait for one; give it one afterwards with \
                 `builder seed DEVICE --set node.toml`"
            }
            Self::BadSeed => {
                "the seed in the image is not good: see `builder seed IMAGE`, and the node will \
                 wait for a better one"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn stick() -> DeviceFacts {
        DeviceFacts {
            kind: Kind::Disk,
            removable: true,
            ..DeviceFacts::of_file("sdb".to_owned(), Some(8 * GIB), Vec::new())
        }
    }

    fn edge() -> ImageFacts {
        let seed = SeedState::Node { node: "node1".to_owned(), cluster: "tiny".to_owned() };
        ImageFacts { bytes: GIB, debug: false, stand_in: false, seed }
    }

    fn mounted() -> Use {
        Use::Mounted { device: "sdb1".to_owned(), at: "/mnt".to_owned() }
    }

    #[test]
    fn an_idle_disk_takes_a_shipped_image() {
        assert_eq!(refusals(&stick(), &edge()), []);
        let exact = DeviceFacts { bytes: Some(GIB), ..stick() };
        assert_eq!(refusals(&exact, &edge()), []);
        let grows = DeviceFacts::of_file("disk.raw".to_owned(), None, Vec::new());
        assert_eq!(refusals(&grows, &edge()), []);
    }

    #[test]
    fn each_fact_that_matters_is_refused_with_its_mend() {
        let with = |change: fn(&mut DeviceFacts)| {
            let mut device = stick();
            change(&mut device);
            device
        };
        let used = |one| {
            let uses = vec![one];
            DeviceFacts { uses, ..stick() }
        };
        let device = || "sdb2".to_owned();
        let held = Use::Held { device: device(), by: "md0".to_owned() };
        let swap = Use::Swap { device: device() };
        let of = "sdb".to_owned();
        let kind = Kind::Partition { of };
        let table = [
            (DeviceFacts { kind, ..stick() }, "name /dev/sdb"),
            (with(|it| it.is_system = true), "this machine runs from sdb"),
            (used(mounted()), "umount /mnt"),
            (used(swap), "swapoff /dev/sdb2"),
            (used(held), "sdb2 is part of md0"),
            (with(|it| it.read_only = true), "sdb is read-only"),
            (with(|it| it.sector_bytes = 4096), "sectors of 4096 bytes"),
            (with(|it| it.bytes = Some(GIB - 512)), "needs 1.0 GB"),
        ];
        for (device, said) in table {
            let found = refusals(&device, &edge());
            let [refusal] = &found[..] else { panic!("{said}: {found:?}") };
            assert!(refusal.to_string().contains(said), "{refusal}");
            assert!(!refusal.yields_to_force(), "{refusal}");
        }
    }

    #[test]
    fn force_is_for_lab_images_and_nothing_else() {
        for (debug, stand_in, why) in [
            (true, false, "(it has a shell)"),
            (false, true, "(it has a stand-in for K3s)"),
            (true, true, "a shell and a stand-in"),
        ] {
            let image = ImageFacts { debug, stand_in, ..edge() };
            let found = refusals(&stick(), &image);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].yields_to_force() && found[0].to_string().contains(why));
            let busy = DeviceFacts { uses: vec![mounted()], is_system: true, ..stick() };
            let left = refusals(&busy, &image);
            assert_eq!(left.iter().filter(|refusal| !refusal.yields_to_force()).count(), 2);
        }
    }

    #[test]
    fn an_image_that_is_no_node_yet_is_only_remarked() {
        let empty = ImageFacts { seed: SeedState::Empty, ..edge() };
        assert_eq!(warnings(&empty), [Warning::NoSeed]);
        assert_eq!(warnings(&ImageFacts { seed: SeedState::Bad, ..edge() }), [Warning::BadSeed]);
        assert_eq!(warnings(&edge()), []);
        assert_eq!(refusals(&stick(), &empty), []);
    }
}
