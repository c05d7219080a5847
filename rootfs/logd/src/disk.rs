//! The folder of log files, as few calls that can fail.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// Most files that are held open; a node has fewer services.
const OPEN_MAX: usize = 64;

/// Most files that are looked at; the folder is ours, so more are a mistake of somebody's.
const LISTED_MAX: usize = 4096;

/// `O_NOFOLLOW`: a link in the folder leads nowhere.
const NO_FOLLOW: i32 = 0o400_000;

/// Where log files are. Tests have one that fails whenever they like.
pub trait Disk {
    /// Files and their sizes. Makes the folder if there is none.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;
    /// The last bytes of a file.
    fn tail(&mut self, name: &str, bytes: u64) -> io::Result<Vec<u8>>;
    /// Adds to a file, all or nothing; makes it if there is none.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn delete(&mut self, name: &str) -> io::Result<()>;
    /// Brings to the disk what was appended since the last call.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of a file system.
#[derive(Debug)]
pub struct FolderDisk {
    folder: PathBuf,
    open: BTreeMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    dirty: bool,
}

impl FolderDisk {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: BTreeMap::new() }
    }

    fn opened(&mut self, name: &str) -> io::Result<&mut Open> {
        if !self.open.contains_key(name) {
            if self.open.len() >= OPEN_MAX {
                self.sync()?;
                self.open.clear();
            }
            let opened = self.reopen(name)?;
            self.open.insert(name.to_owned(), opened);
        }
        self.open.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens a file at its end. A line that a power cut tore gets an end, so that the next one
    /// starts on its own.
    fn reopen(&self, name: &str) -> io::Result<Open> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(NO_FOLLOW)
            .open(self.folder.join(name))?;
        let mut length = file.seek(SeekFrom::End(0))?;
        if let Some(last) = length.checked_sub(1) {
            file.seek(SeekFrom::Start(last))?;
            let mut byte = [0];
            file.read_exact(&mut byte)?;
            if byte != *b"\n" {
                file.write_all(b"\n")?;
                length = length.saturating_add(1);
            }
        }
        Ok(Open { file, length, dirty: false })
    }

    /// Lets go of a file whose name is about to change; what it holds reaches the disk before.
    fn close(&mut self, name: &str) -> io::Result<()> {
        match self.open.remove(name) {
            Some(open) if open.dirty => open.file.sync_data(),
            _ => Ok(()),
        }
    }
}

impl Disk for FolderDisk {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        // Whatever was open may be another folder's by now.
        self.open.clear();
        DirBuilder::new().recursive(true).mode(0o750).create(&self.folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)?.take(LISTED_MAX) {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                found.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
            }
        }
        Ok(found)
    }

    fn tail(&mut self, name: &str, bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.folder.join(name))?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut tail = Vec::new();
        file.take(bytes).read_to_end(&mut tail)?;
        Ok(tail)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let open = self.opened(name)?;
        let written = open.file.write_all(bytes);
        if written.is_err() {
            // What did get through is half a line. If it can't be cut off either, the file is
            // opened anew the next time, which gives the half an end.
            let cut = open.file.set_len(open.length);
            if cut.is_err() {
                self.open.remove(name);
            }
            return written;
        }
        open.length = open.length.saturating_add(bytes.len() as u64);
        open.dirty = true;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.close(from)?;
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn delete(&mut self, name: &str) -> io::Result<()> {
        self.open.remove(name);
        fs::remove_file(self.folder.join(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        for open in self.open.values_mut().filter(|open| open.dirty) {
            open.file.sync_data()?;
            open.dirty = false;
        }
        Ok(())
    }
}
