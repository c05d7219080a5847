//! A real PostgreSQL behind a gate, as an unprivileged user, on a unix socket in its own folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pgkeeper::gate::hba::{Hba, NO_CANCEL};

use super::{DATABASE, ROLE, until};

/// `nobody`: PostgreSQL refuses to run as root.
pub(crate) const NOBODY: u32 = 65534;
/// Where no TCP is wanted, the port is but a part of the socket's name.
pub(crate) const PORT: u16 = 5432;

/// A running server; stopped when dropped.
pub(crate) struct Postgres {
    bin: PathBuf,
    pub(crate) folder: PathBuf,
    port: u16,
    server: Child,
}

impl Postgres {
    /// Makes and starts a database cluster in `folder` with the programs in `bin`; `extra` are
    /// lines of `postgresql.conf`, `hba` are lines of `pg_hba.conf` behind the gate's own.
    pub(crate) fn start(bin: &Path, folder: &Path, port: u16, extra: &str, hba: &str) -> Self {
        give_away(folder);
        let data = folder.join("data");
        let output = unprivileged(&bin.join("initdb"))
            .args(["-U", "postgres", "-k", "--no-sync", "--locale=C", "-E", "UTF8"])
            .args(["--auth=reject", "-D"])
            .arg(&data)
            .output()
            .expect("initdb starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "initdb: {said}");
        let us = user_name();
        let texts =
            Hba { system_user: &us, database: DATABASE, roles: &[ROLE], peer_name: "replication" };
        fs::write(data.join("pg_hba.conf"), texts.hba() + hba).expect("written");
        fs::write(data.join("pg_ident.conf"), texts.ident()).expect("written");
        let conf = format!(
            "listen_addresses = ''\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 200\n\
             shared_buffers = '128MB'\nlog_timezone = 'GMT'\ntimezone = 'GMT'\n{extra}\n",
            folder.display()
        );
        fs::write(data.join("postgresql.conf"), conf).expect("written");
        let log = fs::File::create(folder.join("log")).expect("a log");
        let server = unprivileged(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        let mut postgres = Self { bin: bin.to_owned(), folder: folder.to_owned(), port, server };
        until("PostgreSQL answers", || {
            let left = postgres.server.try_wait().expect("a child");
            assert!(left.is_none(), "PostgreSQL: {}", postgres.log());
            let mut asked = postgres.admin_command("postgres");
            asked.args(["-c", "select 1"]).output().is_ok_and(|output| output.status.success())
        });
        postgres.admin("postgres", &format!("create role {ROLE} login"));
        postgres.admin("postgres", &format!("create database {DATABASE} owner {ROLE}"));
        postgres.admin(DATABASE, NO_CANCEL);
        postgres
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of its programs.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    /// psql for the superuser, past the gate.
    pub(crate) fn admin_command(&self, database: &str) -> Command {
        let mut command = self.program("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        command.arg(&self.folder).args(["-p", &self.port.to_string()]);
        command
    }

    /// Asks as the superuser, past the gate.
    pub(crate) fn admin(&self, database: &str, query: &str) -> String {
        let output = self.admin_command(database).args(["-c", query]).output().expect("psql");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{query}: {said}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own children end with it; SIGKILL alone would leave them for a moment.
        let process = self.server.id().to_string();
        let _told = Command::new("kill").args(["-INT", &process]).status();
        let _ended = self.server.wait();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|itself| itself.uid() == 0)
}

/// Whoever runs the test, as the kernel shows him to PostgreSQL.
fn user_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The folder for the user that PostgreSQL runs as; also ours, and nobody else's secret.
pub(crate) fn give_away(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("owner");
    }
}

/// A private file for PostgreSQL.
pub(crate) fn give_file(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("mode");
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("owner");
    }
}

/// A command that isn't root's.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env("LC_ALL", "C");
    command
}
