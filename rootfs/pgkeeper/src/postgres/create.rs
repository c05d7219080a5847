//! A new, empty database: made beside, complete with roles and rights, then moved to its place.

use std::fs;
use std::path::Path;
use std::time::Duration;

use failover::Data;

use super::boot;
use super::config::{Part, Waits};
use super::error::{DriverError, about};
use super::program;
use super::session::{PATIENCE, first_value};
use super::settings::User;
use super::worker::{Worker, identifier, literal};
use crate::gate::hba::{NO_CANCEL, REPLICATION_ROLE, SUPERUSER};

/// On the slowest of disks.
const LIMIT: Duration = Duration::from_mins(10);
/// What `pg_rewind` reads from a peer: files of the data, by these functions.
const READ_BY_REWIND: [&str; 4] = [
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
];

impl Worker {
    pub(super) fn create(&mut self) -> Result<(), DriverError> {
        self.must_be_stopped("InitDb")?;
        let (data, new) = (self.settings.data(), self.settings.new_data());
        if was_made(&data)? {
            self.role("stopped");
            return boot::sync_folder(&self.settings.folder);
        }
        self.role("making a database");
        let _none = fs::remove_dir_all(&new);
        let mut initdb = program::command(&self.settings.program("initdb"));
        initdb.args(["--username", SUPERUSER, "--data-checksums", "--encoding", "UTF8"]);
        initdb.args(["--locale", "C", "--auth", "reject", "--pgdata"]).arg(&new);
        initdb.args(self.sync_method());
        program::run(&mut initdb, "", LIMIT, &self.shared.halt)?;
        self.prepare(Part::Primary(Waits::No))?;
        // Databases that are made later are copies of this one.
        self.alone(&new, "template1", &self.first_statements())?;
        self.alone(&new, "postgres", &grants())?;
        fs::rename(&new, &data).map_err(about("put the new database into", &data))?;
        boot::sync_folder(&self.settings.folder)?;
        self.role("stopped");
        Ok(())
    }

    /// Runs statements in a server of one process, which nobody else can reach.
    fn alone(&self, data: &Path, database: &str, statements: &[String]) -> Result<(), DriverError> {
        let mut command = self.single(data);
        // An error ends it, and it says so by its status.
        command.args(["-c", "exit_on_error=on", database]);
        let input: String = statements.iter().map(|statement| format!("{statement}\n")).collect();
        program::run(&mut command, &input, LIMIT, &self.shared.halt).map(drop)
    }

    /// A server of one process; it recovers from a crash, does what its input says, and shuts down
    /// with a checkpoint.
    pub(super) fn single(&self, data: &Path) -> std::process::Command {
        let mut command = program::command(&self.settings.program("postgres"));
        command.arg("--single").arg("-D").arg(data).arg("-c");
        command.arg(format!("config_file={}", self.settings.configuration().display()));
        command
    }

    /// Makes roles that a newer seed names. If it can't, it is tried again later (status.rs).
    pub(super) fn make_roles(&mut self) -> Result<(), DriverError> {
        let made = self.make_missing_roles();
        self.lacks_roles = made.is_err();
        made
    }

    fn make_missing_roles(&mut self) -> Result<(), DriverError> {
        let known = self.ask_within("select rolname from pg_roles", PATIENCE)?;
        let known: Vec<String> = known.into_iter().flatten().flatten().collect();
        for user in self.users() {
            if !known.contains(&user.user.role) {
                let role = identifier(&user.user.role);
                let mut make = format!("create role {role} login");
                if user.owner {
                    let database = literal(&self.settings.database);
                    let owner = format!(
                        "select rolname from pg_database join pg_roles on pg_roles.oid = datdba \
                         where datname = {database} and not rolsuper"
                    );
                    let owner = first_value(self.ask_within(&owner, PATIENCE)?, &owner)?;
                    make.push_str(&format!("; grant {} to {role}", identifier(&owner)));
                }
                // In one transaction: a role that is there counts as made, rights and all.
                self.ask_within(&make, PATIENCE)?;
            }
        }
        Ok(())
    }

    /// The seed's users, but never those that the keeper keeps for itself.
    fn users(&self) -> Vec<User> {
        let reserved = |role: &str| [SUPERUSER, REPLICATION_ROLE].contains(&role);
        let users = self.settings.users.iter();
        users.filter(|user| !reserved(&user.user.role)).cloned().collect()
    }

    fn first_statements(&self) -> Vec<String> {
        let mut statements =
            vec![NO_CANCEL.to_owned(), format!("create role {REPLICATION_ROLE} login replication")];
        let users = self.users();
        statements.extend(
            users.iter().map(|user| format!("create role {} login", identifier(&user.user.role))),
        );
        let mut owners =
            users.iter().filter(|user| user.owner).map(|user| identifier(&user.user.role));
        let owner = owners.next().unwrap_or_else(|| SUPERUSER.to_owned());
        if self.settings.database != "postgres" {
            let database = identifier(&self.settings.database);
            statements.push(format!("create database {database} owner {owner}"));
        }
        // Who belongs to the owner may make tables too.
        statements.extend(owners.map(|role| format!("grant {owner} to {role}")));
        statements
    }
}

/// Whether the database is in its place already: a stop may have overtaken the answer of whoever put
/// it there. Anything else in that place may be somebody's data, and stays.
fn was_made(data: &Path) -> Result<bool, DriverError> {
    match boot::what_is(data) {
        Data::Primary => Ok(true),
        Data::Missing if !data.exists() => Ok(false),
        Data::Missing | Data::Standby => Err(DriverError::Senseless {
            command: "InitDb".to_owned(),
            role: "a database already".to_owned(),
        }),
    }
}

fn grants() -> Vec<String> {
    let grant =
        |function| format!("grant execute on function pg_catalog.{function} to {REPLICATION_ROLE}");
    [NO_CANCEL.to_owned()].into_iter().chain(READ_BY_REWIND.map(grant)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_in_its_place_was_made_and_anything_else_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        assert!(!was_made(&data).expect("nothing there"));
        fs::create_dir_all(data.join("global")).expect("a folder");
        assert!(was_made(&data).is_err(), "half a database");
        fs::write(data.join("PG_VERSION"), "17\n").expect("written");
        fs::write(data.join("global/pg_control"), [0; 8192]).expect("written");
        assert!(was_made(&data).expect("a primary's"));
        boot::make_standby(&data).expect("written");
        assert!(was_made(&data).is_err(), "a standby's");
    }
}
