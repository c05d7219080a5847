//! cloud-init's `NoCloud`: a seed on a volume labelled `cidata`, for whoever already has tools for it.
//!
//! Such a volume has the files `meta-data` and `user-data`. Only the seed is taken from it; all else
//! that cloud-init knows (users, packages, commands) has no place on an immutable node. The user-data
//! is accepted in three forms, and in exactly these:
//!
//! 1. **The seed itself**, if its first line is `#edgepair-seed`.
//! 2. **`#cloud-config`** with a block literal at the top level:
//!
//!    ```yaml
//!    #cloud-config
//!    seed: |
//!      format = 1
//!      [node]
//!    ```
//!
//!    This reads no YAML in general. The first line is `#cloud-config`; the key is `seed:` at the
//!    beginning of a line, followed by `|`, `|-` or `|+`; the seed is every following line that is
//!    empty or indented with spaces at least as far as the first one, which must be indented.
//! 3. **MIME multipart** with one part of type `text/x-edgepair-seed`, in 7bit, 8bit or base64.
//!
//! `meta-data` may be empty. If it has a `local-hostname:`, it must be the node's name, because a
//! stick with another node's files is the likeliest mistake of all.

use crate::base64;
use crate::reader::{MAX_SEED_BYTES, shorten};
use crate::section::Seed;

/// The first line of user-data that is a seed as it stands.
pub const SEED_LINE: &str = "#edgepair-seed";
/// The type of the MIME part that is the seed.
pub const MIME_TYPE: &str = "text/x-edgepair-seed";
/// The label of a volume of this kind.
pub const VOLUME_LABEL: &str = "cidata";

/// The largest user-data that is looked at: a seed in base64, with room for other parts.
pub const MAX_USER_DATA_BYTES: usize = 4 * MAX_SEED_BYTES;
/// MIME parts that are looked at; a real message has a handful.
const MAX_PARTS: usize = 64;

/// Why there is no seed in the files of a `cidata` volume.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCloudError {
    /// Too large to be a seed.
    #[error("user-data has {0} bytes, more than {MAX_USER_DATA_BYTES}: put only the seed into it")]
    TooLarge(usize),
    /// None of the three forms.
    #[error(
        "user-data is no seed: it begins with \"{0}\"; begin it with `{SEED_LINE}` and the seed \
         below, or with `#cloud-config` and a key `seed: |`"
    )]
    UnknownForm(String),
    /// `#cloud-config` without the key.
    #[error("user-data is #cloud-config without `seed: |`: add the key and indent the seed below")]
    NoSeedKey,
    /// The key is there, but not in the form that is read.
    #[error("user-data:{line}: {why}; write `seed: |` and below it the seed, indented by spaces")]
    BadSeedKey {
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Multipart, but none of its parts is a seed.
    #[error("user-data has no part of type {MIME_TYPE}: add the seed as a part of that type")]
    NoSeedPart,
    /// Several parts are seeds.
    #[error("user-data has several parts of type {MIME_TYPE}: keep the one for this node")]
    SeveralSeeds,
    /// Multipart that can't be taken apart.
    #[error("user-data is no sound MIME message: {0}; write it with cloud-init's make-mime")]
    BadMime(&'static str),
    /// The stick is another node's.
    #[error(
        "meta-data is for \"{meta}\" but the seed for \"{seed}\": use the files of one node, or \
         remove local-hostname"
    )]
    OtherNode {
        /// Name in `meta-data`.
        meta: String,
        /// Name in the seed.
        seed: String,
    },
}

/// Finds the text of the seed in `user-data`. Parse it with [`crate::parse`].
pub fn find_seed(user_data: &str) -> Result<String, NoCloudError> {
    if user_data.len() > MAX_USER_DATA_BYTES {
        return Err(NoCloudError::TooLarge(user_data.len()));
    }
    let text = user_data.strip_prefix('\u{feff}').unwrap_or(user_data);
    let first = text.lines().next().unwrap_or_default().trim_end();
    if first == SEED_LINE {
        return Ok(text.to_owned());
    }
    if first == "#cloud-config" {
        return block_literal(text);
    }
    // A message may also begin with `MIME-Version:` or, from a mail program, `From `.
    let (head, _) = split_head(text);
    let kind = header(head, "content-type").unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("multipart/") {
        return seed_part(text, &kind);
    }
    Err(NoCloudError::UnknownForm(shorten(first)))
}

/// Refuses a seed that is not for the node which `meta-data` names.
pub fn check_meta_data(meta_data: &str, seed: &Seed) -> Result<(), NoCloudError> {
    let named = meta_data.lines().find_map(|line| line.strip_prefix("local-hostname:"));
    let Some(meta) = named.map(|name| name.trim().trim_matches(['"', '\''])) else {
        return Ok(());
    };
    let seed = seed.node.name.as_str();
    // The name may be fully qualified; the node's is its first label.
    if meta.split('.').next() == Some(seed) {
        return Ok(());
    }
    Err(NoCloudError::OtherNode { meta: shorten(meta), seed: seed.to_owned() })
}

/// The block literal below `seed: |`, without its indentation.
fn block_literal(text: &str) -> Result<String, NoCloudError> {
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| !line.starts_with("seed:"));
    let (number, key) = lines.next().ok_or(NoCloudError::NoSeedKey)?;
    let refuse = |line: usize, why| NoCloudError::BadSeedKey { line: line + 1, why };
    let style = key["seed:".len()..].split('#').next().unwrap_or_default().trim();
    if !matches!(style, "|" | "|-" | "|+") {
        return Err(refuse(number, "the value of `seed` is no block literal"));
    }
    let mut seed = String::new();
    let mut indent = None;
    for (number, line) in lines {
        let blank = line.trim().is_empty();
        let depth = line.len() - line.trim_start_matches(' ').len();
        if !blank && depth == 0 {
            if line.starts_with('\t') {
                return Err(refuse(number, "the seed is indented with a tab"));
            }
            break;
        }
        if !blank {
            let first = *indent.get_or_insert(depth);
            if depth < first {
                return Err(refuse(number, "this line is indented less than the first"));
            }
            seed.push_str(&line[first..]);
        }
        seed.push('\n');
    }
    if indent.is_none() {
        return Err(refuse(number, "nothing is indented below `seed`"));
    }
    Ok(seed)
}

/// The only part of a multipart message that is a seed.
fn seed_part(text: &str, kind: &str) -> Result<String, NoCloudError> {
    let boundary = boundary_of(kind).ok_or(NoCloudError::BadMime("it names no boundary"))?;
    let (_, body) = split_head(text);
    let mut seeds = Vec::new();
    for part in parts(body, &boundary)? {
        let (head, content) = split_head(&part);
        let kind = header(head, "content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.split(';').next().is_some_and(|kind| kind.trim() == MIME_TYPE) {
            seeds.push(decoded(head, content)?);
        }
    }
    match seeds.len() {
        0 => Err(NoCloudError::NoSeedPart),
        1 => Ok(seeds.remove(0)),
        _ => Err(NoCloudError::SeveralSeeds),
    }
}

/// Splits a message or part at its first empty line.
fn split_head(text: &str) -> (&str, &str) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches(['\r', '\n']).is_empty() {
            return (&text[..start], &text[start + line.len()..]);
        }
        start += line.len();
    }
    (text, "")
}

/// The value of a header, with its continuation lines.
fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines();
    let mut value = lines.find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push(' ');
        value.push_str(line.trim());
    }
    Some(value)
}

/// The boundary that a `Content-Type` names.
fn boundary_of(kind: &str) -> Option<String> {
    kind.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let named = key.trim().eq_ignore_ascii_case("boundary");
        // RFC 2046 allows 70 characters.
        (named && (1..=70).contains(&value.len())).then(|| value.to_owned())
    })
}

/// The parts between the lines that are the boundary.
fn parts(body: &str, boundary: &str) -> Result<Vec<String>, NoCloudError> {
    let opening = format!("--{boundary}");
    let closing = format!("--{boundary}--");
    let mut parts: Vec<String> = Vec::new();
    for line in body.split_inclusive('\n') {
        match line.trim_end() {
            line if line == closing => return Ok(parts),
            line if line == opening => {
                if parts.len() == MAX_PARTS {
                    return Err(NoCloudError::BadMime("it has too many parts"));
                }
                parts.push(String::new());
            }
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push_str(line);
                }
            }
        }
    }
    Err(NoCloudError::BadMime("it ends before its closing boundary"))
}

/// The content of a part, decoded.
fn decoded(head: &str, content: &str) -> Result<String, NoCloudError> {
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default();
    match encoding.to_ascii_lowercase().as_str() {
        "" | "7bit" | "8bit" | "binary" => Ok(content.to_owned()),
        "base64" => {
            let bytes =
                base64::decode(content).ok_or(NoCloudError::BadMime("its base64 is broken"))?;
            String::from_utf8(bytes).map_err(|_| NoCloudError::BadMime("the seed is no UTF-8"))
        }
        _ => Err(NoCloudError::BadMime("the seed is neither plain nor base64")),
    }
}
