//! A run's folder: made once, filled by the rig and by us, and read again for the index.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use ledger::check::gap::{self, Gap};
use ledger::check::ownership;
use ledger::{History, Kind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::junit::junit;
use crate::run::Run;
use crate::timeline;

/// The format of `verdict.json`.
const FORMAT: u32 = 1;
/// Runs that begin in the same second get numbers up to this.
const SAME_SECOND_MAX: u32 = 1000;

/// A report that can't be written or read.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file or a folder.
    #[error("{path}: {source}; is there room, and may you write there?")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that isn't what it should be.
    #[error("{path}: {why}; delete the run's folder if it is of another version")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> ReportError + '_ {
    move |source| ReportError::File { path: path.to_owned(), source }
}

/// What was counted and measured in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Operations that were acknowledged.
    pub acknowledged: usize,
    /// Those that certainly failed.
    pub failed: usize,
    /// Those of which nobody knows.
    pub unknown: usize,
    /// The longest time without an acknowledgement, of the clients whose patience counts.
    #[serde(default)]
    pub gap: Option<Gap>,
    /// How often an address got another owner.
    pub owner_changes: usize,
}

impl Measured {
    /// Counts and measures.
    pub fn of(run: &Run, history: &History) -> Self {
        use ledger::Outcome::{Fail, Info, Ok};
        let count = |outcome| {
            history.operations.iter().filter(|operation| operation.outcome == outcome).count()
        };
        let gap = run.patience.and_then(|patience| {
            gap::longest(history, patience.kind, patience.from, patience.until)
        });
        Self {
            acknowledged: count(Ok),
            failed: count(Fail),
            unknown: count(Info),
            gap,
            owner_changes: run.addresses.iter().map(|a| ownership::changes(&a.reigns)).sum(),
        }
    }
}

/// `verdict.json`: a run and what was measured in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Always 1.
    pub format: u32,
    /// What was measured.
    pub measured: Measured,
    /// The run.
    pub run: Run,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a new folder below `reports`. Nobody else gets the same one, not even if two runs
    /// begin at once.
    pub fn create(
        reports: &Path,
        drill: &str,
        variant: &str,
        seed: u64,
        started_unix: u64,
    ) -> Result<Self, ReportError> {
        fs::create_dir_all(reports).map_err(at(reports))?;
        let variant =
            if variant.is_empty() { String::new() } else { format!("-{}", plain(variant)) };
        let name = format!("{}{variant}-{seed}-{started_unix}", plain(drill));
        let mut path = reports.join(&name);
        for number in 2..=SAME_SECOND_MAX {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    path = reports.join(format!("{name}-{number}"));
                }
                Err(error) => return Err(at(&path)(error)),
            }
        }
        Err(at(&path)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Where it is. The rig puts consoles and captures here.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes verdict, summary, history and page. Call it last: the page links to every file that
    /// is in the folder by then.
    pub fn write(&self, run: &Run, history: &History) -> Result<(), ReportError> {
        let record =
            Record { format: FORMAT, measured: Measured::of(run, history), run: run.clone() };
        let json = serde_json::to_string_pretty(&record).map_err(|error| self.wrong(&error))?;
        let mut lines = Vec::new();
        history.write(&mut lines).map_err(at(&self.path))?;
        whole(&self.path.join("verdict.json"), json.as_bytes())?;
        whole(&self.path.join("junit.xml"), junit(std::slice::from_ref(run)).as_bytes())?;
        whole(&self.path.join("history.jsonl"), &lines)?;
        let files = files(&self.path)?;
        let page = timeline::page(&record, history, &files).map_err(|error| self.wrong(&error))?;
        whole(&self.path.join("timeline.html"), page.as_bytes())
    }

    fn wrong(&self, why: &dyn std::fmt::Display) -> ReportError {
        ReportError::Content { path: self.path.clone(), why: why.to_string() }
    }
}

/// Reads `verdict.json` of a folder; none if it has none, because its run isn't over or was killed.
pub fn read(folder: &Path) -> Result<Option<Record>, ReportError> {
    let path = folder.join("verdict.json");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path)(error)),
    };
    let record: Record = serde_json::from_reader(BufReader::new(file))
        .map_err(|error| ReportError::Content { path: path.clone(), why: error.to_string() })?;
    if record.format != FORMAT {
        let why = format!("it is of format {}, and this program reads {FORMAT}", record.format);
        return Err(ReportError::Content { path, why });
    }
    Ok(Some(record))
}

/// Puts a file into place at once: who looks sees the old one or the new one.
pub(crate) fn whole(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.part", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = File::create(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|error| {
        // What is left of it is of use to nobody; the first error is what matters.
        let _removed = fs::remove_file(&unfinished);
        at(path)(error)
    })
}

/// What lies in a run's folder, by relative path, our own page aside.
fn files(folder: &Path) -> Result<Vec<String>, ReportError> {
    let mut found = Vec::new();
    let mut queue = vec![folder.to_owned()];
    while let Some(next) = queue.pop() {
        for entry in fs::read_dir(&next).map_err(at(&next))? {
            let path = entry.map_err(at(&next))?.path();
            if path.is_dir() {
                queue.push(path);
            } else if let Ok(below) = path.strip_prefix(folder) {
                found.push(below.to_string_lossy().into_owned());
            }
        }
    }
    found.retain(|name| name != "timeline.html" && !name.ends_with(".part"));
    found.sort();
    Ok(found)
}

/// A name that is plain in every file system and every address.
fn plain(text: &str) -> String {
    let keeps = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().map(|c| if keeps(c) { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// The kind's name as operators read it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Ping => "ping",
        Kind::Append => "append",
        Kind::Read => "read",
    }
}
