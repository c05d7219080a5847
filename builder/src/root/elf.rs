//! What an ELF file needs at run time: its interpreter and its shared libraries.

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use thiserror::Error;

/// The first bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

#[derive(Debug, Error)]
pub enum ElfError {
    #[error("is a damaged ELF file: {0}")]
    Damaged(#[from] object::Error),
    #[error("names a library with bytes that are no text")]
    NotText,
}

/// What the dynamic loader will look for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The loader itself, for executables.
    pub interpreter: Option<String>,
    /// Library names, as `libc.so.6`.
    pub libraries: Vec<String>,
    /// Folders to look in first, with `$ORIGIN` still in them.
    pub search: Vec<String>,
}

/// Reads what a 64-bit ELF file needs. Object files and kernel modules need nothing.
pub fn needs(file: &[u8]) -> Result<Needs, ElfError> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let mut needs = Needs::default();
    let kind = header.e_type(endian);
    if kind != ET_EXEC && kind != ET_DYN {
        return Ok(needs);
    }
    let segments = header.program_headers(endian, file)?;
    for segment in segments {
        if segment.p_type(endian) == PT_INTERP
            && let Some(path) = segment.interpreter(endian, file)?
        {
            needs.interpreter = Some(text(path)?);
        }
    }
    let sections = header.sections(endian, file)?;
    let Some((entries, link)) = sections.dynamic(endian, file)? else {
        return Ok(needs);
    };
    let strings = sections.strings(endian, file, link)?;
    for entry in entries {
        let tag = entry.d_tag(endian);
        match tag {
            DT_NEEDED => needs.libraries.push(text(entry.string(endian, strings)?)?),
            DT_RPATH | DT_RUNPATH => {
                let folders = text(entry.string(endian, strings)?)?;
                needs.search.extend(folders.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(needs)
}

fn text(bytes: &[u8]) -> Result<String, ElfError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ElfError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_very_test_needs_the_c_library() {
        let own = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        let needs = needs(&own).expect("an ELF file");
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.so")), "{needs:?}");
        assert!(needs.interpreter.is_some());
    }

    fn own_head() -> Vec<u8> {
        let mut head = vec![0; 8192];
        let mut own = std::fs::File::open(std::env::current_exe().expect("a path")).expect("open");
        std::io::Read::read_exact(&mut own, &mut head).expect("readable");
        head
    }

    proptest! {
        #[test]
        fn damaged_files_are_refused_without_panic(
            cut in 0_usize..4096, flips in proptest::collection::vec((0_usize..4096, any::<u8>()), 0..8),
        ) {
            let mut own = own_head();
            own.truncate(4096 + cut);
            for (at, value) in flips {
                own[at] = value;
            }
            let _either = needs(&own);
        }
    }
}
