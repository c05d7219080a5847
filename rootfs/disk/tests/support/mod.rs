//! Finding and running the foreign tools that judge what we write. The builder's tests take this
//! file, too.

use std::path::PathBuf;
use std::process::{Command, Output};

/// The environment's variable that names a tool.
pub(crate) fn variable(tool: &str) -> String {
    tool.to_uppercase().replace(['.', '-'], "_")
}

/// Finds a tool by the environment (`FSCK_FAT=/path`) or in the usual folders. A test that gets
/// none says so and passes: the tool only is a second opinion.
pub(crate) fn oracle(tool: &str) -> Option<PathBuf> {
    let variable = variable(tool);
    if let Some(named) = std::env::var_os(&variable) {
        return Some(named.into());
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&search).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(tool)).find(|candidate| candidate.is_file());
    if found.is_none() {
        println!("skipped: {tool} is not there; name it with {variable}=/path/to/{tool}");
    }
    found
}

/// Runs a command, wants success, and gives back what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the tool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{}\n{}", text(&stdout), text(&stderr));
    text(&stdout)
}
