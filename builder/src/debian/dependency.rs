//! What a package says about others: `Depends`, `Provides`, `Conflicts` and their kin.
//!
//! `libc6 (>= 2.38), debconf:any | debconf-2.0, foo [amd64]` is a list of dependencies; each is a
//! list of alternatives; each alternative may ask for a version and restrict itself to
//! architectures. Everything is `and` between commas and `or` between bars.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::version::{Version, VersionError};

/// How a version has to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

/// One way to satisfy a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    pub name: String,
    /// `any`, `native` or an architecture, as in `python3:any`.
    pub qualifier: Option<String>,
    pub relation: Option<(Operator, Version)>,
    /// Architectures as in `[amd64 !i386]`; empty means all.
    pub architectures: Vec<String>,
}

/// Alternatives of which one is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Dependency {
    pub alternatives: Vec<Alternative>,
}

/// Why a relationship field can't be read.
#[derive(Debug, Error)]
pub enum DependencyError {
    #[error("the dependency {0:?} can't be read")]
    Unreadable(String),
    #[error("the dependency {text:?}: {source}")]
    Version { text: String, source: VersionError },
}

impl Operator {
    /// Whether a version at hand stands in this relation to the wanted one.
    pub fn holds(self, have: &Version, wanted: &Version) -> bool {
        match self {
            Self::Earlier => have < wanted,
            Self::EarlierOrEqual => have <= wanted,
            Self::Equal => have == wanted,
            Self::LaterOrEqual => have >= wanted,
            Self::Later => have > wanted,
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }
}

impl Alternative {
    /// Whether it speaks about this architecture at all; `[…]` may list or exclude.
    pub fn applies_to(&self, architecture: &str) -> bool {
        let matches = |name: &str| matches!(name, "any" | "linux-any") || name == architecture;
        let Some(first) = self.architectures.first() else {
            return true;
        };
        if first.starts_with('!') {
            !self.architectures.iter().any(|name| matches(name.trim_start_matches('!')))
        } else {
            self.architectures.iter().any(|name| matches(name))
        }
    }

    /// Whether a package of this architecture can be meant; we only ever take native ones.
    pub fn is_native(&self, architecture: &str) -> bool {
        let native = |name: &str| matches!(name, "any" | "native") || name == architecture;
        self.qualifier.as_deref().is_none_or(native)
    }

    /// Whether a package of this version would do.
    pub fn accepts(&self, version: &Version) -> bool {
        self.relation.as_ref().is_none_or(|(operator, wanted)| operator.holds(version, wanted))
    }

    /// Whether a `Provides` would do: an unversioned one satisfies no versioned wish.
    pub fn accepts_provided(&self, version: Option<&Version>) -> bool {
        match (&self.relation, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((operator, wanted)), Some(have)) => operator.holds(have, wanted),
        }
    }
}

/// Reads a whole field.
pub fn parse_list(text: &str) -> Result<Vec<Dependency>, DependencyError> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::parse).collect()
}

/// Reads a `Provides` field into names and, where given, versions.
pub fn parse_provides(text: &str) -> Result<Vec<(String, Option<Version>)>, DependencyError> {
    let mut provided = Vec::new();
    for dependency in parse_list(text)? {
        for alternative in dependency.alternatives {
            let version = alternative.relation.map(|(_, version)| version);
            provided.push((alternative.name, version));
        }
    }
    Ok(provided)
}

impl FromStr for Dependency {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let alternatives = text.split('|').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }
}

impl FromStr for Alternative {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let unreadable = || DependencyError::Unreadable(text.chars().take(120).collect());
        let mut rest = text.trim();
        let end = rest.find(|c: char| c.is_whitespace() || "([<".contains(c)).unwrap_or(rest.len());
        let (name, qualifier) = match rest[..end].split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier.to_owned())),
            None => (&rest[..end], None),
        };
        let named = is_package_name(name);
        if !named || qualifier.as_deref().is_some_and(|word| !is_architecture(word)) {
            return Err(unreadable());
        }
        let name = name.to_owned();
        rest = rest[end..].trim_start();
        let mut relation = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let (inside, after) = inner.split_once(')').ok_or_else(unreadable)?;
            relation = Some(parse_relation(inside, text)?);
            rest = after.trim_start();
        }
        let mut architectures = Vec::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, after) = inner.split_once(']').ok_or_else(unreadable)?;
            architectures = inside.split_whitespace().map(str::to_owned).collect();
            let proper = |word: &String| is_architecture(word.trim_start_matches('!'));
            if !architectures.iter().all(proper) {
                return Err(unreadable());
            }
            rest = after.trim_start();
        }
        // Build profiles have no meaning in a built package, so `<…>` is refused like any other.
        if !rest.is_empty() {
            return Err(unreadable());
        }
        Ok(Self { name, qualifier, relation, architectures })
    }
}

fn parse_relation(inside: &str, text: &str) -> Result<(Operator, Version), DependencyError> {
    let inside = inside.trim();
    // `<` and `>` are old spellings of `<=` and `>=`.
    let operators = [
        ("<<", Operator::Earlier),
        ("<=", Operator::EarlierOrEqual),
        (">=", Operator::LaterOrEqual),
        (">>", Operator::Later),
        ("=", Operator::Equal),
        ("<", Operator::EarlierOrEqual),
        (">", Operator::LaterOrEqual),
    ];
    for (symbol, operator) in operators {
        if let Some(version) = inside.strip_prefix(symbol) {
            let version = version.trim().parse().map_err(|source| DependencyError::Version {
                text: text.chars().take(120).collect(),
                source,
            })?;
            return Ok((operator, version));
        }
    }
    Err(DependencyError::Unreadable(text.chars().take(120).collect()))
}

/// Lower-case letters, digits and `+-.`, as Debian's policy has it; old archives used capitals.
pub fn is_package_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(allowed)
}

/// A name such as `amd64`, `linux-any`.
pub fn is_architecture(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl From<Dependency> for String {
    fn from(dependency: Dependency) -> Self {
        dependency.to_string()
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = &self.relation {
            write!(f, " ({} {version})", operator.symbol())?;
        }
        if !self.architectures.is_empty() {
            write!(f, " [{}]", self.architectures.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, alternative) in self.alternatives.iter().enumerate() {
            let bar = if position == 0 { "" } else { " | " };
            write!(f, "{bar}{alternative}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_part_of_an_alternative_is_read() {
        let text = "python3:any (>= 3.13~), debconf (>= 0.5) | debconf-2.0, x [!i386 !arm64]";
        let list = parse_list(text).expect("read");
        assert_eq!(list.len(), 3);
        let python = &list[0].alternatives[0];
        assert_eq!((python.name.as_str(), python.qualifier.as_deref()), ("python3", Some("any")));
        assert!(python.accepts(&"3.13.5-1".parse().expect("a version")));
        assert!(!python.accepts(&"3.12".parse().expect("a version")));
        assert!(python.is_native("amd64"));
        assert_eq!(list[1].alternatives.len(), 2);
        let limited = &list[2].alternatives[0];
        assert!(limited.applies_to("amd64") && !limited.applies_to("i386"));
    }

    #[test]
    fn a_versioned_wish_needs_a_versioned_provides() {
        let wish: Alternative = "mta (>= 2)".parse().expect("read");
        assert!(!wish.accepts_provided(None));
        assert!(wish.accepts_provided(Some(&"3".parse().expect("a version"))));
        assert!(!wish.accepts_provided(Some(&"1".parse().expect("a version"))));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["a b", "a (>= )", "a (~ 1)", "a (= 1", "a [amd64", "(= 1)", "a |", "../x", "a:"]
        {
            assert!(bad.parse::<Dependency>().is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,40}") {
            if let Ok(list) = parse_list(&text) {
                for dependency in list {
                    let again: Dependency = dependency.to_string().parse().expect("round trip");
                    prop_assert_eq!(again, dependency);
                }
            }
        }

        #[test]
        fn what_prints_is_read_back(
            name in "[a-z][a-z0-9+.-]{1,8}(:any)?",
            rest in "( \\((<<|<=|=|>=|>>) [0-9][0-9.~+]{0,5}\\))?( \\[amd64 arm64\\])?",
        ) {
            let text = format!("{name}{rest}");
            let alternative: Alternative = text.parse().expect("read");
            prop_assert_eq!(alternative.to_string(), text);
        }
    }
}
