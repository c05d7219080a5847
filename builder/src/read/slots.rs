//! The two slots: what each would boot.

use disk::boot::Slot;
use disk::verity::to_hex;
use serde::Serialize;

use crate::image::open::{OpenError, OpenImage, SlotKernel};

/// How often a kernel may still fail to boot, as systemd-boot writes it into the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Tries {
    /// No count: the node found it good.
    Good,
    Counting {
        left: u32,
        failed: u32,
    },
    /// The name has a `+` but no count behind it.
    Unreadable,
}

/// What is known of a slot that has a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotFacts {
    /// `a` or `b`.
    pub slot: &'static str,
    pub kernel_file: String,
    pub tries: Tries,
    pub kernel_release: String,
    pub command_line: String,
    pub verity_root: String,
    /// Bytes of the filesystem, without its hash tree.
    pub data_bytes: u64,
}

impl Tries {
    /// Reads the count from a file name such as `edgepair-a+2-1.efi`.
    pub fn of(file_name: &str) -> Self {
        let Some((_, count)) = file_name.trim_end_matches(".efi").rsplit_once('+') else {
            return Self::Good;
        };
        let (left, failed) = count.split_once('-').unwrap_or((count, "0"));
        match (left.parse(), failed.parse()) {
            (Ok(left), Ok(failed)) => Self::Counting { left, failed },
            _ => Self::Unreadable,
        }
    }
}

impl std::fmt::Display for Tries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good => f.write_str("marked good"),
            Self::Counting { left, failed: 0 } => write!(f, "{left} tries left, never booted"),
            Self::Counting { left, failed } => write!(f, "{left} tries left after {failed}"),
            Self::Unreadable => f.write_str("unreadable count of tries"),
        }
    }
}

/// The facts of a slot's kernel.
pub fn facts(image: &OpenImage, kernel: &SlotKernel) -> Result<SlotFacts, OpenError> {
    let release = String::from_utf8_lossy(image.section(kernel, ".uname")?).into_owned();
    let verity = &kernel.arguments.verity;
    Ok(SlotFacts {
        slot: kernel.slot.letter(),
        kernel_file: kernel.file_name.clone(),
        tries: Tries::of(&kernel.file_name),
        kernel_release: release.trim_end_matches('\0').to_owned(),
        command_line: kernel.command_line.clone(),
        verity_root: to_hex(&verity.root_hash),
        data_bytes: verity.data_blocks * disk::verity::BLOCK_BYTES,
    })
}

/// The kernels of all slots that have one; a slot whose kernel can't be read becomes a sentence.
pub fn kernels(image: &OpenImage) -> (Vec<SlotKernel>, Vec<String>) {
    let (mut kernels, mut faults) = (Vec::new(), Vec::new());
    let slots = image.slots().unwrap_or_else(|error| {
        faults.push(error.to_string());
        Vec::new()
    });
    for slot in slots {
        match image.kernel(slot) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => faults.push(error.to_string()),
        }
    }
    if kernels.is_empty() && faults.is_empty() {
        let names: Vec<&str> = Slot::BOTH.iter().map(|slot| slot.letter()).collect();
        faults.push(format!("no kernel for any of the slots {}", names.join(" and ")));
    }
    (kernels, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_read_from_names() {
        assert_eq!(Tries::of("edgepair-a.efi"), Tries::Good);
        assert_eq!(Tries::of("edgepair-a+3.efi"), Tries::Counting { left: 3, failed: 0 });
        assert_eq!(Tries::of("edgepair-b+2-1.efi"), Tries::Counting { left: 2, failed: 1 });
        assert_eq!(Tries::of("edgepair-b+x.efi"), Tries::Unreadable);
    }
}
