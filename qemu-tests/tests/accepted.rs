//! A seed that is accepted gives configurations that the daemons accept.
//!
//! A daemon that refuses its file is started again and again, and does nothing for its site. So
//! every rule of a daemon's reader has its like in `rootfs/seed`, where a person gets to see it.
//! Here both are asked: about all seeds that we have, and about thousands that differ from these in
//! one place. Only the readers know what is right; no list of their rules is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use builder::root::definition::Definition;
use builder::root::overlay;
use seed::manifest::Manifest;
use seed::render::{context, render_all};
use seed::scalar::Secret;
use seed::{Secrets, Seed};

/// What a daemon's own reader says about a text, if it refuses it.
type Judge = fn(&str) -> Option<String>;

/// Files of a node and who reads them. `nodeapi.toml` is missing: its reader has no rules but its
/// types.
const READERS: [(&str, Judge); 5] = [
    ("/etc/edgepair/vipd.toml", |text| {
        let problems = vipd::Config::parse(text).err()?;
        Some(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }),
    ("/etc/edgepair/pgkeeper.toml", |text| pgkeeper::keeper::Config::parse(text).err()),
    ("/etc/edgepair/witness.toml", |text| {
        pgkeeper::witness::Config::parse(text, Path::new("/etc/edgepair")).err()
    }),
    ("/etc/edgepair/backup.toml", |text| pgkeeper::backup::Config::parse(text).err()),
    ("/etc/edgepair/clockd.conf", |text| {
        clockd::config::parse(text).err().map(|error| error.to_string())
    }),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of a folder whose names end in `.toml`, in their order.
fn tomls(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder").flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths
}

/// The templates of the image that ships, with their texts.
struct Image {
    manifest: Manifest,
    sources: BTreeMap<String, String>,
}

impl Image {
    fn load() -> Self {
        let definition = Definition::load(&root().join("images/edge.toml")).expect("an image");
        let folders = [root().join("overlays")];
        let overlays = overlay::load_all(&folders, &definition.overlays).expect("overlays");
        let mut manifest = Manifest::new("edge", "0", "amd64", 0);
        let mut sources = BTreeMap::new();
        for overlay in &overlays {
            for template in overlay.templates() {
                if !READERS.iter().any(|(path, _)| *path == template.path.as_str()) {
                    continue;
                }
                let (_, name) = template.source.split_once('/').expect("below its overlay");
                let text = overlay.template(name).expect("a template");
                let text = String::from_utf8(text).expect("a text");
                sources.insert(template.source.clone(), text);
                manifest.templates.push(template);
            }
        }
        assert_eq!(manifest.templates.len(), READERS.len(), "one template for each reader");
        Self { manifest, sources }
    }

    /// The files that the node has, and for each what its reader says against it.
    fn judge(&self, seed: &Seed) -> Vec<(String, Option<String>)> {
        let source =
            |name: &str| self.sources.get(name).cloned().ok_or(io::ErrorKind::NotFound.into());
        let files = render_all(&self.manifest, &context(seed), &source);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", seed.node.name));
        let judge = |path: &str| READERS.iter().find(|(known, _)| *known == path);
        let judged = files.into_iter().map(|file| {
            let (_, judge) = judge(&file.path).expect("a reader");
            let said = judge(&file.text);
            (file.path, said)
        });
        judged.collect()
    }

    /// What is wrong with an accepted seed, in the words of the daemons.
    fn refusals(&self, seed: &Seed) -> Vec<String> {
        let judged = self.judge(seed).into_iter();
        judged.filter_map(|(path, said)| Some(format!("{path}: {}", said?))).collect()
    }
}

/// The seed as it is on its node: with secrets.
fn sealed(mut seed: Seed) -> Seed {
    if seed.secrets.is_none() {
        let mut secrets =
            Secrets { heartbeat_key: Some(Secret::new("ab".repeat(32))), ..Secrets::default() };
        for vip in &seed.vips {
            secrets.vrrp_passwords.insert(vip.name.to_string(), Secret::new("secret"));
            secrets.vrrp_keys.insert(vip.name.to_string(), Secret::new("ab".repeat(32)));
        }
        seed.secrets = Some(secrets);
    }
    seed
}

fn parse(name: &str, text: &str) -> Seed {
    sealed(seed::parse(name, text).unwrap_or_else(|problems| panic!("{problems}")))
}

#[test]
fn every_good_seed_gives_good_configurations() {
    let image = Image::load();
    let place = tempfile::tempdir().expect("a temporary folder");
    let mut paths = tomls("rootfs/seed/testdata/good");
    paths.extend(tomls("images/lab"));
    for file in tomls("images/clusters").into_iter().chain(tomls("qemu-tests/clusters")) {
        let site = place.path().join(file.file_stem().expect("a name"));
        let created = builder::cluster::create(&file, &site);
        paths.extend(created.unwrap_or_else(|error| panic!("{}: {error}", file.display())).seeds);
    }
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        for (file, said) in image.judge(&parse(&name, &read(&path))) {
            wrong.extend(said.map(|said| format!("{name}: {file}: {said}")));
            *count.entry(file).or_default() += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (path, _) in READERS {
        let count = count.get(path).copied().unwrap_or_default();
        assert!(count >= 2, "{path} is in {count} examples");
    }
}

/// Once a rule of the seed is lost, this tells what a daemon makes of it.
#[test]
fn no_bad_seed_that_is_accepted_is_refused_on_the_node() {
    let image = Image::load();
    let mut wrong = Vec::new();
    for path in tomls("rootfs/seed/testdata/bad") {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Ok(seed) = seed::parse(&name, &read(&path)) {
            wrong
                .extend(image.refusals(&sealed(seed)).iter().map(|said| format!("{name}: {said}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Values of every kind, at and beyond the bounds that somebody may have.
const VALUES: &[&str] = &[
    "0",
    "1",
    "10",
    "11",
    "128",
    "255",
    "1000",
    "1001",
    "65535",
    "1000000",
    "-253",
    "true",
    "false",
    r#""0s""#,
    r#""1ms""#,
    r#""10ms""#,
    r#""999ms""#,
    r#""1s""#,
    r#""61s""#,
    r#""1d""#,
    r#""366d""#,
    r#""0B""#,
    r#""16TiB""#,
    r#""x""#,
    r#""ipv4""#,
    r#""/x""#,
    r#""lan""#,
    r#""cable""#,
    r#""localhost""#,
    r#""0.0.0.0""#,
    r#""255.255.255.255""#,
    r#""192.168.77.11""#,
    r#""fe80::1""#,
    r#""::""#,
    r#""http://x/""#,
    r#""http://LOCALHOST:8080/""#,
    r#""http://127.0.0.1?x""#,
    r#""http://[127.0.0.1]:80/""#,
    r#""https://x#y""#,
    r#""https://[::1]""#,
    "[]",
    r#"["x"]"#,
    r#"["/x", "/x"]"#,
    r#"["x.example", "X.example"]"#,
    r#"["a1","a2","a3","a4","a5","a6","a7","a8","a9","b1","b2","b3","b4","b5","b6","b7","b8"]"#,
    r#"["0.0.0.0"]"#,
    r#"["127.0.0.1", "::1"]"#,
    r#"["224.0.0.18"]"#,
    r#"["192.168.77.12"]"#,
    r#"["fd77::12"]"#,
    r#"["192.168.77.12", "192.168.77.12", "fd77::12"]"#,
    r#"["192.168.77.0/24"]"#,
    r#"["192.168.77.10/24", "192.168.77.10/32"]"#,
    r#"["fd77::10/64"]"#,
];
/// How often a table of a list is copied; the last is more than any daemon takes of its kind.
const COPIES: [usize; 6] = [1, 2, 3, 8, 40, 130];

/// A header and the lines below it.
struct Block<'t> {
    /// Where its header is, by line.
    start: usize,
    lines: Vec<&'t str>,
}

impl<'t> Block<'t> {
    fn all(text: &'t str) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        for (start, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                blocks.push(Self { start, lines: Vec::new() });
            }
            if let Some(block) = blocks.last_mut() {
                block.lines.push(line);
            }
        }
        blocks
    }

    fn section(&self) -> &str {
        self.lines[0].trim_matches(['[', ']'])
    }
}

/// The keys of each section, and the words that a key may have as its value, from the reference
/// page.
struct Vocabulary {
    keys: BTreeMap<String, Vec<String>>,
    words: BTreeMap<(String, String), Vec<String>>,
}

impl Vocabulary {
    fn read() -> Self {
        let (mut keys, mut words) = (BTreeMap::new(), BTreeMap::new());
        let page = seed::reference();
        let quoted = |rest: &str| rest.split('`').next().unwrap_or_default().to_owned();
        let (mut section, mut key) = ("", String::new());
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## `[") {
                section = title.trim_matches(['[', ']', '`']);
            } else if let Some(row) = line.strip_prefix("| `") {
                keys.entry(section.to_owned()).or_insert_with(Vec::new).push(quoted(row));
            } else if let Some(title) = line.strip_prefix("The words of `") {
                key = quoted(title);
            } else if let Some(word) = line.strip_prefix("- `") {
                let place = (section.to_owned(), key.clone());
                words.entry(place).or_insert_with(Vec::new).push(quoted(word));
            }
        }
        assert!(keys["vips.checks"].contains(&"command".to_owned()) && words.len() > 5);
        Self { keys, words }
    }
}

/// The same text with other lines in the place of some.
fn replaced(text: &str, from: usize, to: usize, with: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let head = lines[..from].iter().map(|line| format!("{line}\n"));
    let tail = lines[to..].iter().map(|line| format!("{line}\n"));
    head.chain([with.to_owned()]).chain(tail).collect()
}

/// Every seed that differs from this one in one value of a block.
fn other_values(text: &str, block: &Block<'_>, vocabulary: &Vocabulary) -> Vec<(String, String)> {
    let section = block.section();
    let none = Vec::new();
    let mut all = Vec::new();
    for key in vocabulary.keys.get(section).unwrap_or(&none) {
        let assigned = format!("{key} = ");
        let (from, to) = match block.lines.iter().position(|line| line.starts_with(&assigned)) {
            Some(at) => (block.start + at, block.start + at + 1),
            None => (block.start + 1, block.start + 1),
        };
        let words = vocabulary.words.get(&(section.to_owned(), key.clone())).unwrap_or(&none);
        for value in VALUES.iter().copied().chain(words.iter().map(String::as_str)) {
            let line = format!("{assigned}{value}\n");
            let name = format!("[{section}] at line {}: {}", block.start + 1, line.trim());
            all.push((name, replaced(text, from, to, &line)));
        }
    }
    all
}

/// Every seed in which a table of a list is there more often, with the same name or with others.
fn copies(text: &str, block: &Block<'_>) -> Vec<(String, String)> {
    if !block.lines[0].starts_with("[[") {
        return Vec::new();
    }
    let (end, place) = (block.start + block.lines.len(), block.start + 1);
    let whole: String = block.lines.iter().map(|line| format!("{line}\n")).collect();
    let renamed = |number: usize| -> String {
        let lines = block.lines.iter().map(|line| {
            let named = line.starts_with("name = ");
            if named { format!("name = \"copy{number}\"\n") } else { format!("{line}\n") }
        });
        lines.collect()
    };
    let mut all =
        vec![(format!("the table at line {place} twice"), replaced(text, end, end, &whole))];
    for count in COPIES {
        let added: String = (0..count).map(renamed).collect();
        let name = format!("{count} copies of the table at line {place}");
        all.push((name, replaced(text, end, end, &added)));
    }
    all
}

/// Every seed that differs from this one in one place.
fn variations(text: &str, vocabulary: &Vocabulary) -> Vec<(String, String)> {
    let blocks = Block::all(text);
    let values = blocks.iter().flat_map(|block| other_values(text, block, vocabulary));
    values.chain(blocks.iter().flat_map(|block| copies(text, block))).collect()
}

#[test]
fn no_variation_of_a_good_seed_is_accepted_here_and_refused_there() {
    let image = Image::load();
    let vocabulary = Vocabulary::read();
    let mut wrong = BTreeSet::new();
    let (mut accepted, mut refused) = (0, 0);
    for name in ["pair-in-full.toml", "004-stacked-node1.toml", "003-nginx.toml"] {
        let text = read(&root().join("rootfs/seed/testdata/good").join(name));
        for (what, text) in variations(&text, &vocabulary) {
            let Ok(seed) = seed::parse(name, &text) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            let refusals = image.refusals(&sealed(seed));
            wrong.extend(refusals.iter().map(|said| format!("{name}, {what}: {said}")));
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{} of {accepted}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

#[test]
fn no_secret_is_accepted_here_and_refused_there() {
    let image = Image::load();
    let name = "pair-in-full.toml";
    let text = read(&root().join("rootfs/seed/testdata/good").join(name));
    let mut given = parse(name, &text).secrets.expect("sealed");
    let pem = |kind| Secret::new(format!("-----BEGIN {kind}-----\nAA==\n-----END {kind}-----\n"));
    given.ca_certificate = Some(pem("CERTIFICATE"));
    given.node_certificate = given.ca_certificate.clone();
    given.client_certificate = given.ca_certificate.clone();
    given.replication_certificate = given.ca_certificate.clone();
    given.node_key = Some(pem("PRIVATE KEY"));
    given.client_key = given.node_key.clone();
    given.replication_key = given.node_key.clone();
    given.k3s_token = Some(Secret::new("token"));
    given.backup_passphrase = Some(Secret::new("phrase"));
    let lengths = [1, 8, 9, 15, 16, 31, 32, 64, 65, 128, 130];
    let mut texts: Vec<String> = lengths.map(|length| "a".repeat(length)).to_vec();
    texts.extend(lengths.map(|length| format!("hex:{}", "a".repeat(length))));
    texts.extend([" ", "é", "q\"\\'", "\n", "\u{1}\t\u{7f}", "hex:", "hex:zz"].map(str::to_owned));
    let long = texts.last().map(|odd| format!("{odd}{}", "\"\\\u{7f}\u{1}é\n".repeat(5)));
    texts.extend(long);
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for text_of_secret in &texts {
        for place in ["heartbeat_key", "vrrp_passwords", "vrrp_keys"] {
            let mut secrets = given.clone();
            let secret = Secret::new(text_of_secret.as_str());
            match place {
                "heartbeat_key" => secrets.heartbeat_key = Some(secret),
                "vrrp_keys" => drop(secrets.vrrp_keys.insert("direct".to_owned(), secret)),
                _ => drop(secrets.vrrp_passwords.insert("old".to_owned(), secret)),
            }
            let Ok(text) = seed::sealed(&text, &secrets) else { continue };
            accepted += 1;
            let refusals = image.refusals(&parse(name, &text));
            wrong.extend(refusals.iter().map(|said| format!("{place} {text_of_secret:?}: {said}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(accepted > 20, "{accepted} accepted");
}
