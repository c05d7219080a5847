//! Who may log in as whom: the seed's `database.users`, asked with a certificate's name. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::hba::{REPLICATION_ROLE, SUPERUSER};
use super::refusal::Refusal;
use super::startup::Startup;

/// The right to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    database: String,
    /// Roles by the common name of the certificate.
    roles: BTreeMap<String, BTreeSet<String>>,
}

impl Access {
    /// Takes the database's name, and each role with the names that may use it.
    pub fn new<'a>(
        database: &str,
        users: impl IntoIterator<Item = (&'a str, &'a [String])>,
    ) -> Self {
        let mut roles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // Keeper and peer keep two roles for themselves, whatever a seed says.
        let reserved = |role: &str| [SUPERUSER, REPLICATION_ROLE].contains(&role);
        for (role, clients) in users.into_iter().filter(|(role, _)| !reserved(role)) {
            for client in clients {
                roles.entry(client.clone()).or_default().insert(role.to_owned());
            }
        }
        Self { database: database.to_owned(), roles }
    }

    /// Whether a certificate's owner may log in like this.
    pub fn judge(&self, client: &str, startup: &Startup) -> Result<(), Refusal> {
        if startup.replication {
            return Err(Refusal::Replication);
        }
        let role = startup.user.clone();
        if !self.roles.get(client).is_some_and(|roles| roles.contains(&role)) {
            return Err(Refusal::Role { client: client.to_owned(), role });
        }
        if startup.database != self.database {
            return Err(Refusal::Database { role, database: startup.database.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(user: &str, database: &str) -> Startup {
        let (user, database) = (user.to_owned(), database.to_owned());
        Startup { packet: Vec::new(), user, database, replication: false }
    }

    #[test]
    fn a_name_gets_its_roles_and_no_other() {
        let clients = ["k3s".to_owned(), "backup".to_owned()];
        let access = Access::new("kubernetes", [("kine", &clients[..]), ("dump", &clients[1..])]);
        assert_eq!(access.judge("k3s", &startup("kine", "kubernetes")), Ok(()));
        assert_eq!(access.judge("backup", &startup("dump", "kubernetes")), Ok(()));
        let wrong = access.judge("k3s", &startup("dump", "kubernetes"));
        assert!(matches!(wrong, Err(Refusal::Role { .. })));
        let stranger = access.judge("K3S", &startup("kine", "kubernetes"));
        assert!(matches!(stranger, Err(Refusal::Role { .. })));
        let elsewhere = access.judge("k3s", &startup("kine", "postgres"));
        assert!(matches!(elsewhere, Err(Refusal::Database { .. })));
        let superuser = Access::new("kubernetes", [("postgres", &clients[..])]);
        assert!(superuser.judge("k3s", &startup("postgres", "kubernetes")).is_err());
        let standby = Startup { replication: true, ..startup("kine", "kubernetes") };
        assert_eq!(access.judge("k3s", &standby), Err(Refusal::Replication));
    }
}
