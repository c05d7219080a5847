//! The secrets of a node: taken from its site's private folder, made there on first use.
//!
//! A seed that is committed has no `[secrets]`. When it is built, [`ensure`] looks into the folder
//! `secrets/<cluster>/` beside it. The first node of a cluster makes the CA and the tokens it needs;
//! the second one reuses them and adds only what is its own. A certificate whose node has got
//! another address since is issued again, with the same key.
//!
//! Three things nobody can invent, so a person puts them into the folder:
//!
//! - `external/ca.pem`, and `external/client.pem` with `client.key`: how K3s reaches a database
//!   that is not this site's (`k3s.datastore = "external"`). Without them the site's own CA is used
//!   for both, which fits the database of another of our own clusters that trusts this CA.
//! - `datastore_password` in `tokens.toml`, if that database wants one.
//! - `backup_access_key` and `backup_secret_key` in `tokens.toml`, for backups to an S3 store.
//!
//! An own CA may be put there too, as `ca.pem` and `ca.key`, before the first build.

use std::path::{Path, PathBuf};

use seed::scalar::Secret;
use seed::section::{Datastore, Role};
use seed::{Secrets, Seed};

use super::identity;
use super::pki::{self, Authority, PkiError, Subject};
use super::plan::Plan;
use super::private::{PrivateError, PrivateFolder};
use super::tokens::Tokens;

/// The folder beside a seed that holds the secrets of all clusters whose seeds lie there.
pub(super) const FOLDER: &str = "secrets";
pub(super) const TOKENS: &str = "tokens.toml";

/// Why a node's secrets can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The folder can't be used.
    #[error(transparent)]
    Folder(#[from] PrivateError),
    /// A certificate or key can't be made or used.
    #[error("{}: {source}", folder.display())]
    Pki { folder: PathBuf, source: PkiError },
    /// The list of tokens was changed by hand, and wrongly.
    #[error("{}: {why}\nmend: correct it, or restore it from a backup", path.display())]
    Tokens { path: PathBuf, why: String },
    /// The CA's certificate is there, but its key isn't.
    #[error(
        "{} is there, but ca.key is not: restore it from a backup; or move the whole folder away, \
         so that a new CA is made, and write new seeds to all nodes of the site",
        path.display()
    )]
    LostKey { path: PathBuf },
    /// A node has the name of a client.
    #[error(
        "the node \"{node}\" of cluster \"{cluster}\" is called like a client of its database or \
         like an operator, and its certificate would open their doors: rename the node"
    )]
    Mistakable { node: String, cluster: String },
    /// Something that only a person knows is missing.
    #[error("{key} is needed ({why}): add `{key} = \"…\"` to {}", path.display())]
    ByHand { key: String, why: &'static str, path: PathBuf },
}

/// A node's secrets, and how they came about.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// What belongs into the node's seed.
    pub secrets: Secrets,
    /// Where they were taken from.
    pub folder: PathBuf,
    /// Whether the site's CA was made just now: worth telling, since the folder wants a backup.
    pub created: bool,
    /// Fingerprint of the operator's certificate; the node lets it in if `[operators]` lists it.
    pub operator_fingerprint: String,
}

/// Where the secrets of a seed's cluster are.
pub fn folder_beside(seed_file: &Path, seed: &Seed) -> PathBuf {
    let folder = seed_file.parent().unwrap_or(Path::new(""));
    folder.join(FOLDER).join(seed.cluster.name.as_str())
}

/// All secrets that the node of this seed needs, from `folder`, where missing ones are made.
pub fn ensure(folder: &Path, seed: &Seed) -> Result<Ensured, SecretsError> {
    if let Some(mistaken) = mistakable(seed) {
        return Err(mistaken);
    }
    let mut site = Site::open(folder, seed.cluster.name.as_str())?;
    let secrets = site.secrets_of(seed)?;
    Ok(Ensured {
        secrets,
        folder: folder.to_owned(),
        created: site.created,
        operator_fingerprint: site.operator()?,
    })
}

/// Makes what a site has before its first node: CA, operator's certificate, given tokens. Returns
/// the fingerprint of the operator's certificate, which every seed lists, and whether the CA is new.
pub(super) fn prepare(folder: &Path, plan: &Plan) -> Result<(String, bool), SecretsError> {
    if let Some(mistaken) = plan.seeds.iter().find_map(|it| mistakable(&it.seed)) {
        return Err(mistaken);
    }
    let mut site = Site::open(folder, &plan.cluster)?;
    if let Some(given) = &plan.given_secrets {
        site.preset(given)?;
    }
    Ok((site.operator()?, site.created))
}

fn mistakable(seed: &Seed) -> Option<SecretsError> {
    let node = identity::mistakable(seed)?.to_owned();
    let cluster = seed.cluster.name.to_string();
    Some(SecretsError::Mistakable { node, cluster })
}

/// A site's folder, open and locked.
struct Site {
    folder: PrivateFolder,
    authority: Authority,
    ca_certificate: String,
    tokens: Tokens,
    /// What the file says.
    stored: Tokens,
    created: bool,
}

impl Site {
    fn open(folder: &Path, cluster: &str) -> Result<Self, SecretsError> {
        let folder = PrivateFolder::open(folder)?;
        let wrap = |source| SecretsError::Pki { folder: folder.path().to_owned(), source };
        let mut created = false;
        // The key comes first: a crash before the certificate is written leaves nothing to mend.
        let (certificate, key) = match (folder.read("ca.pem")?, folder.read("ca.key")?) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                let path = folder.path().join("ca.pem");
                return Err(SecretsError::LostKey { path });
            }
            (None, key) => {
                let key = match key {
                    Some(key) => key,
                    None => pki::new_key().map_err(wrap)?,
                };
                let certificate = pki::new_authority(cluster, &key).map_err(wrap)?;
                folder.write("ca.key", &key)?;
                folder.write("ca.pem", &certificate)?;
                created = true;
                (certificate, key)
            }
        };
        let authority = Authority::load(&certificate, &key).map_err(wrap)?;
        let tokens: Tokens = match folder.read(TOKENS)? {
            None => Tokens::default(),
            Some(text) => toml::from_str(&text).map_err(|error| SecretsError::Tokens {
                path: folder.path().join(TOKENS),
                why: error.message().to_owned(),
            })?,
        };
        Ok(Self {
            folder,
            authority,
            ca_certificate: certificate,
            stored: tokens.clone(),
            tokens,
            created,
        })
    }

    fn secrets_of(&mut self, seed: &Seed) -> Result<Secrets, SecretsError> {
        self.tokens.fill(seed).map_err(|source| self.pki(source))?;
        self.save_tokens()?;
        let own = format!("nodes/{}", seed.node.name);
        let mut secrets = self.shared(seed);
        secrets.ca_certificate = Some(Secret::new(self.ca_certificate.clone()));
        let node = self.certified(&format!("{own}/node"), &identity::node(seed))?;
        (secrets.node_certificate, secrets.node_key) = secret_pair(node);
        if seed.node.roles.contains(&Role::Database) {
            let subject = Subject::client(identity::REPLICATION);
            let replication = self.certified(&format!("{own}/replication"), &subject)?;
            (secrets.replication_certificate, secrets.replication_key) = secret_pair(replication);
        }
        if let Some(client) = identity::k3s_client(seed) {
            let client = match self.external_client(seed)? {
                Some(given) => given,
                None => self.certified(&format!("{own}/client"), &Subject::client(&client))?,
            };
            (secrets.client_certificate, secrets.client_key) = secret_pair(client);
        }
        if is_external(seed) {
            let given = self.folder.read("external/ca.pem")?;
            let authority = given.unwrap_or_else(|| self.ca_certificate.clone());
            secrets.datastore_ca_certificate = Some(Secret::new(authority));
        }
        for client in identity::database_clients(seed) {
            let file = format!("clients/{}", identity::file_name(&client));
            self.certified(&file, &Subject::client(&client))?;
        }
        self.refuse_gaps(seed, &secrets)?;
        Ok(secrets)
    }

    /// The part of a node's secrets that comes from the tokens.
    fn shared(&self, seed: &Seed) -> Secrets {
        let has = |role| seed.node.roles.contains(&role);
        let kept = |wanted: bool, token: &Option<String>| {
            token.as_ref().filter(|_| wanted).map(Secret::new)
        };
        let tokens = &self.tokens;
        let (server, agent) = (has(Role::Server), has(Role::Agent));
        let backup = seed.database.as_ref().is_some_and(|it| it.backup.is_some());
        // An agent must not be able to join as a server, so it gets the agents' token only.
        let join = if server { &tokens.k3s_token } else { &tokens.k3s_agent_token };
        let mut secrets = Secrets {
            k3s_token: kept(server || agent, join),
            k3s_agent_token: kept(server || agent, &tokens.k3s_agent_token),
            heartbeat_key: kept(has(Role::Database), &tokens.heartbeat_key),
            database_superuser_password: kept(
                has(Role::Patroni),
                &tokens.database_superuser_password,
            ),
            database_replication_password: kept(
                has(Role::Patroni),
                &tokens.database_replication_password,
            ),
            patroni_rest_password: kept(has(Role::Patroni), &tokens.patroni_rest_password),
            datastore_password: kept(is_external(seed), &tokens.datastore_password),
            backup_access_key: kept(backup, &tokens.backup_access_key),
            backup_secret_key: kept(backup, &tokens.backup_secret_key),
            backup_passphrase: kept(backup, &tokens.backup_passphrase),
            ..Secrets::default()
        };
        for vip in &seed.vips {
            let name = vip.name.as_str();
            if let Some(password) = tokens.vrrp_passwords.get(name) {
                let password = Secret::new(password);
                secrets.vrrp_passwords.insert(name.to_owned(), password);
            }
            if let Some(key) = tokens.vrrp_keys.get(name) {
                secrets.vrrp_keys.insert(name.to_owned(), Secret::new(key));
            }
        }
        secrets
    }

    /// A certificate and its key from `<file>.pem` and `<file>.key`, issued if there is none that
    /// fits.
    fn certified(&self, file: &str, subject: &Subject) -> Result<(String, String), SecretsError> {
        let (certificate_file, key_file) = (format!("{file}.pem"), format!("{file}.key"));
        let key = if let Some(key) = self.folder.read(&key_file)? {
            key
        } else {
            let key = pki::new_key().map_err(|source| self.pki(source))?;
            self.folder.write(&key_file, &key)?;
            key
        };
        if let Some(certificate) = self.folder.read(&certificate_file)?
            && self.authority.still_fits(&certificate, &key, subject)
        {
            return Ok((certificate, key));
        }
        let certificate =
            self.authority.issue(&key_file, subject, &key).map_err(|source| self.pki(source))?;
        self.folder.write(&certificate_file, &certificate)?;
        Ok((certificate, key))
    }

    fn operator(&self) -> Result<String, SecretsError> {
        let subject = Subject::client(identity::OPERATOR);
        let (certificate, _) = self.certified("operator", &subject)?;
        pki::fingerprint("operator.pem", &certificate).map_err(|source| self.pki(source))
    }

    /// The client certificate that the owner of an external datastore gave us.
    fn external_client(&self, seed: &Seed) -> Result<Option<(String, String)>, SecretsError> {
        if !is_external(seed) {
            return Ok(None);
        }
        let certificate = self.folder.read("external/client.pem")?;
        let key = self.folder.read("external/client.key")?;
        Ok(certificate.zip(key))
    }

    /// Takes given values in place of those that are there.
    fn preset(&mut self, given: &str) -> Result<(), SecretsError> {
        let path = self.folder.path().join(TOKENS);
        let wrong = |error: toml::de::Error| SecretsError::Tokens {
            path: path.clone(),
            why: error.message().to_owned(),
        };
        let given: Tokens = toml::from_str(given).map_err(wrong)?;
        self.tokens.replace_with(given);
        self.save_tokens()
    }

    fn save_tokens(&self) -> Result<(), SecretsError> {
        let text = self.tokens.to_toml().map_err(|error| SecretsError::Tokens {
            path: self.folder.path().join(TOKENS),
            why: error.to_string(),
        })?;
        // What a person wrote into the file stays as it is, as long as nothing has to be added.
        if self.tokens != self.stored {
            self.folder.write(TOKENS, &text)?;
        }
        Ok(())
    }

    /// The seed crate has the last word on what a node needs.
    fn refuse_gaps(&self, seed: &Seed, secrets: &Secrets) -> Result<(), SecretsError> {
        let mut needed = Secrets::needed_by(seed).into_iter();
        match needed.find(|needed| !secrets.has(&needed.key)) {
            None => Ok(()),
            Some(missing) => Err(SecretsError::ByHand {
                key: missing.key,
                why: missing.why,
                path: self.folder.path().join(TOKENS),
            }),
        }
    }

    fn pki(&self, source: PkiError) -> SecretsError {
        SecretsError::Pki { folder: self.folder.path().to_owned(), source }
    }
}

fn is_external(seed: &Seed) -> bool {
    let datastore = seed.k3s.as_ref().and_then(|k3s| k3s.datastore);
    datastore == Some(Datastore::External) && seed.node.roles.contains(&Role::Server)
}

fn secret_pair((certificate, key): (String, String)) -> (Option<Secret>, Option<Secret>) {
    (Some(Secret::new(certificate)), Some(Secret::new(key)))
}
