//! Facts from the kernel's files: a fixed list, each read with a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use ::control::{Fact, FactText, MAX_FACT_BYTES};

/// Links or disks that are listed; a node has a handful, containers may add many.
const LISTED: usize = 256;
/// Longest attribute in `/sys` that is shown.
const ATTRIBUTE_BYTES: u64 = 256;
/// Sectors in `/sys/block` have this size, whatever the disk says.
const SECTOR_BYTES: u64 = 512;

/// Reads a fact below `root`, which is `/` but in tests.
pub fn read(fact: Fact, root: &Path) -> io::Result<FactText> {
    let bytes = match (fact, fact.path()) {
        (_, Some(path)) => bounded(&root.join(path.trim_start_matches('/')))?,
        (Fact::Disks, None) => disks(&root.join("sys/block"))?.into_bytes(),
        (_, None) => links(&root.join("sys/class/net"))?.into_bytes(),
    };
    Ok(FactText::new(fact, &bytes))
}

/// The start of a file, with a byte more than is shown if there is more.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FACT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.flatten().take(LISTED);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// An attribute of a device; `-` if it has none.
fn attribute(path: &Path) -> String {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(ATTRIBUTE_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "-".to_owned(),
    }
}

fn disks(folder: &Path) -> io::Result<String> {
    let line = |name: &String| {
        let of = |attribute_name: &str| attribute(&folder.join(name).join(attribute_name));
        let bytes = of("size").parse::<u64>().unwrap_or(0).saturating_mul(SECTOR_BYTES);
        format!(
            "{name} bytes={bytes} read-only={} rotational={} removable={} model={}\n",
            of("ro"),
            of("queue/rotational"),
            of("removable"),
            of("device/model"),
        )
    };
    Ok(names(folder)?.iter().map(line).collect())
}

fn links(folder: &Path) -> io::Result<String> {
    let line = |name: &String| {
        let of = |attribute_name: &str| attribute(&folder.join(name).join(attribute_name));
        format!(
            "{name} state={} carrier={} mac={} mtu={} received={} sent={} errors={}/{} dropped={}/{}\n",
            of("operstate"),
            of("carrier"),
            of("address"),
            of("mtu"),
            of("statistics/rx_bytes"),
            of("statistics/tx_bytes"),
            of("statistics/rx_errors"),
            of("statistics/tx_errors"),
            of("statistics/rx_dropped"),
            of("statistics/tx_dropped"),
        )
    };
    Ok(names(folder)?.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each fact can be had from this machine's kernel, but for what an image or a setting adds.
    #[test]
    fn facts_are_there() {
        let optional = [
            Fact::Manifest,
            Fact::PressureCpu,
            Fact::PressureIo,
            Fact::PressureMemory,
            Fact::Routes,
            Fact::RoutesV6,
            Fact::Modules,
            Fact::Disks,
        ];
        for fact in Fact::ALL.iter().filter(|fact| !optional.contains(fact)) {
            let told = read(*fact, Path::new("/"));
            assert!(told.is_ok_and(|told| !told.text.is_empty()), "{fact}");
        }
    }

    #[test]
    fn devices_are_listed_by_name() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("sys/block/vda");
        fs::create_dir_all(disk.join("queue")).unwrap();
        fs::write(disk.join("size"), "2048\n").unwrap();
        fs::write(disk.join("ro"), "0\n").unwrap();
        fs::write(disk.join("queue/rotational"), "1\n").unwrap();
        fs::create_dir_all(root.path().join("sys/block/sr0")).unwrap();
        let told = read(Fact::Disks, root.path()).unwrap();
        assert_eq!(
            told.text,
            "sr0 bytes=0 read-only=- rotational=- removable=- model=-\n\
             vda bytes=1048576 read-only=0 rotational=1 removable=- model=-\n"
        );
        assert!(read(Fact::Links, root.path()).is_err());
    }
}
