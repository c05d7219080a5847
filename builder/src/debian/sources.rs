//! What a Debian host's apt sources name, so that nobody has to type a mirror twice.
//!
//! Both formats are read: one line per source (`.list`) and stanzas (`.sources`). Only the
//! addresses matter: which suite is on which of them is found out by asking (see `mirror`).

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::deb822::stanzas;

/// No list of sources comes near; a larger file is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why the host's sources can't be read.
#[derive(Debug, Error)]
pub enum SourcesError {
    #[error("{path}: {source}; mend or remove it, or give a mirror with --mirror")]
    Read { path: PathBuf, source: std::io::Error },
}

/// The addresses of all enabled binary sources below `root` (`/` on a host), each once, in the
/// order in which apt reads them.
pub fn addresses_below(root: &Path) -> Result<Vec<String>, SourcesError> {
    let apt = root.join("etc/apt");
    let mut files = vec![apt.join("sources.list")];
    let parts = apt.join("sources.list.d");
    if let Ok(entries) = std::fs::read_dir(&parts) {
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort();
        files.extend(found);
    }
    let mut addresses = Vec::new();
    for path in files {
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => addresses_in_list,
            Some("sources") => addresses_in_stanzas,
            // apt itself ignores other names, such as those that editors leave behind.
            _ => continue,
        };
        for address in parse(&read(&path)?) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

fn read(path: &Path) -> Result<String, SourcesError> {
    let wrap = |source| SourcesError::Read { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(wrap(error)),
        Ok(data) if data.len() > FILE_BYTES_MAX => Err(wrap(std::io::Error::other("too large"))),
        Ok(_) => std::fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(wrap),
    }
}

/// Reads `deb [options] ADDRESS suite component…` lines. Lines that can't be read are apt's
/// business, not ours, and are skipped.
pub fn addresses_in_list(text: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb") else {
            continue;
        };
        if !rest.starts_with([' ', '\t']) {
            continue;
        }
        let mut rest = rest.trim_start();
        if let Some(options) = rest.strip_prefix('[') {
            let Some((_, after)) = options.split_once(']') else {
                continue;
            };
            rest = after.trim_start();
        }
        addresses.extend(rest.split_whitespace().next().filter(|uri| is_usable(uri)).map(tidy));
    }
    addresses
}

/// Reads `Types:`/`URIs:` stanzas.
pub fn addresses_in_stanzas(text: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for stanza in stanzas(text) {
        let words = |name: &str| {
            let fields = stanza.fields().filter_map(Result::ok);
            let named = fields.filter(|field| field.name.eq_ignore_ascii_case(name)).last();
            named
                .into_iter()
                .flat_map(|field| field.lines().flat_map(str::split_whitespace))
                .collect::<Vec<_>>()
        };
        let off = ["no", "false", "without", "off", "disable"];
        if !words("Types").contains(&"deb")
            || words("Enabled").iter().any(|word| off.contains(word))
        {
            continue;
        }
        addresses.extend(words("URIs").into_iter().filter(|uri| is_usable(uri)).map(tidy));
    }
    addresses
}

/// `cdrom:`, `mirror+file:`, `tor+http:` and the like need what we don't have.
fn is_usable(uri: &str) -> bool {
    ["http://", "https://", "file:/"].iter().any(|scheme| uri.starts_with(scheme))
}

fn tidy(uri: &str) -> String {
    uri.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_line_sources_are_read() {
        let text = "# deb http://off.test/debian x main\n\
            deb http://a.test/debian/ trixie main # comment\n\
            deb [arch=amd64 signed-by=/x] https://b.test/d trixie main\n\
            deb-src http://src.test/debian trixie main\n\
            deb cdrom:[Debian]/ trixie main\ndeb file:/srv/mirror ./\ndeb\ndeb [x\n";
        assert_eq!(
            addresses_in_list(text),
            ["http://a.test/debian", "https://b.test/d", "file:/srv/mirror"]
        );
    }

    #[test]
    fn stanza_sources_are_read() {
        let text = "Types: deb deb-src\n# note\n\
            URIs: http://a.test/debian\n http://b.test/debian/\n\
            Suites: trixie\n\nTypes: deb-src\nURIs: http://src.test\n\n\
            Enabled: no\nTypes: deb\nURIs: http://off.test\n";
        assert_eq!(addresses_in_stanzas(text), ["http://a.test/debian", "http://b.test/debian"]);
    }

    #[test]
    fn files_are_read_in_apts_order_and_each_address_once() {
        let root = tempfile::tempdir().expect("a folder");
        let parts = root.path().join("etc/apt/sources.list.d");
        std::fs::create_dir_all(&parts).expect("made");
        let write = |name: &str, text: &str| std::fs::write(parts.join(name), text).expect("wrote");
        write("b.list", "deb http://b.test/d x y\ndeb http://a.test/d x y\n");
        write("a.sources", "Types: deb\nURIs: http://a.test/d\nSuites: x\n");
        write("c.list.save", "deb http://c.test/d x y\n");
        let addresses = addresses_below(root.path()).expect("read");
        assert_eq!(addresses, ["http://a.test/d", "http://b.test/d"]);
        let nothing = addresses_below(Path::new("/nonexistent")).expect("read");
        assert!(nothing.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(
            text in "(deb |[#\\[\\]:/a \n]|Types: deb\n|URIs: ){0,40}"
        ) {
            addresses_in_list(&text);
            addresses_in_stanzas(&text);
        }
    }
}
