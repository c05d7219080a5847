//! PostgreSQL, as a program meets it: through the virtual address, by TLS with a certificate.
//!
//! What an answer means is decided here, and on the careful side. `ok` is a `CommandComplete`.
//! `fail` is an `ERROR` to the statement, or a connection that was refused before the statement
//! was sent. Everything else is `info`: silence, a connection that ends, a `FATAL` after the
//! statement went out (the server may have committed and not told).

mod certificate;
mod connection;
mod message;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

use super::{Answer, Request, Service};
use crate::history::{Outcome, Row};
use connection::{Connection, ConnectionError, Reply};
pub use tls::CertificateError;

/// Certificate texts (PEM) for mutual TLS.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// The CA that the server's certificate must chain to.
    pub ca: String,
    /// Our own certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Certificates {
    /// Without the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// Where the database is and who asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The virtual address, or a node's own, and the port.
    pub address: SocketAddr,
    /// The role to log in as.
    pub role: String,
    /// The database.
    pub database: String,
    /// The table of this run's rows.
    pub table: String,
    /// For TLS. Without, the log-in is plain and must be `trust`: for peers that are measured.
    #[serde(default)]
    pub certificates: Option<Certificates>,
    /// How long connecting and logging in may take.
    pub connect_ms: u64,
    /// How long a statement may take.
    pub statement_ms: u64,
}

/// Why a client can't even be made.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Certificates or key.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The table's name goes into statements as it is.
    #[error("\"{0}\" is no name for a table; take small letters, digits and underscores")]
    Table(String),
    /// The table couldn't be made in time.
    #[error("{address} didn't make the table {table}: {why}")]
    Unprepared {
        /// Who was asked.
        address: SocketAddr,
        /// For what.
        table: String,
        /// What it said last.
        why: String,
    },
}

/// A database, as one worker sees it.
#[derive(Debug)]
pub struct Postgres {
    target: Arc<Target>,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Connection>,
}

impl Postgres {
    /// A client without a connection; it makes one when it needs it.
    pub fn new(target: Target) -> Result<Self, TargetError> {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = target.table.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || !target.table.chars().all(letters) {
            return Err(TargetError::Table(target.table));
        }
        let tls = target.certificates.as_ref().map(tls::client).transpose()?;
        Ok(Self { target: Arc::new(target), tls, connection: None })
    }

    /// The same database for one more worker.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { target: self.target.clone(), tls: self.tls.clone(), connection: None }
    }

    /// The same database at another address, such as a node's own.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        let target = Target { address, ..Target::clone(&self.target) };
        Self { target: Arc::new(target), tls: self.tls.clone(), connection: None }
    }

    /// Makes the table, if it isn't there. No key on the value: it would hide a row that is
    /// written twice.
    pub fn prepare(&mut self) -> Result<(), TargetError> {
        let table = &self.target.table;
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {table} (id bigint GENERATED ALWAYS AS IDENTITY, process \
             bigint NOT NULL, value bigint NOT NULL)"
        );
        match self.query(&statement) {
            Ok(_) => Ok(()),
            Err((_, why)) => Err(TargetError::Unprepared {
                address: self.target.address,
                table: self.target.table.clone(),
                why,
            }),
        }
    }

    /// One statement, over the connection that is there or a new one. What goes wrong says whether
    /// the statement may have been carried out.
    fn query(&mut self, statement: &str) -> Result<Reply, (Outcome, String)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| {
                let outcome = if error.is_timeout() { Outcome::Info } else { Outcome::Fail };
                (outcome, format!("connecting: {error}"))
            })?,
        };
        let limit = Duration::from_millis(self.target.statement_ms);
        match connection.query(statement, limit) {
            Ok(reply) => {
                self.connection = Some(connection);
                Ok(reply)
            }
            Err(ConnectionError::Refused(refusal)) if refusal.is_certain() => {
                self.connection = Some(connection);
                Err((Outcome::Fail, refusal.to_string()))
            }
            Err(error) => Err((Outcome::Info, error.to_string())),
        }
    }

    fn connect(&self) -> Result<Connection, ConnectionError> {
        let limit = Duration::from_millis(self.target.connect_ms);
        let tls = self.tls.clone();
        Connection::open(self.target.address, tls, &self.target.role, &self.target.database, limit)
    }

    fn append(&mut self, Row(process, value): Row) -> Result<Answer, (Outcome, String)> {
        // The timeline that the server writes to at this very moment: what its last checkpoint was
        // on is older for a while after a promotion.
        let statement = format!(
            "INSERT INTO {} (process, value) VALUES ({process}, {value}) RETURNING \
             substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), current_setting('cluster_name')",
            self.target.table
        );
        let reply = self.query(&statement)?;
        let told = reply.rows.first().map(Vec::as_slice).unwrap_or_default();
        Ok(self.answer(told, None, reply.warning.unwrap_or_default()))
    }

    fn ping(&mut self) -> Result<Answer, (Outcome, String)> {
        let told = self.query(WHO)?;
        Ok(self.answer(
            told.rows.first().map(Vec::as_slice).unwrap_or_default(),
            None,
            String::new(),
        ))
    }

    fn read(&mut self) -> Result<Answer, (Outcome, String)> {
        let told = self.query(WHO)?;
        let table = &self.target.table;
        let found = self.query(&format!("SELECT process, value FROM {table} ORDER BY id"))?;
        let rows: Option<Vec<Row>> = found
            .rows
            .iter()
            .map(|row| match row.as_slice() {
                [Some(process), Some(value)] => {
                    Some(Row(process.parse().ok()?, value.parse().ok()?))
                }
                _ => None,
            })
            .collect();
        let Some(rows) = rows else {
            return Err((Outcome::Fail, "a row is not made of two numbers".to_owned()));
        };
        let told = told.rows.first().map(Vec::as_slice).unwrap_or_default();
        Ok(self.answer(told, Some(rows), String::new()))
    }

    /// `told` is the first digits of a WAL file's name, which are the timeline, and the name that
    /// the server was given.
    fn answer(&self, told: &[Option<String>], rows: Option<Vec<Row>>, note: String) -> Answer {
        let text = |index: usize| told.get(index).and_then(Option::as_deref).unwrap_or_default();
        let by_name = Some(text(1)).filter(|name| !name.is_empty()).map(str::to_owned);
        let by_certificate =
            || self.connection.as_ref().and_then(|connection| connection.server.clone());
        let timeline = u32::from_str_radix(text(0), 16).ok();
        let node = by_name.or_else(by_certificate);
        Answer { node, timeline, rows, ..Answer::new(Outcome::Ok, note) }
    }
}

/// Who answers: its timeline, if it is a primary, and its name.
const WHO: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE \
                   substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, \
                   current_setting('cluster_name')";

impl Service for Postgres {
    fn perform(&mut self, request: Request) -> Answer {
        let answered = match request {
            Request::Ping => self.ping(),
            Request::Append(row) => self.append(row),
            Request::Read => self.read(),
        };
        answered.unwrap_or_else(|(outcome, note)| Answer::new(outcome, note))
    }
}
