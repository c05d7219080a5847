//! Users and groups: fixed numbers, declared by overlays, written as `/etc/passwd` and `/etc/group`.
//!
//! Numbers are part of the manifests instead of being handed out at build time, because files on
//! the state partition keep their owners across updates: a number must never change its meaning.

use std::collections::BTreeMap;

use seed::manifest::User;
use thiserror::Error;

/// Nobody logs in on a node: there is no login.
const NO_SHELL: &str = "/usr/sbin/nologin";

#[derive(Debug, Error)]
pub enum AccountError {
    #[error("user name {0:?}: use lower-case letters, digits, '-' and '_', starting with a letter")]
    Name(String),
    #[error("users {first:?} and {second:?} both have the number {id}: give one another number")]
    SameNumber { first: String, second: String, id: u32 },
    #[error("user {0:?} is declared twice: keep one declaration")]
    Twice(String),
    #[error("user {user:?} wants group {group:?}, which no overlay declares as a user")]
    NoSuchGroup { user: String, group: String },
}

/// All users of an image, checked against one another.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_name: BTreeMap<String, User>,
}

impl Accounts {
    pub fn new(users: impl IntoIterator<Item = User>) -> Result<Self, AccountError> {
        let mut by_name = BTreeMap::new();
        let mut by_id = BTreeMap::<u32, String>::new();
        for user in users {
            if !is_user_name(&user.name) {
                return Err(AccountError::Name(user.name));
            }
            if let Some(first) = by_id.insert(user.id, user.name.clone()) {
                if first == user.name {
                    return Err(AccountError::Twice(first));
                }
                let (second, id) = (user.name, user.id);
                return Err(AccountError::SameNumber { first, second, id });
            }
            if let Some(old) = by_name.insert(user.name.clone(), user) {
                return Err(AccountError::Twice(old.name));
            }
        }
        for user in by_name.values() {
            if let Some(group) = user.groups.iter().find(|group| !by_name.contains_key(*group)) {
                let (user, group) = (user.name.clone(), group.clone());
                return Err(AccountError::NoSuchGroup { user, group });
            }
        }
        Ok(Self { by_name })
    }

    pub fn get(&self, name: &str) -> Option<&User> {
        self.by_name.get(name)
    }

    /// The users in order of their numbers.
    pub fn sorted(&self) -> Vec<&User> {
        let mut users: Vec<&User> = self.by_name.values().collect();
        users.sort_by_key(|user| user.id);
        users
    }

    /// The text of `/etc/passwd`. `*` is a password that nobody can have.
    pub fn passwd(&self) -> String {
        let line = |user: &&User| {
            let User { name, id, home, .. } = *user;
            format!(
                "{name}:*:{id}:{id}::{home}:{NO_SHELL}
"
            )
        };
        self.sorted().iter().map(line).collect()
    }

    /// The text of `/etc/group`.
    pub fn group(&self) -> String {
        let line = |group: &&User| {
            let members: Vec<&str> = self
                .sorted()
                .iter()
                .filter(|user| user.groups.contains(&group.name))
                .map(|user| user.name.as_str())
                .collect();
            format!("{}:*:{}:{}\n", group.name, group.id, members.join(","))
        };
        self.sorted().iter().map(line).collect()
    }
}

fn is_user_name(name: &str) -> bool {
    let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.len() <= 31
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, id: u32, groups: &[&str]) -> User {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        User { name: name.to_owned(), id, home: "/nonexistent".to_owned(), groups }
    }

    #[test]
    fn files_are_in_order_of_the_numbers_and_name_members() {
        let accounts =
            Accounts::new([user("postgres", 70, &["ssl"]), user("ssl", 60, &[])]).expect("good");
        assert_eq!(
            accounts.passwd(),
            "ssl:*:60:60::/nonexistent:/usr/sbin/nologin\n\
             postgres:*:70:70::/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(accounts.group(), "ssl:*:60:postgres\npostgres:*:70:\n");
    }

    #[test]
    fn clashes_are_refused() {
        assert!(Accounts::new([user("a", 1, &[]), user("b", 1, &[])]).is_err());
        assert!(Accounts::new([user("a", 1, &[]), user("a", 2, &[])]).is_err());
        assert!(Accounts::new([user("a", 1, &["absent"])]).is_err());
        assert!(Accounts::new([user("a:b", 1, &[])]).is_err());
    }
}
