//! The SEED partition: readable, valid, and for this image.

use disk::fat::{self, NewFile, Timestamp};
use disk::gpt::Partition;
use seed::manifest::Manifest;

use super::Checks;
use super::compare::Comparison;
use crate::image::identity::SEED_FILE;
use crate::image::layout::Part;
use crate::image::open::OpenImage;
use crate::image::region::Region;
use crate::read::seeds::{self, SeedState};

/// The partition is compared in memory; the builder makes it some MiB large.
const MAX_PARTITION_BYTES: u64 = 256 << 20;

pub(super) fn check(image: &OpenImage, manifest: Option<&Manifest>, checks: &mut Checks<'_>) {
    if let Ok(partition) = image.partition(Part::Seed)
        && partition.size_bytes() > MAX_PARTITION_BYTES
    {
        checks.note("seed", Err(format!("a partition above {MAX_PARTITION_BYTES} bytes")));
        return;
    }
    let text = match seeds::text(image) {
        Ok(text) => text,
        Err(why) => {
            checks.note("seed", Err(why));
            return;
        }
    };
    let Some(text) = text else {
        checks.note("seed", empty(image));
        return;
    };
    let judged = match seeds::judge(&text) {
        SeedState::Good { node, cluster, .. } => Ok(format!("{node} of cluster {cluster}")),
        SeedState::Bad { why } => Err(why),
        SeedState::Absent => Err("it is empty".to_owned()),
    };
    checks.note("seed", judged);
    if let Some(manifest) = manifest {
        checks.note("seed, format", format(&text, manifest));
        checks.note("seed, layout", layout(image, &text, manifest.source_date));
    }
}

/// A partition without a seed must be empty: what was once a volume is damaged.
fn empty(image: &OpenImage) -> Result<String, String> {
    let partition = image.partition(Part::Seed).map_err(|error| error.to_string())?;
    let zeros = vec![0; usize::try_from(partition.size_bytes()).unwrap_or(0)];
    match compare(image, partition, &zeros)?.first_difference {
        None => Ok("none; give the image one with `builder seed`".to_owned()),
        Some(_) => Err("no seed.toml can be found: write it anew with `builder seed`".to_owned()),
    }
}

/// This builder may read a newer format than the image's node does.
fn format(text: &str, manifest: &Manifest) -> Result<String, String> {
    let document: toml::Table =
        text.parse().map_err(|_: toml::de::Error| "the seed is no TOML".to_owned())?;
    let format = document.get("format").and_then(toml::Value::as_integer);
    let format = format.ok_or("the seed does not say its format")?;
    let read = i64::from(manifest.seed_format);
    if format > read {
        return Err(format!(
            "the seed has format {format}, this image reads {read}: use a newer image"
        ));
    }
    Ok(format!("{format}, which this image reads"))
}

/// Formats the volume again and compares. People edit the seed on other machines, which write
/// volumes in their own way, but no way of writing changes a single byte: that is damage.
fn layout(image: &OpenImage, text: &str, date: u64) -> Result<String, String> {
    let partition = image.partition(Part::Seed).map_err(|error| error.to_string())?;
    let guid = partition.guid.bytes();
    let spec = fat::Spec {
        size_bytes: partition.size_bytes(),
        serial: u32::from_le_bytes([guid[0], guid[1], guid[2], guid[3]]),
        label: "SEED",
        time: Timestamp::from_unix(date),
    };
    let content = text.as_bytes().to_vec();
    let files = [NewFile { path: SEED_FILE, content: &content }];
    let wanted = fat::format_to_vec(&spec, &files).map_err(|error| error.to_string())?;
    let comparison = compare(image, partition, &wanted)?;
    match (comparison.differing_bytes, comparison.first_difference) {
        (1, Some(offset)) => Err(format!("byte {offset} of the partition is damaged")),
        (0, _) => Ok("as the builder writes it".to_owned()),
        _ => Ok("written by another program".to_owned()),
    }
}

fn compare<'a>(
    image: &'a OpenImage,
    partition: &Partition,
    wanted: &[u8],
) -> Result<Comparison<'a>, String> {
    let region = Region::new(&image.file, partition.offset_bytes(), partition.size_bytes());
    let mut comparison = Comparison::new(region);
    let compared = disk::WriteAt::write_all_at(&mut comparison, 0, wanted);
    compared.map(|()| comparison).map_err(|error| error.to_string())
}
