//! `nodectl support-bundle`: everything that helps somebody far away, in one file.
//!
//! It is put together here, from the same requests that anyone can make, so it can't hold more than
//! the operator may see. What looks like a secret is taken out. The file appears whole or not at
//! all, and a piece that can't be had is named in it instead of spoiling the rest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use control::{Answer, Fact, Logs, PgRequest, Request};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Node, log_text, note};
use crate::cli::Failure;
use crate::client::ClientError;
use crate::show::{Style, compact_utc, redacted, screen};

/// Log lines in a bundle: some 10 MiB at most, and hours of an ordinary node.
const LOG_LINES: u32 = 20_000;

/// Why the bundle can't be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; choose another file with -o", path.display())]
pub(crate) struct BundleError {
    path: PathBuf,
    source: io::Error,
}

/// The pieces of a bundle, by name.
struct Pieces {
    texts: Vec<(String, String)>,
    missing: String,
}

impl Pieces {
    fn add(&mut self, name: &str, piece: Result<String, ClientError>) {
        match piece {
            Ok(text) => self.texts.push((name.to_owned(), redacted(&text))),
            Err(error) => self.missing.push_str(&format!("{name}: {error}\n")),
        }
    }
}

impl Node {
    pub(crate) fn bundle(&self, output: Option<&Path>) -> Result<(), Failure> {
        // Without its status there is no node to bundle; everything else may be missing.
        let status = self.ask_status()?;
        let name = status.node.as_deref().unwrap_or("node-without-seed");
        let time = compact_utc(status.clock.unix_ms);
        let stem = format!("support-{name}-{time}");
        let mut pieces = Pieces { texts: Vec::new(), missing: String::new() };
        let json = serde_json::to_string_pretty(&status).unwrap_or_default();
        pieces.add("status.json", Ok(json));
        pieces.add("status.txt", Ok(screen(&status, Style::Plain)));
        pieces.add("logs.txt", self.all_logs());
        if status.services.iter().any(|service| service.name == "pgkeeper") {
            let request = Request::Pg(PgRequest::Status);
            pieces.add("database.json", self.text_of(&request));
        }
        pieces.add("top.json", self.text_of(&Request::Top));
        pieces.add("metrics.txt", self.all_metrics());
        for fact in Fact::ALL {
            let piece = self.text_of(&Request::Get { fact: *fact });
            pieces.add(&format!("facts/{fact}.txt"), piece);
        }
        if !pieces.missing.is_empty() {
            let missing = std::mem::take(&mut pieces.missing);
            note("some pieces could not be had; missing.txt in the bundle names them");
            pieces.texts.push(("missing.txt".to_owned(), missing));
        }
        let path = output.map_or_else(|| PathBuf::from(format!("{stem}.tar.gz")), Path::to_owned);
        let wrap = |source| BundleError { path: path.clone(), source };
        write_whole(&path, |file| pack(file, &stem, status.clock.unix_ms / 1000, &pieces.texts))
            .map_err(wrap)?;
        note(&format!("{} is written", path.display()));
        Ok(())
    }

    /// An answer of one line as text.
    fn text_of(&self, request: &Request) -> Result<String, ClientError> {
        match self.client.one(request)? {
            Answer::Fact(told) => Ok(told.text),
            Answer::Metrics { text } => Ok(text),
            Answer::Database(told) => Ok(serde_json::to_string_pretty(&told).unwrap_or_default()),
            Answer::Top(top) => Ok(serde_json::to_string_pretty(&top).unwrap_or_default()),
            _ => Err(self.client.unexpected()),
        }
    }

    fn all_logs(&self) -> Result<String, ClientError> {
        let logs = Logs { service: None, lines: LOG_LINES, follow: false, from_seq: None };
        let mut answers = self.client.ask(&Request::Logs(logs), false)?;
        let mut text = String::new();
        while let Some(answer) = answers.next()? {
            match answer {
                Answer::Log(line) => text.push_str(&log_text(&line)),
                Answer::Missed { lines } => text.push_str(&format!("({lines} lines missing)\n")),
                _ => return Err(self.client.unexpected()),
            }
        }
        Ok(text)
    }
}

fn pack(file: &mut File, stem: &str, time: u64, texts: &[(String, String)]) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, text) in texts {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(text.len()).unwrap_or(u64::MAX));
        header.set_mode(0o600);
        header.set_mtime(time);
        archive.append_data(&mut header, format!("{stem}/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// Writes beside the file and renames, so that the name never stands for a part.
fn write_whole(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut unfinished = std::ffi::OsString::from(".");
    unfinished.push(name);
    unfinished.push(".unfinished");
    let unfinished = path.with_file_name(unfinished);
    // Only its owner may read it: logs tell a lot even without secrets.
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let written =
        fill(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _half = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.tar.gz");
        let failed = write_whole(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
