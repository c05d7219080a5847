//! `pg_hba.conf` and `pg_ident.conf` for a PostgreSQL behind the gate, as data. Pure.
//!
//! The gate has verified certificate and role; PostgreSQL asks the kernel who is at the other end
//! of the unix socket and maps that one user of the system to the roles of the seed. So a password
//! exists nowhere, and another process of the node gets nothing even if it reaches the socket. The
//! superuser's role is for the keeper alone: no seed can name it as a client's role, because the
//! gate's map lists roles one by one.
//!
//! TCP is for the peer's replication only, by TLS and certificate. There is no line for anything
//! else, and PostgreSQL refuses what no line allows.

use std::fmt::Write;

/// The map for the gate's sessions.
const GATE_MAP: &str = "gate";
/// The map for the peer's replication.
const PEER_MAP: &str = "peer";
/// The role with which a standby replicates, and the keeper rewinds.
pub const REPLICATION_ROLE: &str = "replication";
/// The superuser's role.
pub const SUPERUSER: &str = "postgres";

/// Run in every database that clients use, by the superuser. A role may cancel and end its own sessions
/// by default. A cancelled wait for the standby reports success for a commit that only one node has,
/// and one that is ended shows it to readers: the leak that the gate closes for cancel requests.
pub const NO_CANCEL: &str = "revoke execute on function pg_cancel_backend(int), \
                             pg_terminate_backend(int, bigint) from public";

/// What the two files depend on.
#[derive(Clone, Debug)]
pub struct Hba<'a> {
    /// The user of the system that keeper, gate and PostgreSQL run as.
    pub system_user: &'a str,
    /// The database of the seed.
    pub database: &'a str,
    /// The roles of the seed.
    pub roles: &'a [&'a str],
    /// The common name of the peer's replication certificate.
    pub peer_name: &'a str,
}

impl Hba<'_> {
    /// `pg_hba.conf`.
    pub fn hba(&self) -> String {
        let user = SUPERUSER;
        let mut text = String::from("# Written by pgkeeper; changes are lost at its next start.\n");
        let _ = writeln!(text, "local all,replication {user} peer map={GATE_MAP}");
        for role in self.roles() {
            let (role, database) = (quoted(role), quoted(self.database));
            let _ = writeln!(text, "local {database} {role} peer map={GATE_MAP}");
        }
        let role = REPLICATION_ROLE;
        for databases in ["replication", "postgres"] {
            let _ =
                writeln!(text, "hostssl {databases} {role} all cert clientname=CN map={PEER_MAP}");
        }
        text
    }

    /// `pg_ident.conf`.
    pub fn ident(&self) -> String {
        let mut text = String::from("# Written by pgkeeper; changes are lost at its next start.\n");
        let system = quoted(self.system_user);
        for role in [SUPERUSER].into_iter().chain(self.roles()) {
            let _ = writeln!(text, "{GATE_MAP} {system} {}", quoted(role));
        }
        let _ = writeln!(text, "{PEER_MAP} {} {REPLICATION_ROLE}", quoted(self.peer_name));
        text
    }

    /// The seed's roles, but never those that the keeper keeps for itself.
    fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().copied().filter(|role| ![SUPERUSER, REPLICATION_ROLE].contains(role))
    }
}

/// Quoted, so that a name is never a keyword, a pattern or a list.
fn quoted(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_gets_the_roles_of_the_seed_and_the_peer_its_own() {
        let hba = Hba {
            system_user: "postgres",
            database: "kubernetes",
            roles: &["kine", "all", "postgres"],
            peer_name: "replication",
        };
        assert_eq!(
            hba.hba(),
            "# Written by pgkeeper; changes are lost at its next start.\n\
             local all,replication postgres peer map=gate\n\
             local \"kubernetes\" \"kine\" peer map=gate\n\
             local \"kubernetes\" \"all\" peer map=gate\n\
             hostssl replication replication all cert clientname=CN map=peer\n\
             hostssl postgres replication all cert clientname=CN map=peer\n"
        );
        assert_eq!(
            hba.ident(),
            "# Written by pgkeeper; changes are lost at its next start.\n\
             gate \"postgres\" \"postgres\"\n\
             gate \"postgres\" \"kine\"\n\
             gate \"postgres\" \"all\"\n\
             peer \"replication\" replication\n"
        );
    }
}
