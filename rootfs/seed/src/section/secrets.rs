//! `[secrets]`: everything that must not be committed.

use std::fmt::Write;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::problem::{Problems, Wrong};
use crate::reader::{Item, Read, Reader, Table, read_document, section};
use crate::scalar::{REDACTED, Secret};
use crate::section::{Authentication, BackupTarget, Datastore, Role, SecretMap, Seed};

/// The password of VRRPv2 is a field of eight bytes.
const MAX_VRRP_PASSWORD_BYTES: usize = 8;
/// What the HMAC of keepalived's trailer takes.
const VRRP_KEY_BYTES: RangeInclusive<usize> = 32..=64;
/// `pgkeeper` refuses a shorter key for its heartbeats.
const LEAST_KEY_BYTES: usize = 16;

/// Defines the table once more than `section!` does: also how its texts are exposed.
macro_rules! secrets {
    (
        $( $(#[doc = $doc:literal])+ $text:ident; )+
        maps { $( $(#[doc = $map_doc:literal])+ $map:ident; )+ }
    ) => {
        section! {
            /// Keys, tokens and passwords. `builder cluster new` makes them; the builder appends
            /// this table when it seals a seed onto a node's SEED partition.
            Secrets {
                $( $(#[doc = $doc])+ $text: Secret = optional; )+
                $( $(#[doc = $map_doc])+ $map: SecretMap = default("{}"); )+
            }
            rules = well_formed;
        }

        impl Default for Secrets {
            fn default() -> Self {
                Self { $( $text: None, )+ $( $map: SecretMap::new(), )+ }
            }
        }

        impl Secrets {
            /// A placeholder for every secret that a seed can have, set or not: for showing the
            /// files of a node to people.
            pub fn placeholders(seed: &Seed) -> Value {
                let of_vips: Map<String, Value> =
                    seed.vips.iter().map(|vip| (vip.name.to_string(), REDACTED.into())).collect();
                let mut all = Map::new();
                for key in [$( stringify!($text) ),+] {
                    all.insert(key.to_owned(), REDACTED.into());
                }
                for key in [$( stringify!($map) ),+] {
                    all.insert(key.to_owned(), Value::Object(of_vips.clone()));
                }
                Value::Object(all)
            }

            /// The single texts that are set, by key.
            fn texts(&self) -> Vec<(&'static str, &Secret)> {
                let all = [$( (stringify!($text), self.$text.as_ref()) ),+];
                all.into_iter().filter_map(|(key, text)| Some((key, text?))).collect()
            }

            /// The maps that are not empty, by key.
            fn maps(&self) -> Vec<(&'static str, &SecretMap)> {
                let all = [$( (stringify!($map), &self.$map) ),+];
                all.into_iter().filter(|(_, map)| !map.is_empty()).collect()
            }
        }
    };
}

secrets! {
    /// Certificate of the site's CA (PEM).
    ca_certificate;
    /// This node's certificate for servers and clients (PEM).
    node_certificate;
    /// Its key (PEM).
    node_key;
    /// Client certificate with which K3s reaches the database (PEM).
    client_certificate;
    /// Its key (PEM).
    client_key;
    /// Client certificate with which the standby replicates (PEM).
    replication_certificate;
    /// Its key (PEM).
    replication_key;
    /// CA of an external datastore (PEM).
    datastore_ca_certificate;
    /// Password for an external datastore.
    datastore_password;
    /// Token with which servers join.
    k3s_token;
    /// Token with which agents join; the servers' token if absent.
    k3s_agent_token;
    /// Key that authenticates heartbeats between the database pair, sixteen characters at least.
    heartbeat_key;
    /// Password of PostgreSQL's superuser, for Patroni.
    database_superuser_password;
    /// Password for replication, for Patroni.
    database_replication_password;
    /// Password of Patroni's REST interface.
    patroni_rest_password;
    /// Access key of the S3 store for backups.
    backup_access_key;
    /// Secret key of the S3 store for backups.
    backup_secret_key;
    /// Password with which backups are encrypted.
    backup_passphrase;
    maps {
        /// VRRPv2 passwords by the name of the VIP, at most eight characters.
        vrrp_passwords;
        /// Keys of the HMAC trailer by the name of the VIP: 32 to 64 bytes, or "hex:" and their
        /// digits.
        vrrp_keys;
    }
}

/// A file that has the `[secrets]` table alone.
struct SecretsFile(Secrets);

impl Read for SecretsFile {
    fn kind() -> String {
        "table".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        Table::open(item, &["secrets"], reader)?.required("secrets", reader).map(Self)
    }
}

/// A secret that a seed can't do without on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededSecret {
    /// Dotted key within `[secrets]`, such as `vrrp_passwords.api`.
    pub key: String,
    /// What it is needed for.
    pub why: &'static str,
}

impl Secrets {
    /// All texts in the open, for the template context. Unset ones are null, so that a template
    /// can ask for them.
    pub fn expose(&self) -> Value {
        let mut open = match serde_json::to_value(self) {
            Ok(Value::Object(redacted)) => redacted,
            _ => Map::new(),
        };
        for (key, text) in self.texts() {
            open.insert(key.to_owned(), Value::from(text.expose()));
        }
        for (key, map) in self.maps() {
            let map = map.iter().map(|(name, text)| (name.clone(), Value::from(text.expose())));
            open.insert(key.to_owned(), Value::Object(map.collect()));
        }
        Value::Object(open)
    }

    /// Reads a file that consists of the `[secrets]` table alone, as [`Secrets::to_toml`] writes it.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(file, text);
        let read = read_document::<SecretsFile>(&mut reader);
        let problems = reader.into_problems();
        match read {
            Some(read) if problems.is_empty() => Ok(read.0),
            _ => Err(problems),
        }
    }

    /// The `[secrets]` table as TOML in the open: for sealing a seed, and for the private folder in
    /// which the builder keeps a site's secrets.
    pub fn to_toml(&self) -> String {
        let mut table = String::from("[secrets]\n");
        for (key, text) in self.texts() {
            let _ = writeln!(table, "{key} = {}", quoted(text));
        }
        for (key, map) in self.maps() {
            let _ = writeln!(table, "\n[secrets.{key}]");
            for (name, text) in map {
                let _ = writeln!(table, "{} = {}", quoted(&Secret::new(name)), quoted(text));
            }
        }
        table
    }

    /// What this seed needs in `[secrets]` when it goes onto a node.
    pub fn needed_by(seed: &Seed) -> Vec<NeededSecret> {
        let has = |role| seed.node.roles.contains(&role);
        let mut needed = Vec::new();
        let mut need = |keys: &[&str], why| {
            needed.extend(keys.iter().map(|key| NeededSecret { key: (*key).to_owned(), why }));
        };
        if !seed.node.roles.is_empty() {
            let why = "every node proves who it is";
            need(&["ca_certificate", "node_certificate", "node_key"], why);
        }
        if has(Role::Database) {
            need(
                &["replication_certificate", "replication_key", "heartbeat_key"],
                "the database pair replicates and watches itself",
            );
        }
        if has(Role::Patroni) {
            let why = "Patroni manages PostgreSQL with them";
            need(
                &[
                    "database_superuser_password",
                    "database_replication_password",
                    "patroni_rest_password",
                ],
                why,
            );
        }
        if has(Role::Server) || has(Role::Agent) {
            need(&["k3s_token"], "nodes join Kubernetes with it");
        }
        let datastore = seed.k3s.as_ref().and_then(|k3s| k3s.datastore);
        match datastore.filter(|_| has(Role::Server)) {
            Some(Datastore::Etcd) | None => {}
            Some(_) => {
                need(&["client_certificate", "client_key"], "K3s reaches its datastore with it");
            }
        }
        let backup = seed.database.as_ref().and_then(|database| database.backup.as_ref());
        if backup.is_some() {
            need(&["backup_passphrase"], "backups are encrypted with it");
        }
        if backup.is_some_and(|backup| backup.target == BackupTarget::S3) {
            need(&["backup_access_key", "backup_secret_key"], "backups go to an S3 store");
        }
        for vip in &seed.vips {
            let (map, why) = match vip.authentication {
                Authentication::None => continue,
                Authentication::Password => ("vrrp_passwords", "the VIP's adverts carry it"),
                Authentication::Hmac | Authentication::HmacPermissive => {
                    ("vrrp_keys", "the VIP's adverts are signed with it")
                }
            };
            needed.push(NeededSecret { key: format!("{map}.{}", vip.name), why });
        }
        needed
    }

    /// Whether the secret of this dotted key is set.
    pub fn has(&self, key: &str) -> bool {
        match key.split_once('.') {
            Some((map, name)) => {
                self.maps().iter().any(|(key, entries)| *key == map && entries.contains_key(name))
            }
            None => self.texts().iter().any(|(set, _)| *set == key),
        }
    }
}

/// A secret as a TOML string: many lines for a PEM, one for the rest.
fn quoted(secret: &Secret) -> String {
    let text = secret.expose();
    let lines = text.trim_end_matches('\n').contains('\n');
    let mut quoted = String::from(if lines { "\"\"\"\n" } else { "\"" });
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' if lines => quoted.push('\n'),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push_str(if lines { "\"\"\"" } else { "\"" });
    quoted
}

fn well_formed(secrets: &Secrets, item: &Item<'_>, reader: &mut Reader<'_>) {
    for (key, text) in secrets.texts() {
        let wanted = if key.ends_with("_certificate") {
            "CERTIFICATE-----"
        } else if key.ends_with("_key") && !key.starts_with("backup") && key != "heartbeat_key" {
            "PRIVATE KEY-----"
        } else {
            continue;
        };
        let text = text.expose().trim_start();
        if !text.starts_with("-----BEGIN ") || !text.contains(wanted) {
            let wrong = Wrong::new(
                format!("`{key}` is a PEM text"),
                format!("has no line that ends with {wanted}"),
                "let `builder cluster new` make the secrets, or paste the whole PEM file",
            );
            reader.report_at(&format!("{}.{key}", item.path), wrong);
        }
    }
    if secrets.heartbeat_key.as_ref().is_some_and(|key| key.expose().len() < LEAST_KEY_BYTES) {
        let wrong = Wrong::new(
            format!("the key of the heartbeats has at least {LEAST_KEY_BYTES} characters"),
            "is shorter and could be guessed",
            "let `builder cluster new` make the secrets",
        );
        reader.report_at(&format!("{}.heartbeat_key", item.path), wrong);
    }
    for (name, key) in &secrets.vrrp_keys {
        if !key_bytes(key.expose()).is_some_and(|bytes| VRRP_KEY_BYTES.contains(&bytes)) {
            let (least, most) = VRRP_KEY_BYTES.into_inner();
            let wrong = Wrong::new(
                format!(
                    "a VRRP key has {least} to {most} bytes, or is their digits after \"hex:\""
                ),
                "has more or fewer, or something else than two digits for each",
                "let `builder cluster new` make it, or take \"hex:\" and `openssl rand -hex 32`",
            );
            reader.report_at(&format!("{}.vrrp_keys.{name}", item.path), wrong);
        }
    }
    for (name, password) in &secrets.vrrp_passwords {
        if password.expose().len() > MAX_VRRP_PASSWORD_BYTES {
            let wrong = Wrong::new(
                format!("a VRRP password has at most {MAX_VRRP_PASSWORD_BYTES} bytes"),
                "is longer; peers would cut it or refuse it",
                "shorten it on all nodes of the VIP",
            );
            reader.report_at(&format!("{}.vrrp_passwords.{name}", item.path), wrong);
        }
    }
}

/// How many bytes `vipd` makes of a key: those of the text, or of the digits behind `hex:`.
fn key_bytes(text: &str) -> Option<usize> {
    let Some(digits) = text.strip_prefix("hex:") else { return Some(text.len()) };
    let whole = digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then_some(digits.len() / 2)
}
