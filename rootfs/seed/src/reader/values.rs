//! How plain values are read: truth values, numbers, texts, lists and maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::de::DeValue;

use super::{Item, Read, Reader, join, shorten};
use crate::problem::Wrong;
use crate::reference::SectionDoc;

/// The longest list or map. Rules compare elements with each other, and no site has as many of
/// anything.
const MAX_ELEMENTS: usize = 1024;

/// What a value is, in the words of messages.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The refusal of a value of the wrong type.
pub(crate) fn not_a(wanted: &str, value: &DeValue<'_>) -> Wrong {
    let given = type_name(value);
    let mend = match (wanted, value) {
        ("table", DeValue::Array(_)) => {
            "write its header with single brackets, as in `[name]`".to_owned()
        }
        ("table", _) => "write a table: a `[header]` with keys below, or `{ key = value }`".into(),
        ("list", DeValue::Table(_)) => {
            "write its header with double brackets, as in `[[name]]`".to_owned()
        }
        ("list", _) => "put it between brackets, as in `[value]`".to_owned(),
        ("text", DeValue::Integer(number)) => format!("put it between quotes: \"{number}\""),
        ("text", _) => "put it between double quotes".to_owned(),
        ("number", DeValue::String(text)) if text.parse::<i64>().is_ok() => {
            format!("write it without quotes: {text}")
        }
        ("number", _) => "write a whole number without quotes".to_owned(),
        _ => "write `true` or `false` without quotes".to_owned(),
    };
    Wrong::new(format!("a {wanted} belongs here, not {given}"), format!("is {given}"), mend)
}

/// The text of an item, or a problem.
pub(crate) fn text_of<'a>(item: &Item<'a>, reader: &mut Reader<'_>) -> Option<&'a str> {
    if let DeValue::String(text) = item.value {
        return Some(text);
    }
    reader.report(&item.path, &item.span, not_a("text", item.value));
    None
}

/// The whole number of an item within a range, or a problem.
pub(crate) fn number_of(
    item: &Item<'_>,
    kind: &str,
    least: i64,
    most: i64,
    reader: &mut Reader<'_>,
) -> Option<i64> {
    let DeValue::Integer(digits) = item.value else {
        reader.report(&item.path, &item.span, not_a("number", item.value));
        return None;
    };
    let value = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
    if let Some(value) = value.filter(|value| (least..=most).contains(value)) {
        return Some(value);
    }
    let wrong = Wrong::new(
        format!("a {kind} lies between {least} and {most}"),
        "is outside of that",
        format!("choose a number from {least} to {most}"),
    );
    reader.report(&item.path, &item.span, wrong);
    None
}

impl Read for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Boolean(value) = item.value {
            return Some(*value);
        }
        reader.report(&item.path, &item.span, not_a("truth value", item.value));
        None
    }
}

impl Read for IpAddr {
    fn kind() -> String {
        "address".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = text_of(item, reader)?;
        match crate::scalar::address_from(text) {
            Ok(address) => Some(address),
            Err(wrong) => {
                reader.report(&item.path, &item.span, wrong);
                None
            }
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn kind() -> String {
        format!("list of: {}", T::kind())
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(elements) = item.value else {
            reader.report(&item.path, &item.span, not_a("list", item.value));
            return None;
        };
        if is_too_long(elements.len(), item, reader) {
            return None;
        }
        let mut list = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{}[{index}]", item.path);
            reader.note_place(&path, element.span());
            let element = Item { path, span: element.span(), value: element.get_ref() };
            list.extend(T::read(&element, reader));
        }
        Some(list)
    }

    fn section() -> Option<SectionDoc> {
        T::section()
    }

    fn words() -> &'static [(&'static str, &'static str)] {
        T::words()
    }

    fn is_list() -> bool {
        true
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn kind() -> String {
        format!("table of: {}", T::kind())
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(entries) = item.value else {
            reader.report(&item.path, &item.span, not_a("table", item.value));
            return None;
        };
        if is_too_long(entries.len(), item, reader) {
            return None;
        }
        let mut map = Self::new();
        for (key, value) in entries {
            let path = join(&item.path, key.get_ref());
            // A rule about an entry concerns its key as often as its value, so the key is marked.
            reader.note_place(&path, key.span());
            let entry = Item { path, span: value.span(), value: value.get_ref() };
            if let Some(value) = T::read(&entry, reader) {
                map.insert(key.get_ref().to_string(), value);
            }
        }
        Some(map)
    }
}

/// Reports a list or map that no honest seed has.
fn is_too_long(count: usize, item: &Item<'_>, reader: &mut Reader<'_>) -> bool {
    let too_long = count > MAX_ELEMENTS;
    if too_long {
        let wrong = Wrong::new(
            format!("a list or table has at most {MAX_ELEMENTS} entries"),
            format!("has {count}"),
            "check that this is a seed and no other file",
        );
        reader.report(&item.path, &item.span, wrong);
    }
    too_long
}

/// Reports that a word is none of those that are known.
pub(crate) fn unknown_word(
    item: &Item<'_>,
    given: &str,
    kind: &str,
    known: &[&str],
    reader: &mut Reader<'_>,
) {
    let list = known.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let mend = match super::nearest(given, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"? (known: {list})"),
        None => format!("use one of {list}"),
    };
    let wrong =
        Wrong::new(format!("\"{}\" is no {kind}", shorten(given)), format!("unknown {kind}"), mend);
    reader.report(&item.path, &item.span, wrong);
}

/// Makes a type with `FromStr<Err = Wrong>` and `Display` readable from a seed and from JSON.
macro_rules! text_value {
    ($type:ident, $kind:literal) => {
        impl $crate::reader::Read for $type {
            fn kind() -> String {
                $kind.to_owned()
            }

            fn read(
                item: &$crate::reader::Item<'_>,
                reader: &mut $crate::reader::Reader<'_>,
            ) -> Option<Self> {
                let text = $crate::reader::text_of(item, reader)?;
                match text.parse() {
                    Ok(value) => Some(value),
                    Err(wrong) => {
                        reader.report(&item.path, &item.span, wrong);
                        None
                    }
                }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(input)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_value;

/// Defines a text with a rule: a newtype that can only hold what `$check` lets pass.
macro_rules! text_name {
    ($(#[doc = $doc:literal])+ $type:ident, $kind:literal, $check:path) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::problem::Wrong;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }

        $crate::reader::text_value!($type, $kind);
    };
}
pub(crate) use text_name;

/// Defines a whole number with a range.
macro_rules! number {
    ($(#[doc = $doc:literal])+ $type:ident, $inner:ty, $least:literal, $most:literal, $kind:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $type($inner);

        impl $type {
            /// The number itself.
            pub fn get(self) -> $inner {
                self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(out)
            }
        }

        impl $crate::reader::Read for $type {
            fn kind() -> String {
                format!("{}, {} to {}", $kind, $least, $most)
            }

            fn read(
                item: &$crate::reader::Item<'_>,
                reader: &mut $crate::reader::Reader<'_>,
            ) -> Option<Self> {
                let value = $crate::reader::number_of(item, $kind, $least, $most, reader)?;
                <$inner>::try_from(value).ok().map(Self)
            }
        }
    };
}
pub(crate) use number;
