//! Our own binaries for the node, built by cargo as needed: static, small, and the same bytes
//! wherever the checkout lies.

use std::env;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

use crate::project::Project;
use crate::root::definition::Architecture;
use crate::unfinished::Running;

/// The packages whose binary of the same name goes onto the node.
const PACKAGES: &[&str] = &["clockd", "init", "logd", "nodectl", "pgkeeper", "vipd"];
/// The profile of `Cargo.toml` for them.
const PROFILE: &str = "node";
/// How variables begin by which a cargo tells a program of which package it is.
const OF_OUTER_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

#[derive(Debug, Error)]
pub enum NodeError {
    #[error("can't start cargo ({}): {source}; a Rust toolchain is needed to build the node's \
             binaries", cargo.display())]
    Start { cargo: PathBuf, source: io::Error },
    #[error("cargo could not build the node's binaries for {target}:\n{output}\n{hint}")]
    Failed { target: &'static str, output: String, hint: String },
}

/// A built binary.
#[derive(Clone, Debug)]
pub struct NodeBinary {
    pub name: &'static str,
    pub path: PathBuf,
}

/// Cargo as a shell would start it, also where a cargo has started us: the script of `ring` watches
/// what an outer cargo sets, so that `ring`, and all that is built upon it, would be built anew
/// whenever the one follows upon the other.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env_remove("OUT_DIR");
    for (name, _) in env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if OF_OUTER_PACKAGE.iter().any(|start| bytes.starts_with(start.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds what is not up to date and says where it lies.
pub fn build(
    project: &Project,
    architecture: Architecture,
    offline: bool,
) -> Result<Vec<NodeBinary>, NodeError> {
    build_packages(PACKAGES, project, architecture, offline)
}

/// The same for other packages of the workspace: what only tests put into a guest.
pub fn build_packages(
    packages: &[&'static str],
    project: &Project,
    architecture: Architecture,
    offline: bool,
) -> Result<Vec<NodeBinary>, NodeError> {
    let target = architecture.rust_target();
    // A folder of its own: the flags differ from the desk's, and cargo would lock out a cargo that
    // is waiting for us.
    let folder = project.root().join("target/node");
    let mut command = cargo();
    command.current_dir(project.root()).stdin(Stdio::null());
    command.args(["build", "--locked", "--profile", PROFILE, "--target", target]);
    command.arg("--target-dir").arg(&folder);
    for package in packages {
        command.args(["--package", package]);
    }
    if offline {
        command.arg("--offline");
    }
    // What the outer cargo set for the desk's build is not meant for this one.
    for variable in ["RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(project).join("\x1f"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let (status, said) = run(&mut command).map_err(|source| {
        let cargo = PathBuf::from(command.get_program());
        NodeError::Start { cargo, source }
    })?;
    if !status.success() {
        let output = said.trim_end().to_owned();
        return Err(NodeError::Failed { target, hint: hint(&output, target), output });
    }
    let binary = |&name| NodeBinary { name, path: folder.join(target).join(PROFILE).join(name) };
    Ok(packages.iter().map(binary).collect())
}

/// Runs a program to its end; gives what it wrote to standard error.
fn run(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut running = Running::spawn(command)?;
    let mut said = Vec::new();
    if let Some(mut errors) = running.child().stderr.take() {
        errors.read_to_end(&mut said)?;
    }
    Ok((running.wait()?, String::from_utf8_lossy(&said).into_owned()))
}

/// Static, and without the paths of this machine in panic messages.
fn flags(project: &Project) -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    for (from, to) in [(cargo_home, "/cargo"), (project.root().to_owned(), "/project")] {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    flags
}

fn hint(output: &str, target: &'static str) -> String {
    if output.contains("can't find crate for `core`")
        || output.contains("can't find crate for `std`")
    {
        format!("mend: rustup target add {target}")
    } else if output.contains("linker") {
        format!("mend: install a C compiler that links for {target}")
    } else {
        "mend: see cargo's message above".to_owned()
    }
}
