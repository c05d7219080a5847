//! Makes the miniature archive: `.deb`s, indexes, and a release signed with a key made for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use builder::debian::archive::{Archive, ArchiveError, ArchiveRequest};
use builder::debian::digest::Digest;
use builder::debian::{Network, Package, Store};
use builder::progress::Progress;
use pgp::composed::SignedSecretKey;
use tar::{EntryType, Header};
use tempfile::TempDir;

use crate::shared::archive_pieces::{clear_sign, key, keyring, xz};
use crate::shared::noise::noise;

/// 2026-11-20, the day on which the miniature archive lives.
pub(crate) const NOW: u64 = 1_795_132_800;

/// An archive in a folder, as a mirror would have it.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    packages: String,
}

/// One entry for a tar, good or bad.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn file(name: &str, content: &[u8]) -> Member {
    let content = content.to_vec();
    Member { name: name.into(), kind: EntryType::Regular, link: Vec::new(), mode: 0o644, content }
}

pub(crate) fn entry(name: &str, kind: EntryType, link: &str) -> Member {
    let (name, link) = (name.into(), link.into());
    Member { name, kind, link, mode: 0o755, content: Vec::new() }
}

/// A tar as dpkg writes it: GNU headers, long names as entries of their own.
pub(crate) fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        for (kind, text, room) in [
            (EntryType::GNULongLink, &member.link, 100),
            (EntryType::GNULongName, &member.name, 100),
        ] {
            if text.len() > room {
                let mut content = text.clone();
                content.push(0);
                add(&mut bytes, kind, b"././@LongLink", b"", 0o644, &content);
            }
        }
        let cut = |text: &[u8]| text[..text.len().min(100)].to_vec();
        let (name, link) = (cut(&member.name), cut(&member.link));
        add(&mut bytes, member.kind, &name, &link, member.mode, &member.content);
    }
    bytes.resize((bytes.len() + 1024).next_multiple_of(10_240), 0);
    bytes
}

fn add(out: &mut Vec<u8>, kind: EntryType, name: &[u8], link: &[u8], mode: u32, content: &[u8]) {
    let mut header = Header::new_gnu();
    // Straight into the fields, since the crate's setters refuse what a test of hostility needs.
    let gnu = header.as_gnu_mut().expect("a GNU header");
    gnu.name[..name.len()].copy_from_slice(name);
    gnu.linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(7);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// An `ar` archive of these members.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let length = content.len();
        bytes.extend(format!("{name:<16}0           0     0     100644  {length:<10}`\n").bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// A `.deb` of a data member that is packed already.
pub(crate) fn deb_of(name: &str, version: &str, data_name: &str, data: &[u8]) -> Vec<u8> {
    let control = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n");
    let control =
        xz(&tar(&[entry("./", EntryType::Directory, ""), file("./control", control.as_bytes())]));
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", &control), (data_name, data)])
}

pub(crate) fn deb(name: &str, version: &str, members: &[Member]) -> Vec<u8> {
    deb_of(name, version, "data.tar.xz", &xz(&tar(members)))
}

/// A package of these bytes at a mirror in this folder, without any index.
pub(crate) fn loose_package(folder: &Path, name: &str, bytes: &[u8]) -> Package {
    std::fs::write(folder.join(format!("{name}.deb")), bytes).expect("written");
    Package {
        name: name.to_owned(),
        version: "1.0".parse().expect("a version"),
        architecture: "amd64".to_owned(),
        source: name.to_owned(),
        source_version: "1.0".to_owned(),
        filename: format!("{name}.deb"),
        size: bytes.len() as u64,
        sha256: Digest::of(bytes),
        depends: Vec::new(),
        provides: Vec::new(),
        suite: "mini".to_owned(),
        mirror: Some(format!("file:{}", folder.display()).parse().expect("a mirror")),
    }
}

impl Fixture {
    /// An archive of `app`, which needs `lib (>= 2)` or `other`, and provides `service`; `lib` is
    /// a megabyte that can't be packed, so that a download of it can be cut.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut fixture = Self { folder, packages: String::new() };
        let app = [
            entry("./usr/bin/", EntryType::Directory, ""),
            file("./usr/bin/app", b"app"),
            entry("./usr/bin/alias", EntryType::Symlink, "app"),
        ];
        fixture.add_deb("app", "1.0", "Depends: lib (>= 2) | other\nProvides: service\n", &app);
        fixture.add_deb("lib", "2.0", "", &[file("./lib/lib.so", &noise(1_000_000))]);
        fixture.add_deb("other", "1.0", "Depends: app\n", &[file("./usr/share/other", b"x")]);
        fixture.sign(&release_head(), key());
        fixture.write("keyring.asc", keyring().as_bytes());
        fixture
    }

    fn add_deb(&mut self, name: &str, version: &str, fields: &str, members: &[Member]) {
        let bytes = deb_of(name, version, "data.tar", &tar(members));
        let filename = format!("pool/{name}_{version}_amd64.deb");
        self.write(&filename, &bytes);
        let (size, digest) = (bytes.len(), Digest::of(&bytes));
        let _ = write!(
            self.packages,
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}\
             Filename: {filename}\nSize: {size}\nSHA256: {digest}\n\
             Description: {name} for tests\n\n"
        );
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    /// Writes the indexes and an `InRelease` with this head, signed by this key.
    pub(crate) fn sign(&self, head: &str, key: &SignedSecretKey) {
        let folder = "main/binary-amd64";
        let mut text = format!("{head}SHA256:\n");
        let packed = xz(self.packages.as_bytes());
        for (name, bytes) in [("Packages", self.packages.as_bytes()), ("Packages.xz", &packed)] {
            let digest = Digest::of(bytes);
            let _ = writeln!(text, " {digest} {} {folder}/{name}", bytes.len());
            self.write(&format!("dists/mini/{folder}/{name}"), bytes);
            self.write(&format!("dists/mini/{folder}/by-hash/SHA256/{digest}"), bytes);
        }
        self.write("dists/mini/InRelease", clear_sign(&text, key).as_bytes());
    }

    pub(crate) fn mirror(&self) -> String {
        format!("file:{}", self.folder.path().display())
    }

    pub(crate) fn request(&self) -> ArchiveRequest {
        request_at(self.folder.path())
    }

    /// Opens it through a fresh cache.
    pub(crate) fn open(&self) -> Result<Archive, ArchiveError> {
        let cache = tempfile::tempdir().expect("a folder");
        let store = store(cache.path(), &self.mirror());
        Archive::open(&store, &self.request(), &Progress::quiet())
    }
}

/// What to ask for when this folder holds the archive; its keyring is beside it.
pub(crate) fn request_at(folder: &Path) -> ArchiveRequest {
    ArchiveRequest {
        architecture: "amd64".to_owned(),
        suites: vec!["mini".to_owned()],
        components: vec!["main".to_owned()],
        keyring: Some(folder.join("keyring.asc")),
        now: NOW,
    }
}

pub(crate) fn release_head() -> String {
    "Origin: Mini\nSuite: stable\nCodename: mini\nDate: Wed, 18 Nov 2026 02:10:24 UTC\n\
     Valid-Until: Wed, 25 Nov 2026 02:10:24 UTC\nAcquire-By-Hash: yes\n"
        .to_owned()
}

pub(crate) fn store(cache: &Path, mirror: &str) -> Store {
    let mirrors = vec![mirror.parse().expect("a mirror")];
    Store::open(cache, Network { mirrors, ..Network::default() }).expect("a cache")
}

pub(crate) fn offline_store(cache: &Path, mirror: &str) -> Store {
    let mirrors = vec![mirror.parse().expect("a mirror")];
    Store::open(cache, Network { offline: true, mirrors, ..Network::default() }).expect("a cache")
}
