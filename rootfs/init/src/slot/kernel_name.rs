//! The names of kernels on the boot partition, in which systemd-boot counts tries.
//!
//! ```text
//!  edgepair-a+3.efi ─> +2-1 ─> +1-2 ─> +0-3     each start by the boot loader takes one try
//!         └──────┬───────┴───────┴──────┘
//!                ├─ the node is healthy ─> edgepair-a.efi         never counted again
//!                └─ its root is damaged ─> edgepair-a+0-99.efi    after every other in the order
//! ```

use std::fmt;

use disk::boot::Slot;

/// What a damaged root's kernel has as "done": no count reaches it, and a kernel on its last try,
/// which is good if the node becomes healthy, looks different.
const DAMAGED_DONE: u32 = 99;

/// A slot's kernel, as its file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelName {
    pub(crate) slot: Slot,
    pub(crate) tries: Tries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tries {
    /// A node was healthy with it.
    Good,
    Counted {
        left: u32,
        done: u32,
    },
    /// Its root was found damaged.
    Damaged,
}

impl KernelName {
    /// Reads a file name; none if it is not one of ours.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".efi")?.strip_prefix("edgepair-")?;
        let (letter, count) = stem.split_once('+').map_or((stem, None), |(l, c)| (l, Some(c)));
        let slot = Slot::BOTH.into_iter().find(|slot| slot.letter() == letter)?;
        let tries = match count {
            None => Tries::Good,
            Some(count) => {
                let (left, done) = count.split_once('-').unwrap_or((count, "0"));
                match (number(left)?, number(done)?) {
                    (0, DAMAGED_DONE) => Tries::Damaged,
                    (left, done) => Tries::Counted { left, done },
                }
            }
        };
        Some(Self { slot, tries })
    }

    /// Whether the boot loader still starts it by itself.
    pub(crate) fn is_usable(self) -> bool {
        match self.tries {
            Tries::Good => true,
            Tries::Counted { left, .. } => left > 0,
            Tries::Damaged => false,
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for KernelName {
    /// The file name, as the builder and the boot loader write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edgepair-{}", self.slot.letter())?;
        match self.tries {
            Tries::Good => {}
            Tries::Counted { left, done: 0 } => write!(f, "+{left}")?,
            Tries::Counted { left, done } => write!(f, "+{left}-{done}")?,
            Tries::Damaged => write!(f, "+0-{DAMAGED_DONE}")?,
        }
        f.write_str(".efi")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_names_of_the_drawing() {
        let name = |file| KernelName::parse(file).map(|name| name.tries);
        assert_eq!(name("edgepair-a.efi"), Some(Tries::Good));
        assert_eq!(name("edgepair-a+3.efi"), Some(Tries::Counted { left: 3, done: 0 }));
        assert_eq!(name("edgepair-b+0-3.efi"), Some(Tries::Counted { left: 0, done: 3 }));
        assert_eq!(name("edgepair-b+0-99.efi"), Some(Tries::Damaged));
        let usable = |file| KernelName::parse(file).unwrap().is_usable();
        assert!(usable("edgepair-a.efi") && usable("edgepair-a+1-2.efi"));
        assert!(!usable("edgepair-a+0-3.efi") && !usable("edgepair-a+0-99.efi"));
    }

    #[test]
    fn other_files_are_not_ours() {
        for other in [
            "edgepair-c.efi",
            "edgepair-attic.efi",
            "edgepair-a+.efi",
            "a.efi",
            "",
            "edgepair-a+3-.efi",
            "edgepair-a++3.efi",
            "edgepair-a+99999999999.efi",
            "edgepair-a",
        ] {
            assert_eq!(KernelName::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(left in 0_u32..1000, done in 0_u32..1000, b in any::<bool>()) {
            let slot = if b { Slot::B } else { Slot::A };
            let tries = if (left, done) == (0, DAMAGED_DONE) {
                Tries::Damaged
            } else {
                Tries::Counted { left, done }
            };
            let name = KernelName { slot, tries };
            prop_assert_eq!(KernelName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn no_input_panics(file in any::<String>()) {
            let _either = KernelName::parse(&file);
        }
    }
}
