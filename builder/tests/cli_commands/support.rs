//! What a run of the builder must have come to, and files for and of it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shared::command::{Ran, command, finish};

impl Ran {
    /// Wants this exit code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// Standard output as the one JSON object that it shall be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}", self.out);
        serde_json::from_str(&self.out).expect("a JSON object")
    }
}

/// Runs the builder to its end.
pub(crate) fn builder<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    finish(command().args(arguments))
}

/// The files of a folder whose names end so, in order.
pub(crate) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = folder.read_dir().expect("a folder").flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// What is left over in a folder although nobody gave it a name.
pub(crate) fn part_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, ".part")
}

/// A folder with a program that calls itself QEMU, says how it was started and ends.
pub(crate) fn put_idle_qemu(root: &Path) -> PathBuf {
    let folder = root.join("programs");
    let program = folder.join("qemu-system-x86_64");
    let script = "#!/bin/sh\necho QEMU emulator version 10.0.0 \"$@\"\n";
    fs::create_dir(&folder).expect("made");
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("set");
    folder
}
