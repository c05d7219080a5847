//! `tokens.toml`: tokens, keys and passwords that the nodes of a site share.
//!
//! Keys appear when the first node needs them and then never change. Someone who has to use a given
//! value, such as the VRRP password of routers that are already there, writes it into the file
//! before the next build.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ring::rand::{SecureRandom, SystemRandom};
use seed::Seed;
use seed::section::{Authentication, Role};
use serde::{Deserialize, Serialize};

use super::pki::{PkiError, hex};

/// Random bytes in a token or key: as strong as the certificates' keys and more.
const TOKEN_BYTES: usize = 32;
/// A password of VRRP version 2 has eight bytes.
const VRRP_PASSWORD_CHARACTERS: usize = 8;

/// What stands above the values.
const HEADER: &str = "\
# Tokens and passwords that the nodes of this site share. Made by the builder when a node first
# needed them; they are never changed afterwards. Keep this folder private, and back it up.

";

/// The content of the file.
#[derive(Clone, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tokens {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) k3s_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) k3s_agent_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heartbeat_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database_superuser_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database_replication_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patroni_rest_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) datastore_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backup_access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backup_secret_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backup_passphrase: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) vrrp_passwords: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) vrrp_keys: BTreeMap<String, String>,
}

impl Tokens {
    /// The file's text.
    pub(super) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }

    /// Takes every value that `given` has.
    pub(super) fn replace_with(&mut self, given: Self) {
        fn take(own: &mut Option<String>, given: Option<String>) {
            if given.is_some() {
                *own = given;
            }
        }
        take(&mut self.k3s_token, given.k3s_token);
        take(&mut self.k3s_agent_token, given.k3s_agent_token);
        take(&mut self.datastore_password, given.datastore_password);
        take(&mut self.backup_access_key, given.backup_access_key);
        take(&mut self.backup_secret_key, given.backup_secret_key);
        take(&mut self.backup_passphrase, given.backup_passphrase);
        self.vrrp_passwords.extend(given.vrrp_passwords);
        self.vrrp_keys.extend(given.vrrp_keys);
    }

    /// Adds what this node needs and is not there yet.
    pub(super) fn fill(&mut self, seed: &Seed) -> Result<(), PkiError> {
        let has = |role| seed.node.roles.contains(&role);
        let mut missing: Vec<&mut Option<String>> = Vec::new();
        if has(Role::Server) || has(Role::Agent) {
            missing.extend([&mut self.k3s_token, &mut self.k3s_agent_token]);
        }
        if has(Role::Database) {
            missing.push(&mut self.heartbeat_key);
        }
        if has(Role::Patroni) {
            missing.extend([
                &mut self.database_superuser_password,
                &mut self.database_replication_password,
                &mut self.patroni_rest_password,
            ]);
        }
        if seed.database.as_ref().is_some_and(|it| it.backup.is_some()) {
            missing.push(&mut self.backup_passphrase);
        }
        for token in missing {
            if token.is_none() {
                *token = Some(random_hex()?);
            }
        }
        for vip in &seed.vips {
            type Make = fn() -> Result<String, PkiError>;
            let (map, make): (_, Make) = match vip.authentication {
                Authentication::None => continue,
                Authentication::Password => (&mut self.vrrp_passwords, random_password),
                Authentication::Hmac | Authentication::HmacPermissive => {
                    (&mut self.vrrp_keys, random_hex)
                }
            };
            if let Entry::Vacant(missing) = map.entry(vip.name.to_string()) {
                missing.insert(make()?);
            }
        }
        Ok(())
    }
}

/// Random bytes in hexadecimal: safe in every file format that a token ends up in.
fn random_hex() -> Result<String, PkiError> {
    let mut bytes = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Random)?;
    Ok(hex(&bytes))
}

/// Eight letters and digits, each equally likely.
fn random_password() -> Result<String, PkiError> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::new();
    while password.len() < VRRP_PASSWORD_CHARACTERS {
        let mut byte = [0];
        SystemRandom::new().fill(&mut byte).map_err(|_| PkiError::Random)?;
        // Six bits choose a letter; the two values beyond the last one are thrown again.
        if let Some(letter) = LETTERS.get(usize::from(byte[0] & 0x3f)) {
            password.push(char::from(*letter));
        }
    }
    Ok(password)
}
