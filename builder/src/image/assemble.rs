//! A composition becomes a disk: everything that all nodes of an image share.
//!
//! ```text
//!  root tree ─> ext4 ─> dm-verity ─> root hash ─┬─> identities of disk and partitions ─> GPT
//!                                               └─> command line ┐
//!  kernel, initramfs, stub ──────────────────────────────────────┴─> UKI ─> ESP
//! ```
//! The seed is not in it; [`super::identity`] adds it to a copy.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use disk::AccessFailed;
use disk::boot::{BootArguments, Slot, VerityParameters};
use disk::fat::{self, FormatError, NewFile, Timestamp};
use disk::gpt::{GptError, Partition, Table};
use disk::verity;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::cpio::{self, CpioError};
use super::ext4::{self, Ext4Error};
use super::layout::{self, Part};
use super::region::Region;
use super::uki::{self, Section, UkiError};
use super::verity::{HashTreeError, Verity};
use crate::progress::Progress;
use crate::root::compose::Composition;
use crate::root::definition::Definition;

/// Filesystem sizes are whole multiples of this, so that small changes keep the layout.
const ROOT_ROUNDING_BYTES: u64 = 1 << 20;
const COPY_BYTES: usize = 1 << 20;
const LOADER_SETTINGS: &str = "loader/loader.conf";
/// FAT has no checksums of its own, so the boot partition lists what its files must be, in the form
/// of `sha256sum`. Kernels are listed without their count of tries, which the boot loader changes.
pub const ESP_DIGESTS: &str = "loader/sha256sums";

#[derive(Debug, Error)]
pub enum AssembleError {
    #[error("root filesystem: {0}")]
    Ext4(#[from] Ext4Error),
    #[error("hash tree: {0}")]
    HashTree(#[from] HashTreeError),
    #[error("initramfs: {0}")]
    Cpio(#[from] CpioError),
    #[error("kernel image: {0}")]
    Uki(#[from] UkiError),
    #[error("boot partition: {0}; make partitions.esp larger in the image definition")]
    Esp(#[from] FormatError),
    #[error("partition table: {0}")]
    Gpt(#[from] GptError),
    #[error("the slot is too small for a hash tree: make partitions.slot larger")]
    SlotTooSmall,
    #[error("reading {what}: {source}")]
    Content { what: &'static str, source: io::Error },
    #[error("writing the image: {0}")]
    Write(#[from] io::Error),
    #[error("writing the image: {0}")]
    Access(#[from] AccessFailed),
}

/// What was assembled, for the report.
#[derive(Clone, Debug)]
pub struct Assembled {
    pub verity_root: verity::RootHash,
    pub root_bytes: u64,
    pub root_used_bytes: u64,
    pub disk_bytes: u64,
}

/// Writes everything but the seed into `file`, which must be new and empty.
pub fn assemble(
    file: &File,
    composition: &Composition,
    definition: &Definition,
    progress: &Progress,
) -> Result<Assembled, AssembleError> {
    let sizes = &definition.partitions;
    let disk_bytes = layout::disk_bytes(sizes);
    file.set_len(disk_bytes)?;

    // Where the partitions lie does not depend on their identities, which the root hash gives.
    let provisional = layout::table(sizes, definition.architecture, b"")?;
    let slot_a = find(&provisional, Part::Root(Slot::A))?;
    let step = progress.step("root filesystem");
    let salt = derived_salt(definition);
    let (written, verity) = write_root(file, composition, slot_a, &salt)?;
    let (files, size) = (composition.root.len(), written.used_bytes);
    step.finish(&format!("{files} entries, {}", crate::progress::readable_bytes(size)));

    let table = layout::table(sizes, definition.architecture, &verity.root_hash)?;
    let mut slots = vec![Slot::A];
    if sizes.fill_both_slots {
        let slot_b = find(&table, Part::Root(Slot::B))?;
        copy(file, slot_a.offset_bytes(), slot_b.offset_bytes(), verity.total_bytes)?;
        slots.push(Slot::B);
    }
    let step = progress.step("boot partition");
    let initramfs = cpio::to_vec(&composition.initramfs, &[cpio::Device::console()])?;
    let mut kernels = Vec::new();
    for slot in slots {
        let arguments = BootArguments {
            slot,
            root: find(&table, Part::Root(slot))?.guid,
            verity: VerityParameters {
                data_blocks: verity.data_blocks,
                salt,
                root_hash: verity.root_hash,
            },
        };
        let kernel = kernel_image(composition, definition, &arguments, &initramfs)?;
        // `+3`: systemd-boot gives a kernel three tries until the node marks it good.
        kernels.push((format!("EFI/Linux/edgepair-{}+3.efi", slot.letter()), kernel));
    }
    write_esp(file, &table, composition, definition, &kernels)?;
    step.finish(&format!("kernel {}", composition.kernel_release));
    for piece in table.encode()? {
        file.write_all_at(&piece.bytes, piece.offset)?;
    }
    Ok(Assembled {
        verity_root: verity.root_hash,
        root_bytes: written.bytes,
        root_used_bytes: written.used_bytes,
        disk_bytes,
    })
}

fn find(table: &Table, part: Part) -> Result<&Partition, AssembleError> {
    // The layout puts every part into the table; a missing one is a table that can't be.
    table.find_name(part.name()).ok_or(AssembleError::SlotTooSmall)
}

/// Names the image, so that equal content in two images still has different salts.
fn derived_salt(definition: &Definition) -> verity::RootHash {
    let name = format!("edgepair {} {}", definition.name, definition.version);
    Sha256::digest(name).into()
}

fn write_root(
    file: &File,
    composition: &Composition,
    slot: &Partition,
    salt: &verity::RootHash,
) -> Result<(ext4::Written, Verity), AssembleError> {
    let slot_bytes = slot.size_bytes();
    let tree_bytes = super::verity::tree_bytes(slot_bytes)?;
    let max_bytes = slot_bytes.checked_sub(tree_bytes).ok_or(AssembleError::SlotTooSmall)?;
    let uuid = layout::derived_guid(salt, "root filesystem");
    let spec = ext4::Spec {
        uuid,
        hash_seed: layout::derived_guid(salt, "directory hashes"),
        label: "edgepair-root".to_owned(),
        time: u32::try_from(composition.manifest.source_date).unwrap_or(u32::MAX),
        round_to_bytes: ROOT_ROUNDING_BYTES,
        max_bytes,
    };
    let written = ext4::write(file, slot.offset_bytes(), &composition.root, &spec)?;
    let verity = super::verity::append(file, slot.offset_bytes(), written.bytes, salt, uuid)?;
    Ok((written, verity))
}

fn copy(file: &File, from: u64, to: u64, length: u64) -> io::Result<()> {
    let mut chunk = vec![0; COPY_BYTES];
    let mut done = 0;
    while done < length {
        let step = (length - done).min(COPY_BYTES as u64);
        let part = &mut chunk[..usize::try_from(step).map_err(io::Error::other)?];
        file.read_exact_at(part, from + done)?;
        if part.iter().any(|byte| *byte != 0) {
            file.write_all_at(part, to + done)?;
        }
        done += step;
    }
    Ok(())
}

/// Has the kernel look for the backup of a partition table whose primary is damaged, as a power cut
/// while the node grows its disk may leave it. Without the word it would see no partition at all.
const FIND_BACKUP_TABLE: &str = "gpt";

/// The whole kernel command line of a slot.
pub fn command_line(definition: &Definition, arguments: &BootArguments) -> String {
    format!("{} {FIND_BACKUP_TABLE} {arguments}", definition.kernel.command_line.join(" "))
}

fn kernel_image(
    composition: &Composition,
    definition: &Definition,
    arguments: &BootArguments,
    initramfs: &[u8],
) -> Result<Vec<u8>, AssembleError> {
    let read = |what, content: &crate::root::content::Content| {
        content.to_vec().map_err(|source| AssembleError::Content { what, source })
    };
    let stub = read("the EFI stub", &composition.stub)?;
    let kernel = read("the kernel", &composition.kernel)?;
    let command_line = command_line(definition, arguments);
    let letter = arguments.slot.letter();
    // systemd-boot shows the name and starts the highest version first. Of two slots with the same
    // version that would be B, so B calls itself a little older: `~` sorts before everything.
    let older = if arguments.slot == Slot::B { "~b" } else { "" };
    let os_release = format!(
        "ID=edgepair\nNAME=Edgepair\nPRETTY_NAME=\"Edgepair {name} {version} (slot {letter})\"\n\
         VERSION_ID={version}{older}\nIMAGE_ID={name}\nIMAGE_VERSION={version}{older}\n",
        name = definition.name,
        version = definition.version,
    );
    let sections = [
        Section { name: ".osrel", data: os_release.as_bytes() },
        Section { name: ".cmdline", data: command_line.as_bytes() },
        Section { name: ".uname", data: composition.kernel_release.as_bytes() },
        Section { name: ".linux", data: &kernel },
        Section { name: ".initrd", data: initramfs },
    ];
    Ok(uki::assemble(&stub, &sections)?)
}

fn write_esp(
    file: &File,
    table: &Table,
    composition: &Composition,
    definition: &Definition,
    kernels: &[(String, Vec<u8>)],
) -> Result<(), AssembleError> {
    let partition = find(table, Part::Esp)?;
    let read_failed = |source| AssembleError::Content { what: "the boot loader", source };
    let loader = composition.boot_loader.to_vec().map_err(read_failed)?;
    let fallback = format!("EFI/BOOT/BOOT{}.EFI", definition.architecture.efi().to_uppercase());
    // An image with a shell has someone at its console; an appliance must not be stopped by a key.
    let menu = if composition.manifest.debug { "menu-hidden" } else { "0" };
    let settings = format!("timeout {menu}\neditor no\ndefault edgepair-*\n").into_bytes();
    let mut sums = digest_line(&loader, &fallback) + &digest_line(&settings, LOADER_SETTINGS);
    sums.extend(kernels.iter().map(|(path, kernel)| digest_line(kernel, path)));
    let sums = sums.into_bytes();
    let mut files = vec![
        NewFile { path: &fallback, content: &loader },
        NewFile { path: LOADER_SETTINGS, content: &settings },
        NewFile { path: ESP_DIGESTS, content: &sums },
    ];
    files.extend(kernels.iter().map(|(path, kernel)| NewFile { path, content: kernel }));
    let spec = fat::Spec {
        size_bytes: partition.size_bytes(),
        serial: volume_serial(table, Part::Esp),
        label: "ESP",
        time: Timestamp::from_unix(composition.manifest.source_date),
    };
    let mut region = Region::new(file, partition.offset_bytes(), partition.size_bytes());
    fat::format(&spec, &files, &mut region)?;
    Ok(())
}

/// One line of [`ESP_DIGESTS`].
fn digest_line(content: &[u8], path: &str) -> String {
    format!("{}  {}\n", verity::to_hex(&Sha256::digest(content)), without_tries(path))
}

/// `edgepair-a+3.efi` and `edgepair-a+2-1.efi` are both `edgepair-a.efi`.
pub fn without_tries(path: &str) -> String {
    match path.rsplit_once('+') {
        Some((name, _)) if path.ends_with(".efi") => format!("{name}.efi"),
        _ => path.to_owned(),
    }
}

/// A serial that follows from the disk's identity.
pub(super) fn volume_serial(table: &Table, part: Part) -> u32 {
    let guid = layout::derived_guid(&table.disk_guid.bytes(), part.name()).bytes();
    u32::from_le_bytes([guid[0], guid[1], guid[2], guid[3]])
}
