//! The node's own PostgreSQL, asked past the gate: by `psql` of the node, in the node's root, as the user
//! that PostgreSQL runs as. On a standby nobody else can ask.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ledger::Row;
use thiserror::Error;

use crate::place;
use crate::process::{self, ProcessError};
use crate::words::OwnRows;

/// The probe's role in which it becomes `psql`.
pub const ROLE: &str = "psql";
const NODE: &str = "proc/1/root";
const PSQL: &str = "/usr/lib/postgresql/17/bin/psql";
const SOCKETS: &str = "/run/postgres";
/// How a socket's name begins; the port ends it.
const SOCKET: &str = ".s.PGSQL.";
const SUPERUSER: &str = "postgres";

#[derive(Debug, Error)]
pub enum DatabaseError {
    #[error("{what}: {source}")]
    Step { what: &'static str, source: io::Error },
    #[error(transparent)]
    Start(#[from] ProcessError),
    #[error("psql ended with {0}: {1}")]
    Refused(String, String),
    #[error("psql said {0:?}, which is no row")]
    Strange(String),
}

fn step(what: &'static str) -> impl Fn(io::Error) -> DatabaseError {
    move |source| DatabaseError::Step { what, source }
}

/// Reads the clients' rows, in the order in which they were appended.
pub fn rows(database: &str, table: &str) -> Result<OwnRows, DatabaseError> {
    let query = format!("select process, value from {table} order by id");
    let mut command = process::role(&[ROLE, database, &query])?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output { status, stdout, stderr } = command.output().map_err(step("start psql"))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr).trim_end().to_owned();
        return Err(DatabaseError::Refused(status.to_string(), said));
    }
    parse(&String::from_utf8_lossy(&stdout))
}

/// Becomes `psql`; comes back only if it can't.
pub fn become_psql(database: &str, query: &str) -> DatabaseError {
    let enter = || {
        rustix::process::chroot(place::path(NODE))?;
        std::env::set_current_dir("/")
    };
    if let Err(source) = enter() {
        return DatabaseError::Step { what: "enter the node's root", source };
    }
    let (user, port) = match socket(Path::new(SOCKETS)) {
        Ok(found) => found,
        Err(source) => return DatabaseError::Step { what: "find PostgreSQL's socket", source },
    };
    let mut psql = Command::new(PSQL);
    psql.env_clear().uid(user).gid(user);
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", SOCKETS, "-p", &port, "-U", SUPERUSER]);
    psql.args(["-d", database, "-c", "select pg_is_in_recovery()", "-c", query]);
    step("start the node's psql")(psql.exec())
}

/// Whose PostgreSQL's socket is, and its port.
fn socket(folder: &Path) -> io::Result<(u32, String)> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let port = name.to_str().and_then(|name| name.strip_prefix(SOCKET));
        if let Some(port) = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
            return Ok((fs::metadata(folder)?.uid(), port.to_owned()));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "PostgreSQL has none"))
}

/// A line that says whether it follows, then a line for each row.
fn parse(said: &str) -> Result<OwnRows, DatabaseError> {
    let strange = |line: &str| DatabaseError::Strange(line.to_owned());
    let mut lines = said.lines();
    let first = lines.next().unwrap_or_default();
    let follows = match first {
        "t" => true,
        "f" => false,
        other => return Err(strange(other)),
    };
    let row = |line: &str| {
        let (process, value) = line.split_once('|')?;
        Some(Row(process.parse().ok()?, value.parse().ok()?))
    };
    let rows = lines.map(|line| row(line).ok_or_else(|| strange(line)));
    Ok(OwnRows { follows, rows: rows.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_psql_prints_is_read() {
        let read = parse("t\n3|17\n0|18\n").expect("rows");
        assert_eq!(read, OwnRows { follows: true, rows: vec![Row(3, 17), Row(0, 18)] });
        assert!(!parse("f\n").expect("no rows").follows);
        assert!(parse("").is_err() && parse("t\n17\n").is_err());
    }

    #[test]
    fn the_port_is_in_the_sockets_name() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(socket(folder.path()).is_err());
        for name in ["pg_hba.conf", ".s.PGSQL.5433.lock", ".s.PGSQL.5433"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        assert_eq!(socket(folder.path()).expect("a socket").1, "5433");
    }
}
