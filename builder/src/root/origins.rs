//! Where each entry of the root came from, as the image itself carries it.
//!
//! The file answers `builder inspect --why` on an image whose sources are long gone. Paths share most
//! of their beginnings, so each line says how much of the path before it to keep:
//!
//! ```text
//!  edgepair-origins 1
//!  b                                  0: the builder itself
//!  p  postgresql-17  postgres         1: a package, and the overlay that wanted it
//!  l  libc6  /usr/bin/init            2: a package, and the program that needs its library
//!
//!  0  0  /                            entry: origin, bytes kept, rest of the path
//!  1  1  usr
//! ```
//! Fields are separated by tabs, which no path holds. Lines follow the order of paths, so equal
//! trees give equal bytes.

use std::collections::BTreeMap;
use std::fmt::Write;

use thiserror::Error;

use super::content::Content;
use super::tree::{Node, Origin, Tree, TreeError, TreePath};

/// Where an image carries its origins.
pub const ORIGINS_PATH: &str = "/usr/lib/edgepair/origins";

/// The largest file that is read; a full image has some ten thousand entries in 300 KiB.
pub const MAX_ORIGINS_BYTES: usize = 16 << 20;

/// What all paths together may take: shared beginnings let a small file claim a lot.
const MAX_PATH_BYTES: usize = 256 << 20;

const FIRST_LINE: &str = "edgepair-origins 1";

/// Why a file of origins can't be read.
#[derive(Debug, Error)]
pub enum OriginsError {
    #[error("{ORIGINS_PATH} is larger than {MAX_ORIGINS_BYTES} bytes: the image is damaged")]
    TooLarge,
    #[error("{ORIGINS_PATH} is not in a format that this builder knows: use the one that built it")]
    Format,
    #[error("{ORIGINS_PATH}, line {0}: damaged")]
    Line(usize),
}

/// The origins of all entries of a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    entries: BTreeMap<String, Origin>,
}

/// Adds the file to a finished tree; it lists itself too.
pub fn add_to(tree: &mut Tree) -> Result<(), TreeError> {
    let path = TreePath::new(ORIGINS_PATH)?;
    let file =
        |text: String| Node::file(Content::from_bytes(text.into_bytes()), 0o644, Origin::Builder);
    tree.insert(path.clone(), file(String::new()))?;
    let text = encode(tree);
    tree.insert(path, file(text))
}

/// The file's text for a tree.
pub fn encode(tree: &Tree) -> String {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut head = format!("{FIRST_LINE}\n");
    let mut body = String::from("\n");
    let mut last = "";
    for (path, node) in tree.iter() {
        let line = origin_line(&node.origin);
        let next = numbers.len();
        let number = *numbers.entry(line).or_insert_with_key(|line| {
            head.push_str(line);
            head.push('\n');
            next
        });
        let path = path.as_str();
        let kept = common_bytes(last, path);
        writeln!(body, "{number}\t{kept}\t{}", &path[kept..])
            .expect("writing to a string does not fail");
        last = path;
    }
    head + &body
}

fn origin_line(origin: &Origin) -> String {
    match origin {
        Origin::Implied => "i".to_owned(),
        Origin::Builder => "b".to_owned(),
        Origin::Overlay(overlay) => format!("o\t{overlay}"),
        Origin::Package { package, overlay } => format!("p\t{package}\t{overlay}"),
        Origin::Library { package, needed_by } => format!("l\t{package}\t{needed_by}"),
    }
}

/// How many bytes two paths begin with in common, in whole characters.
fn common_bytes(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

impl Origins {
    pub fn parse(text: &str) -> Result<Self, OriginsError> {
        if text.len() > MAX_ORIGINS_BYTES {
            return Err(OriginsError::TooLarge);
        }
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(OriginsError::Format);
        }
        let mut kinds = Vec::new();
        for (number, line) in lines.by_ref().take_while(|(_, line)| !line.is_empty()) {
            kinds.push(parse_origin(line).ok_or(OriginsError::Line(number))?);
        }
        let mut entries = BTreeMap::new();
        let mut last = String::new();
        let mut bytes = 0;
        for (number, line) in lines {
            let damaged = || OriginsError::Line(number);
            let (kind, path) = parse_entry(line, &last).ok_or_else(damaged)?;
            let origin: &Origin = kinds.get(kind).ok_or_else(damaged)?;
            bytes += path.len();
            if bytes > MAX_PATH_BYTES || path <= last {
                return Err(damaged());
            }
            entries.insert(path.clone(), origin.clone());
            last = path;
        }
        Ok(Self { entries })
    }

    pub fn get(&self, path: &str) -> Option<&Origin> {
        self.entries.get(path)
    }

    /// All entries in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.entries.iter().map(|(path, origin)| (path.as_str(), origin))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn parse_origin(line: &str) -> Option<Origin> {
    let fields: Vec<&str> = line.split('\t').collect();
    Some(match fields[..] {
        ["i"] => Origin::Implied,
        ["b"] => Origin::Builder,
        ["o", overlay] => Origin::Overlay(overlay.to_owned()),
        ["p", package, overlay] => {
            Origin::Package { package: package.to_owned(), overlay: overlay.to_owned() }
        }
        ["l", package, path] => {
            Origin::Library { package: package.to_owned(), needed_by: TreePath::new(path).ok()? }
        }
        _ => return None,
    })
}

/// The number of the origin, and the whole path.
fn parse_entry(line: &str, last: &str) -> Option<(usize, String)> {
    let mut fields = line.split('\t');
    let mut number = || fields.next().map(str::parse::<usize>).and_then(Result::ok);
    let (kind, kept) = (number()?, number()?);
    let rest = fields.next().filter(|_| fields.next().is_none())?;
    let path = format!("{}{rest}", last.get(..kept)?);
    TreePath::new(&path).ok().map(|_| (kind, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Tree {
        let mut tree = Tree::default();
        let path = |text: &str| TreePath::new(text).expect("a good path");
        let package = Origin::Package { package: "pg".to_owned(), overlay: "db".to_owned() };
        let needed_by = path("/usr/bin/pg run");
        let library = Origin::Library { package: "libc6".to_owned(), needed_by };
        let mut add = |at: &str, origin: Origin| {
            let node = Node::file(Content::from_bytes(*b"x"), 0o644, origin);
            tree.insert(path(at), node).expect("inserted");
        };
        add("/usr/bin/pg run", package);
        add("/usr/lib/libc.so.6", library.clone());
        add("/usr/lib/libé.so", library.clone());
        add("/usr/lib/libè.so", library);
        add("/etc/x", Origin::Overlay("base".to_owned()));
        tree
    }

    #[test]
    fn what_is_written_is_read_and_lists_itself() {
        let mut tree = sample();
        add_to(&mut tree).expect("added");
        let node = tree.get(&TreePath::new(ORIGINS_PATH).expect("a path")).expect("there");
        let super::super::tree::NodeKind::File(content) = &node.kind else { panic!("no file") };
        let text = String::from_utf8(content.to_vec().expect("read")).expect("text");
        let origins = Origins::parse(&text).expect("parsed");
        assert_eq!(origins.len(), tree.len());
        for (path, node) in tree.iter() {
            assert_eq!(origins.get(path.as_str()), Some(&node.origin), "{path}");
        }
        assert_eq!(origins.get(ORIGINS_PATH), Some(&Origin::Builder));
        assert_eq!(encode(&tree), text, "writing it twice changes nothing");
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let text = encode(&sample());
        let error = |text: &str| Origins::parse(text).expect_err("damaged").to_string();
        assert!(error(&text.replacen("origins 1", "origins 2", 1)).contains("format"));
        assert!(error(&text.replacen("\np\t", "\nq\t", 1)).contains("line "));
        assert!(error(&format!("{text}99\t0\t/x\n")).ends_with("damaged"));
        assert!(error(&format!("{text}0\t9999\tx\n")).ends_with("damaged"));
        assert!(error(&format!("{text}0\t0\t/a\n")).ends_with("damaged"), "out of order");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(edgepair-origins 1\n)?[ibopl\t0-9/a\n]{0,200}") {
            let _either = Origins::parse(&text);
        }
    }
}
