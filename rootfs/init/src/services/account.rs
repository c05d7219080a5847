//! Names of users, groups and capabilities become numbers, as the manifest says.

use seed::manifest::{Service, User};
use sys::capabilities;
use sys::process::Identity;
use thiserror::Error;

/// Who holds it may do nearly everything, and runs programs that need more rights than it has:
/// containers with setuid programs inside.
const ADMINISTRATOR: &str = "CAP_SYS_ADMIN";

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum AccountError {
    #[error("there is no user {0:?} in the image: add it under [[users]] of the overlay")]
    User(String),
    #[error("there is no capability {0:?}: write it like \"CAP_NET_RAW\"")]
    Capability(String),
}

/// The users of the image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    users: Vec<User>,
}

impl Accounts {
    pub(crate) fn new(users: &[User]) -> Self {
        Self { users: users.to_vec() }
    }

    /// The number of a user, which is also that of the group of the same name.
    pub(crate) fn number(&self, name: &str) -> Result<u32, AccountError> {
        if name == "root" {
            return Ok(0);
        }
        let found = self.users.iter().find(|user| user.name == name);
        found.map(|user| user.id).ok_or_else(|| AccountError::User(name.to_owned()))
    }

    /// Whose rights a service has.
    pub(crate) fn identity(&self, service: &Service) -> Result<Identity, AccountError> {
        let user = self.number(&service.user)?;
        let group = service.group.as_deref().map_or(Ok(user), |group| self.number(group))?;
        let entry = self.users.iter().find(|entry| entry.name == service.user);
        let further = entry.map(|entry| entry.groups.as_slice()).unwrap_or_default();
        let groups = further.iter().map(|name| self.number(name)).collect::<Result<_, _>>()?;
        let mut bits = 0;
        for name in &service.capabilities {
            let bit = capabilities::bit(name);
            bits |= bit.ok_or_else(|| AccountError::Capability(name.clone()))?;
        }
        // Of an administrator's children new rights would take nothing away from the node's safety,
        // and a container runtime's children need them.
        let no_new_privileges = !service.capabilities.iter().any(|name| name == ADMINISTRATOR);
        Ok(Identity { user, group, groups, capabilities: bits, no_new_privileges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::service;

    fn accounts() -> Accounts {
        let user = |name: &str, id, groups: &[&str]| User {
            name: name.to_owned(),
            id,
            home: "/".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        Accounts::new(&[user("tls", 7, &[]), user("proxy", 8, &["tls"])])
    }

    #[test]
    fn a_service_gets_the_numbers_of_its_names() {
        let text = "name = \"p\"\nuser = \"proxy\"\ncapabilities = [\"CAP_NET_RAW\"]";
        let identity = accounts().identity(&service(text)).expect("known");
        assert_eq!((identity.user, identity.group), (8, 8));
        assert_eq!(identity.groups, [7]);
        assert_eq!(identity.capabilities, 1 << 13);
        assert!(identity.no_new_privileges);
    }

    #[test]
    fn root_keeps_nothing_that_is_not_declared() {
        let identity = accounts().identity(&service("name = \"p\"")).expect("known");
        assert_eq!((identity.user, identity.capabilities), (0, 0));
        let text = "name = \"p\"\ncapabilities = [\"CAP_SYS_ADMIN\"]";
        let identity = accounts().identity(&service(text)).expect("known");
        assert!(!identity.no_new_privileges);
    }

    #[test]
    fn unknown_names_are_refused() {
        let of = |text: &str| accounts().identity(&service(text)).expect_err("refused");
        let nobody = of("name = \"p\"\nuser = \"nobody\"");
        assert_eq!(nobody, AccountError::User("nobody".to_owned()));
        let odd = of("name = \"p\"\ncapabilities = [\"NET_RAW\"]");
        assert_eq!(odd, AccountError::Capability("NET_RAW".to_owned()));
    }
}
