//! The program that the kernel starts when it wants a module, and that K3s finds as `modprobe`.
//!
//! It is a role of the agent's own binary, not a program of its own: the binary is in memory
//! anyway while PID 1 runs from it, and in the initramfs a second one would cost half a megabyte
//! more. The role is taken by the name that the program was called by, and never by PID 1.
//!
//! Exit codes are those of the usual `modprobe`: 0 if all that was asked for is loaded or built in,
//! 1 otherwise. The kernel ignores them and looks for what it wanted.

use std::process::ExitCode;

use crate::modules::{ModuleError, Modules};

const USAGE: &str = "usage: modprobe [-q] [-a] [--] NAME [PARAMETER=VALUE…]";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    quiet: bool,
    /// Every word is a module, none a parameter.
    all: bool,
    words: Vec<String>,
}

/// Takes the arguments behind the program's name.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let request = match parse(arguments) {
        Ok(request) => request,
        Err(complaint) => {
            eprintln!("modprobe: {complaint}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match load(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let unknown = matches!(error, ModuleError::Unknown { .. });
            if !(request.quiet && unknown) {
                eprintln!("modprobe: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn load(request: &Request) -> Result<(), ModuleError> {
    let modules = Modules::of_running_kernel()?;
    let loader = modules.loader();
    let mut trouble = None;
    let (names, parameters) =
        if request.all { (request.words.as_slice(), &[][..]) } else { first(&request.words) };
    for name in names {
        if let Err(error) = loader.load(name, &parameters.join(" ")) {
            trouble = Some(error);
        }
    }
    trouble.map_or(Ok(()), Err)
}

fn first(words: &[String]) -> (&[String], &[String]) {
    words.split_at_checked(1).unwrap_or((words, &[]))
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request::default();
    let mut arguments = arguments;
    for argument in arguments.by_ref() {
        match argument.as_str() {
            "--" => break,
            "--quiet" | "--silent" => request.quiet = true,
            "--all" => request.all = true,
            // What these ask for is done anyway: nothing denied by a device, errors said.
            "--use-blacklist" | "--verbose" | "--syslog" => {}
            option if option.starts_with("--") => return Err(format!("no option {option}")),
            flags if flags.len() > 1 && flags.starts_with('-') => {
                for flag in flags.chars().skip(1) {
                    match flag {
                        'q' => request.quiet = true,
                        'a' => request.all = true,
                        'b' | 'v' | 's' => {}
                        other => return Err(format!("no option -{other}")),
                    }
                }
            }
            _ => {
                request.words.push(argument);
                break;
            }
        }
    }
    request.words.extend(arguments);
    if request.words.is_empty() { Err("no module is named".to_owned()) } else { Ok(request) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_ascii_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_lines_of_kernel_and_k3s_are_understood() {
        let kernel = parsed("-q -- net-pf-16-proto-12").unwrap();
        assert!(kernel.quiet && kernel.words == ["net-pf-16-proto-12"]);
        assert_eq!(parsed("br_netfilter").unwrap().words, ["br_netfilter"]);
        let several = parsed("-va bridge br_netfilter").unwrap();
        assert!(several.all && several.words.len() == 2);
        let with = parsed("softdog soft_margin=30 -x").unwrap();
        assert_eq!(first(&with.words).1, ["soft_margin=30", "-x"]);
        assert!(parsed("-r softdog").is_err() && parsed("--remove x").is_err());
        assert!(parsed("").is_err() && parsed("-q --").is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(words in proptest::collection::vec(any::<String>(), 0..6)) {
            let _either = parse(words.into_iter());
        }
    }
}
