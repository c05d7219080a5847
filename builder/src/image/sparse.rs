//! Copying and hashing image files, which are mostly holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

const CHUNK_BYTES: usize = 1 << 20;

/// A run of bytes that is stored; what lies between runs reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub offset: u64,
    pub length: u64,
}

/// The stored runs of a file, in order. A filesystem that knows no holes has one run.
pub fn runs(file: &File) -> io::Result<Vec<Run>> {
    let size = file.metadata()?.len();
    let mut runs = Vec::new();
    let mut position = 0;
    while position < size {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) => {
                return Ok(vec![Run { offset: 0, length: size }]);
            }
            Err(errno) => return Err(errno.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        runs.push(Run { offset: start, length: end - start });
        position = end;
    }
    Ok(runs)
}

/// Makes `to`, which must be empty, the same as `from`, holes included.
pub fn copy(from: &File, to: &File) -> io::Result<()> {
    // Filesystems that can share blocks make the copy in no time.
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    to.set_len(from.metadata()?.len())?;
    let mut chunk = vec![0; CHUNK_BYTES];
    for run in runs(from)? {
        each_chunk(from, run, &mut chunk, |part, offset| to.write_all_at(part, offset))?;
    }
    Ok(())
}

/// Reads a run piece by piece.
pub fn each_chunk(
    file: &File,
    run: Run,
    chunk: &mut [u8],
    mut each: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = run.offset;
    let end = run.offset + run.length;
    while offset < end {
        let step = (end - offset).min(chunk.len() as u64);
        let part = &mut chunk[..usize::try_from(step).map_err(io::Error::other)?];
        file.read_exact_at(part, offset)?;
        each(part, offset)?;
        offset += step;
    }
    Ok(())
}

/// Hashes an image in two parts, so that images with a common beginning hash that once.
#[derive(Clone)]
pub struct ImageHasher {
    hasher: Sha256,
    position: u64,
}

impl std::fmt::Debug for ImageHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageHasher").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Default for ImageHasher {
    fn default() -> Self {
        Self { hasher: Sha256::new(), position: 0 }
    }
}

impl ImageHasher {
    /// Goes on hashing up to `end`.
    pub fn advance(&mut self, file: &File, end: u64) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let run = Run { offset: self.position, length: end - self.position };
        each_chunk(file, run, &mut chunk, |part, _| {
            self.hasher.update(part);
            Ok(())
        })?;
        self.position = end;
        Ok(())
    }

    /// The hash of everything so far, in hexadecimal.
    pub fn finish(self) -> String {
        disk::verity::to_hex(&self.hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse_file() -> File {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(3 << 20).expect("sized");
        file.write_all_at(b"in the middle", 1 << 20).expect("written");
        file
    }

    #[test]
    fn a_copy_has_the_same_bytes() {
        let from = sparse_file();
        let to = tempfile::tempfile().expect("a file");
        copy(&from, &to).expect("copied");
        let hash = |file: &File| {
            let mut hasher = ImageHasher::default();
            hasher.advance(file, file.metadata().expect("known").len()).expect("hashed");
            hasher.finish()
        };
        assert_eq!(hash(&from), hash(&to));
    }

    #[test]
    fn a_hash_in_two_parts_is_the_hash_of_the_whole() {
        let file = sparse_file();
        let mut whole = ImageHasher::default();
        whole.advance(&file, 3 << 20).expect("hashed");
        let mut parts = ImageHasher::default();
        parts.advance(&file, (1 << 20) + 5).expect("hashed");
        parts.clone().advance(&file, 2 << 20).expect("a second way on");
        parts.advance(&file, 3 << 20).expect("hashed");
        assert_eq!(whole.finish(), parts.finish());
    }
}
