//! The STATE partition of a machine's disk, looked at from outside while the machine is off.

use std::path::Path;
use std::process::Command;

use builder::build::source::Reach;
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::progress::Progress;
use builder::project;
use builder::tools::{ORACLES, Unpacked};
use disk::gpt::Partition;

/// The programs that look.
pub fn tools() -> Unpacked {
    let cache = project::cache_folder(None).expect("a cache folder");
    let tools = ORACLES.obtain(&cache, &Reach::default(), &Progress::new(false));
    tools.unwrap_or_else(|error| panic!("{error}"))
}

/// The partition, as the disk's table has it now.
pub fn partition(disk: &Path) -> Partition {
    OpenImage::open(disk).expect("a table").partition(Part::State).expect("STATE").clone()
}

/// What a tool says of STATE while it lies within its disk.
pub fn ask(program: &str, arguments: &[&str], disk: &Path) -> (bool, Vec<u8>) {
    let place = format!("{}?offset={}", disk.display(), partition(disk).offset_bytes());
    let output = Command::new(tools().program(program)).args(arguments).arg(place).output();
    let output = output.expect("it starts");
    (output.status.success(), output.stdout)
}

/// A file's bytes; none if it isn't there.
pub fn file(disk: &Path, path: &str) -> Vec<u8> {
    ask("debugfs", &["-R", &format!("cat {path}")], disk).1
}

/// A log file, as `logd` left it.
pub fn log(disk: &Path, name: &str) -> String {
    String::from_utf8_lossy(&file(disk, &format!("/logs/{name}.log"))).into_owned()
}
