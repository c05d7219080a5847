//! The built image, judged by the programs that define its formats: Debian's own e2fsck, fsck.fat,
//! sgdisk and veritysetup, fetched by the builder. Nobody may skip this.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::build::source::Reach;
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::image::sparse::{self, Run};
use builder::progress::Progress;
use builder::project;
use builder::tools::{ORACLES, Unpacked};
use disk::boot::Slot;
use disk::verity::to_hex;
use qemu_tests::image::Bench;

fn tools() -> Unpacked {
    let cache = project::cache_folder(None).expect("a cache folder");
    let tools = ORACLES.obtain(&cache, &Reach::default(), &Progress::new(false));
    tools.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a tool and wants success; what it printed is in the message otherwise.
fn judge(tools: &Unpacked, name: &str, arguments: &[&str]) -> String {
    let output = Command::new(tools.program(name)).args(arguments).output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {}\n{said}", output.status);
    said
}

/// A partition as a file of its own, for tools that know no offsets.
fn extract(image: &OpenImage, part: Part, folder: &Path) -> PathBuf {
    let partition = image.partition(part).expect("it is there");
    let path = folder.join(part.name());
    let out = File::create_new(&path).expect("created");
    out.set_len(partition.size_bytes()).expect("sized");
    let run = Run { offset: partition.offset_bytes(), length: partition.size_bytes() };
    sparse::each_chunk(&image.file, run, &mut vec![0; 1 << 20], |bytes, offset| {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        out.write_all_at(bytes, offset - partition.offset_bytes())
    })
    .expect("copied");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

#[test]
fn the_root_filesystem_is_clean_and_its_hash_tree_is_veritysetups() {
    let tools = tools();
    let image = OpenImage::open(&Bench::get().image).expect("an image");
    let kernel = image.kernel(Slot::A).expect("slot A has a kernel");
    let folder = tempfile::tempdir().expect("a folder");
    let root = extract(&image, Part::Root(Slot::A), folder.path());
    judge(&tools, "e2fsck", &["-fn", text(&root)]);
    let verity = &kernel.arguments.verity;
    let offset = (verity.data_blocks * disk::verity::BLOCK_BYTES).to_string();
    let hash = to_hex(&verity.root_hash);
    let offset = format!("--hash-offset={offset}");
    judge(&tools, "veritysetup", &["verify", &offset, text(&root), text(&root), &hash]);
}

#[test]
fn the_fat_volumes_are_clean_and_hold_what_they_should() {
    let tools = tools();
    let image = OpenImage::open(&Bench::get().image).expect("an image");
    let folder = tempfile::tempdir().expect("a folder");
    let expected = [
        (Part::Esp, "::/loader/loader.conf", "default edgepair-*"),
        (Part::Seed, "::/seed.toml", "[node]"),
    ];
    for (part, file, line) in expected {
        let volume = extract(&image, part, folder.path());
        judge(&tools, "fsck.fat", &["-n", text(&volume)]);
        let said = judge(&tools, "mtools", &["-c", "mtype", "-i", text(&volume), file]);
        assert!(said.contains(line), "{file}: {said}");
    }
}

#[test]
fn the_partition_table_has_no_problems() {
    let bench = Bench::get();
    let said = judge(&tools(), "sgdisk", &["--verify", text(&bench.image)]);
    assert!(said.contains("No problems found"), "{said}");
}
