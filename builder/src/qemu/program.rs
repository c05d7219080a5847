//! Which QEMU runs: the host's if it is new enough, else Debian's own from the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use super::command::Machine;
use crate::build::source::Reach;
use crate::progress::Progress;
use crate::tools::{self, ToolError, Unpacked};

/// Version 7.2 crashed a 6.12 guest with `-cpu max` once in a few boots; 10 never did.
const OLDEST_MAJOR: u32 = 10;
const PROGRAM: &str = "qemu-system-x86_64";
/// Where the firmware of the host's own QEMU may lie.
const HOST_FIRMWARE: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

#[derive(Debug, Error)]
pub enum ProgramError {
    #[error("no QEMU {OLDEST_MAJOR} or newer in PATH, and {0}")]
    Tool(Box<ToolError>),
    #[error("{program} does not say its version; it printed {output:?}")]
    NoVersion { program: String, output: String },
    #[error("no UEFI firmware beside the host's QEMU: install the package ovmf")]
    NoFirmware,
}

/// A QEMU that can be started.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub version: String,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    Host,
    Cache(Unpacked),
}

impl Qemu {
    /// Finds a QEMU that is new enough, or fetches one.
    pub fn find(cache: &Path, reach: &Reach, progress: &Progress) -> Result<Self, ProgramError> {
        if let Ok(version) = version_of(Command::new(PROGRAM))
            && major(&version).is_some_and(|major| major >= OLDEST_MAJOR)
        {
            return Ok(Self { version, from: From::Host });
        }
        let unpacked = tools::QEMU.obtain(cache, reach, progress);
        let unpacked = unpacked.map_err(|error| ProgramError::Tool(Box::new(error)))?;
        let version = version_of(unpacked.command(&format!("usr/bin/{PROGRAM}")))?;
        Ok(Self { version, from: From::Cache(unpacked) })
    }

    /// Where it is from, for people.
    pub fn describe(&self) -> String {
        let place = match &self.from {
            From::Host => "in PATH",
            From::Cache(_) => "Debian's, from the cache",
        };
        format!("QEMU {} ({place})", self.version)
    }

    /// A command that starts a machine; its standard streams are the caller's to set.
    pub fn command(&self, machine: &Machine) -> Command {
        let mut command = match &self.from {
            From::Host => Command::new(PROGRAM),
            From::Cache(unpacked) => {
                let mut command = unpacked.command(&format!("usr/bin/{PROGRAM}"));
                for folder in ["usr/share/qemu", "usr/share/seabios"] {
                    command.arg("-L").arg(unpacked.file(folder));
                }
                command
            }
        };
        command.args(machine.arguments());
        command
    }

    /// UEFI firmware, and a template of the variables that a machine writes to.
    pub fn firmware(&self) -> Result<(PathBuf, PathBuf), ProgramError> {
        match &self.from {
            From::Cache(unpacked) => Ok((
                unpacked.file("usr/share/OVMF/OVMF_CODE_4M.fd"),
                unpacked.file("usr/share/OVMF/OVMF_VARS_4M.fd"),
            )),
            From::Host => HOST_FIRMWARE
                .iter()
                .map(|(code, variables)| (PathBuf::from(code), PathBuf::from(variables)))
                .find(|(code, variables)| code.is_file() && variables.is_file())
                .ok_or(ProgramError::NoFirmware),
        }
    }
}

fn version_of(mut command: Command) -> Result<String, ProgramError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.arg("--version").output();
    let said = output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_else(ToString::to_string);
    match said
        .strip_prefix("QEMU emulator version ")
        .and_then(|rest| rest.split_whitespace().next())
    {
        Some(version) => Ok(version.to_owned()),
        None => Err(ProgramError::NoVersion { program, output: said }),
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_what_decides() {
        assert_eq!(major("10.0.13"), Some(10));
        assert_eq!(major("7.2.22"), Some(7));
        assert_eq!(major("unknown"), None);
    }
}
