//! What a kernel module says of itself: the `.modinfo` section of its ELF file.

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ModinfoError {
    #[error("is no ELF file of a 64-bit machine: {0}")]
    Elf(#[from] object::Error),
    #[error("has no .modinfo section, so it is no kernel module")]
    NoModinfo,
}

/// The parts of `.modinfo` that decide what is loaded when.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Modinfo {
    /// Names of modules that must be loaded first.
    pub depends: Vec<String>,
    /// Patterns of the devices and services that this module is for.
    pub aliases: Vec<String>,
    /// Modules to load first where they exist; nothing breaks without them.
    pub soft_before: Vec<String>,
    /// Modules to load afterwards where they exist.
    pub soft_after: Vec<String>,
}

impl Modinfo {
    /// Reads an unpacked `.ko` file.
    pub fn read(module: &[u8]) -> Result<Self, ModinfoError> {
        let elf = ElfFile64::<Endianness>::parse(module)?;
        let section = elf.section_by_name(".modinfo").ok_or(ModinfoError::NoModinfo)?;
        Ok(Self::parse(section.data()?))
    }

    /// Reads the section: `key=value` texts that end with a zero byte.
    fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for record in section.split(|byte| *byte == 0) {
            let Ok(text) = std::str::from_utf8(record) else {
                continue;
            };
            match text.split_once('=') {
                Some(("depends", names)) => {
                    let named = names.split(',').filter(|name| !name.is_empty());
                    info.depends.extend(named.map(str::to_owned));
                }
                Some(("alias", pattern)) => info.aliases.push(pattern.to_owned()),
                Some(("softdep", rule)) => {
                    info.soft_before.extend(names_behind("pre:", rule));
                    info.soft_after.extend(names_behind("post:", rule));
                }
                _ => {}
            }
        }
        info
    }
}

/// The names that follow `pre:` or `post:` in a softdep rule.
fn names_behind(mark: &str, rule: &str) -> Vec<String> {
    let words = rule.split_whitespace().skip_while(|word| *word != mark).skip(1);
    words.take_while(|word| !word.ends_with(':')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_of_all_kinds_are_read() {
        let section = b"license=GPL\0depends=dm-mod,dm-bufio\0alias=pci:v*\0alias=virtio:d2\0\
            softdep=pre: crc32c-intel sha256 post: other\0";
        let info = Modinfo::parse(section);
        assert_eq!(info.depends, ["dm-mod", "dm-bufio"]);
        assert_eq!(info.aliases, ["pci:v*", "virtio:d2"]);
        assert_eq!(info.soft_before, ["crc32c-intel", "sha256"]);
    }

    #[test]
    fn an_empty_dependency_list_names_nobody() {
        assert!(Modinfo::parse(b"depends=\0").depends.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..512),
        ) {
            let _refused = Modinfo::read(&bytes);
            let _read = Modinfo::parse(&bytes);
        }
    }
}
