//! The configuration file: one line per server, and the threshold of the step.
//!
//! ```text
//! # comment
//! server 192.0.2.1
//! server [2001:db8::1]:1123
//! server time.example.org
//! step 500        # milliseconds; 0 always steps at the start
//! ```

use thiserror::Error;

/// NTP's port.
const PORT: u16 = 123;

/// Servers beyond this add load, and no certainty.
pub const SERVERS_MAX: usize = 16;

/// The largest file that is read; ours have some hundred bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// Longest name of the domain name system.
const NAME_BYTES_MAX: usize = 253;

const STEP_DEFAULT_MS: u32 = 500;

/// Where the time comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub servers: Vec<ServerName>,
    /// The clock is stepped only if it is off by more than this.
    pub step_ms: u32,
}

/// A server as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {wrong}")]
pub struct ConfigError {
    pub line: usize,
    pub wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    #[error("{0:?} is no keyword: write `server ADDRESS` or `step MILLISECONDS`")]
    Keyword(String),
    #[error("`{0}` wants one value: write one per line")]
    Words(String),
    #[error("{0:?} is no address or name: write 192.0.2.1, [2001:db8::1]:123 or a host name")]
    Host(String),
    #[error("{0:?} is no port: write a number from 1 to 65535, or leave it out")]
    Port(String),
    #[error("{0:?} is no number of milliseconds: write one like 500")]
    Step(String),
    #[error("{0:?} is named twice: remove this line")]
    Twice(String),
    #[error("more than {SERVERS_MAX} servers: four are enough")]
    TooMany,
    #[error("no server: add a line like `server 192.0.2.1`")]
    NoServer,
}

/// Reads the whole file or nothing.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let mut config = Config { servers: Vec::new(), step_ms: STEP_DEFAULT_MS };
    let mut lines = 0;
    for (place, line) in text.lines().enumerate() {
        lines = place + 1;
        parse_line(line, &mut config).map_err(|wrong| ConfigError { line: lines, wrong })?;
    }
    if config.servers.is_empty() {
        return Err(ConfigError { line: lines.max(1), wrong: Wrong::NoServer });
    }
    Ok(config)
}

fn parse_line(line: &str, config: &mut Config) -> Result<(), Wrong> {
    let said = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = said.split_whitespace().collect();
    match words.as_slice() {
        [] => {}
        ["server", server] => {
            let server = server_name(server)?;
            if config.servers.contains(&server) {
                return Err(Wrong::Twice(server.host));
            }
            if config.servers.len() >= SERVERS_MAX {
                return Err(Wrong::TooMany);
            }
            config.servers.push(server);
        }
        ["step", step] => {
            config.step_ms = step.parse().map_err(|_| Wrong::Step((*step).to_owned()))?;
        }
        [keyword @ ("server" | "step"), ..] => return Err(Wrong::Words((*keyword).to_owned())),
        [word, ..] => return Err(Wrong::Keyword((*word).to_owned())),
    }
    Ok(())
}

fn server_name(word: &str) -> Result<ServerName, Wrong> {
    let bad_host = || Wrong::Host(word.to_owned());
    let (host, port) = if let Some(rest) = word.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(bad_host)?;
        let port =
            if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(bad_host)?) };
        host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_host())?;
        (host, port)
    } else if word.parse::<std::net::Ipv6Addr>().is_ok() {
        (word, None)
    } else {
        let (host, port) = match word.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (word, None),
        };
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let edges = host.starts_with(['-', '.']) || host.len() > NAME_BYTES_MAX;
        if host.is_empty() || edges || !host.bytes().all(good) {
            return Err(bad_host());
        }
        (host, port)
    };
    let bad_port = |text: &str| Wrong::Port(text.to_owned());
    let port = match port {
        None => PORT,
        Some(text) => match text.parse() {
            Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => return Err(bad_port(text)),
        },
    };
    Ok(ServerName { host: host.to_owned(), port })
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { host, port: PORT } => out.write_str(host),
            Self { host, port } if host.contains(':') => write!(out, "[{host}]:{port}"),
            Self { host, port } => write!(out, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_ways_to_write_a_server() {
        let text = "# head\n\nserver 192.0.2.1\n server [2001:db8::1]:1123 # ours\n\
                    server 2001:db8::2\nserver time.example.org:99\nstep 0\n";
        let config = parse(text).expect("good");
        let written: Vec<String> = config.servers.iter().map(ServerName::to_string).collect();
        let expected = ["192.0.2.1", "[2001:db8::1]:1123", "2001:db8::2", "time.example.org:99"];
        assert_eq!(written, expected);
        assert_eq!(config.step_ms, 0);
        assert_eq!(parse("server a").expect("good").step_ms, 500);
    }

    #[test]
    fn each_mistake_names_its_line_and_its_mend() {
        for (text, message) in [
            ("", "line 1: no server: add a line like `server 192.0.2.1`"),
            ("server a\npool b", "line 2: \"pool\" is no keyword"),
            ("server a b", "line 1: `server` wants one value"),
            ("server", "line 1: `server` wants one value"),
            ("server a\nserver a", "line 2: \"a\" is named twice"),
            ("server a:0", "line 1: \"0\" is no port"),
            ("server a:+1", "line 1: \"+1\" is no port"),
            ("server [::1", "line 1: \"[::1\" is no address or name"),
            ("server [::1]1", "line 1: \"[::1]1\" is no address or name"),
            ("server a/b", "line 1: \"a/b\" is no address or name"),
            ("server a\nstep 0.5", "line 2: \"0.5\" is no number of milliseconds"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let many: String = (0..17).map(|number| format!("server s{number}\n")).collect();
        assert!(parse(&many).is_err_and(|error| error.line == 17));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(
            text in "(server |step |[a-z0-9:.\\[\\]# \n]){0,12}|\\PC{0,40}",
        ) {
            if let Ok(config) = parse(&text) {
                let written: String =
                    config.servers.iter().map(|server| format!("server {server}\n")).collect();
                prop_assert_eq!(parse(&written).expect("good").servers, config.servers);
            }
        }
    }
}
