//! Flashing a real block device, where there is one to spare: `BLOCK_DEVICE=/dev/loop7`, of 100 MB
//! or more. What is on it is lost, and without it the test says that it was skipped.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use builder::image::open::OpenImage;
use rustix::fs::OFlags;

use crate::shared::flashable::{Choice, SEED, image};
use crate::support::{builder, text};

#[test]
fn a_device_is_flashed_and_given_a_seed_unless_it_is_in_use() {
    let Some(device) = std::env::var_os("BLOCK_DEVICE").map(PathBuf::from) else {
        println!("skipped: name a block device that may be overwritten with BLOCK_DEVICE");
        return;
    };
    let (folder, image) = image(Choice { seed: Some(SEED), ..Choice::SHIPPED });
    let flash = || builder(["flash", text(&image), text(&device), "--yes"]);
    let exclusive = i32::try_from(OFlags::EXCL.bits()).expect("a flag");
    let held = File::options().read(true).custom_flags(exclusive).open(&device).expect("idle");
    let refused = flash().ended(1);
    assert!(refused.err.contains("is in use"), "{}", refused.err);
    drop(held);

    let ran = flash().ended(0);
    assert!(ran.err.contains(&format!("device  {}: ", text(&device))), "{}", ran.err);
    let written = OpenImage::open(&device).expect("an image");
    assert!(written.table.is_healthy(written.bytes / 512), "{:?}", written.table);
    let seed = folder.path().join("node2.toml");
    std::fs::write(&seed, SEED.replace("node1", "node2")).expect("written");
    let set = builder(["seed", text(&device), "--set", text(&seed)]).ended(0);
    assert!(set.out.contains("now node2, was node1"), "{}", set.out);
}
