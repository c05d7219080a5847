//! `section!` and `choice!`: a table or a word of the seed, defined once.
//!
//! One definition gives the struct, its reader, and its rows in the reference page, so the three
//! can't drift apart. A key is `required`, `optional` (an `Option` in the struct) or has a
//! `default(…)`, which is written as TOML text and read like any value.

/// Defines a table of the seed.
///
/// ```text
/// section! {
///     /// What the table is for.
///     Name {
///         /// What the key means.
///         key: Type = required;
///         other: Type = default("'1s'");
///     }
///     rules = function_that_checks_the_whole;
///     stand_in = "what stands for it, as TOML, when it could not be read";
/// }
/// ```
macro_rules! section {
    (@type required $type:ty) => { $type };
    (@type default $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
    (@read required $table:ident $key:expr, $reader:ident ()) => {
        $table.required($key, $reader)
    };
    (@read default $table:ident $key:expr, $reader:ident ($default:literal)) => {
        $table.default($key, $default, $reader)
    };
    (@read optional $table:ident $key:expr, $reader:ident ()) => {
        Some($table.optional($key, $reader))
    };
    (@need required ()) => { $crate::reference::Need::Required };
    (@need optional ()) => { $crate::reference::Need::Optional };
    (@need default ($default:literal)) => { $crate::reference::Need::Default($default) };
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident : $type:ty = $need:ident $(($default:literal))? ;
            )+
        }
        $(rules = $rules:path;)?
        $(stand_in = $stand_in:literal;)?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $crate::reader::section!(@type $need $type), )+
        }

        impl $crate::reader::Read for $name {
            fn kind() -> String {
                "table".to_owned()
            }

            fn read(
                item: &$crate::reader::Item<'_>,
                reader: &mut $crate::reader::Reader<'_>,
            ) -> Option<Self> {
                const KEYS: &[&str] =
                    &[$( $crate::reader::key_of(stringify!($field)) ),+];
                let table = $crate::reader::Table::open(item, KEYS, reader)?;
                $(
                    let $field: Option<$crate::reader::section!(@type $need $type)> =
                        $crate::reader::section!(
                            @read $need table $crate::reader::key_of(stringify!($field)),
                            reader ($($default)?)
                        );
                )+
                let read = Self { $( $field: $field?, )+ };
                $( $rules(&read, item, reader); )?
                Some(read)
            }

            $(
                fn stand_in() -> Option<Self> {
                    $crate::reader::read_document(&mut $crate::reader::Reader::new("", $stand_in))
                }
            )?

            fn section() -> Option<$crate::reference::SectionDoc> {
                Some($crate::reference::SectionDoc {
                    about: concat!($($doc, "\n"),+),
                    keys: vec![$( $crate::reference::KeyDoc {
                        name: $crate::reader::key_of(stringify!($field)),
                        kind: <$type as $crate::reader::Read>::kind(),
                        need: $crate::reader::section!(@need $need ($($default)?)),
                        about: concat!($($field_doc, "\n"),+),
                        section: <$type as $crate::reader::Read>::section(),
                        is_list: <$type as $crate::reader::Read>::is_list(),
                        words: <$type as $crate::reader::Read>::words(),
                    } ),+],
                })
            }
        }
    };
}
pub(crate) use section;

/// The key of a field: Rust writes a key that is also one of its own words as `r#word`.
pub(crate) const fn key_of(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Defines a closed set of words.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $name:ident ($kind:literal) {
            $( $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[doc = $word_doc])+ $variant, )+
        }

        impl $name {
            /// Every value, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The word that stands for it in a seed.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.word())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.word())
            }
        }

        impl $crate::reader::Read for $name {
            fn kind() -> String {
                [$( concat!("\"", $word, "\"") ),+].join(" or ")
            }

            fn words() -> &'static [(&'static str, &'static str)] {
                &[$( ($word, concat!($($word_doc),+)) ),+]
            }

            fn read(
                item: &$crate::reader::Item<'_>,
                reader: &mut $crate::reader::Reader<'_>,
            ) -> Option<Self> {
                let text = $crate::reader::text_of(item, reader)?;
                match text {
                    $( $word => Some(Self::$variant), )+
                    other => {
                        $crate::reader::unknown_word(
                            item, other, $kind, &[$( $word ),+], reader,
                        );
                        None
                    }
                }
            }
        }
    };
}
pub(crate) use choice;
