//! Which network card is which link of the seed.
//!
//! A card matched by its hardware address is that card for sure, so those go first. Patterns take
//! from the rest, and only where exactly one card fits; what one link takes may leave one for
//! another, so it goes on until nothing moves. A card once taken stays with its link as
//! long as it is there: renamed, it no longer has the name by which it was found.

use std::collections::BTreeMap;

use seed::section::{Link, LinkKind, LinkMatch};

use super::change::Trouble;
use super::there::{Seen, There};
use super::wanted::Wanted;

/// The cards of the links: index by the link's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) cards: BTreeMap<String, u32>,
}

impl Claims {
    /// Assigns cards to links, starting from what was assigned before.
    pub(crate) fn renew(&self, wanted: &Wanted, there: &There) -> (Self, Vec<Trouble>) {
        let mut claims = Self::default();
        let still_there = |(name, index): (&String, &u32)| {
            let is = there.numbered(*index).is_some_and(|seen| seen.card);
            is.then(|| (name.clone(), *index))
        };
        claims.cards.extend(self.cards.iter().filter_map(still_there));
        claims.take(wanted, there, |card| card.mac.is_some());
        claims.take(wanted, there, |card| card.mac.is_none());
        let troubles = claims.open_links(wanted).map(|(link, card)| {
            let fitting: Vec<String> = claims.fitting(card, there).map(Seen::to_string).collect();
            let name = link.name.to_string();
            if fitting.is_empty() {
                let free = claims.free(there).map(Seen::to_string).collect();
                Trouble::NoCard { link: name, wanted: words(card), free }
            } else {
                Trouble::SeveralCards { link: name, wanted: words(card), fitting }
            }
        });
        let troubles = troubles.collect();
        (claims, troubles)
    }

    /// The card of a link, if it is there.
    pub(crate) fn card<'a>(&self, link: &Link, there: &'a There) -> Option<&'a Seen> {
        there.numbered(*self.cards.get(link.name.as_str())?)
    }

    /// Gives each open link of a sort its card where exactly one fits, until nothing moves.
    fn take(&mut self, wanted: &Wanted, there: &There, sort: impl Fn(&LinkMatch) -> bool) {
        loop {
            let found =
                self.open_links(wanted).filter(|(_, card)| sort(card)).find_map(|(link, card)| {
                    let mut fitting = self.fitting(card, there);
                    match (fitting.next(), fitting.next()) {
                        (Some(one), None) => Some((link.name.to_string(), one.index())),
                        _ => None,
                    }
                });
            match found {
                // Each turn closes a link, so there are at most as many turns as links.
                Some((name, index)) => self.cards.insert(name, index),
                None => return,
            };
        }
    }

    /// The links that want a card and have none.
    fn open_links<'a>(
        &self,
        wanted: &'a Wanted,
    ) -> impl Iterator<Item = (&'a Link, &'a LinkMatch)> {
        let open = |link: &&Link| {
            link.kind == LinkKind::Plain && !self.cards.contains_key(link.name.as_str())
        };
        wanted.links.iter().filter(open).filter_map(|link| Some((link, link.r#match.as_ref()?)))
    }

    /// The cards that no link has.
    fn free<'a>(&self, there: &'a There) -> impl Iterator<Item = &'a Seen> {
        there
            .links
            .iter()
            .filter(|seen| seen.card && !self.cards.values().any(|index| *index == seen.index()))
    }

    fn fitting<'a>(&self, card: &LinkMatch, there: &'a There) -> impl Iterator<Item = &'a Seen> {
        self.free(there).filter(move |seen| fits(card, seen))
    }
}

fn fits(card: &LinkMatch, seen: &Seen) -> bool {
    if let Some(mac) = card.mac {
        return seen.born_with().is_some_and(|own| own.0 == mac.bytes());
    }
    if let Some(pattern) = &card.name {
        return matches(pattern.as_str(), seen.name());
    }
    let driver = card.driver.as_ref().zip(seen.driver.as_ref());
    driver.is_some_and(|(pattern, driver)| matches(pattern.as_str(), driver))
}

/// What a link looks for, in words.
fn words(card: &LinkMatch) -> String {
    if let Some(mac) = card.mac {
        return format!("with the hardware address {mac}");
    }
    if let Some(name) = &card.name {
        return format!("called {name}");
    }
    card.driver.as_ref().map_or_else(String::new, |driver| format!("with the driver {driver}"))
}

/// Whether a text fits a pattern, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        // There was no asterisk.
        return rest.is_empty();
    };
    for piece in pieces {
        // The first place that fits leaves most for those that follow.
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_asterisk_stands_for_anything() {
        for (pattern, text) in [
            ("eth0", "eth0"),
            ("eth*", "eth0"),
            ("eth*", "eth"),
            ("*", ""),
            ("*net", "virtio_net"),
            ("e*s*", "enp1s0"),
            ("a*b*b", "axbxb"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("eth0", "eth01"),
            ("eth*", "et"),
            ("a*a", "a"),
            ("a*b*b", "ab"),
            ("", "x"),
            ("*x", "y"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_fits_itself_and_any_hole_in_it(
            text in "[a-c]{0,8}", start in 0_usize..8, length in 0_usize..8) {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            let holed = format!("{}*{}", &text[..start], &text[end..]);
            prop_assert!(matches(&text, &text));
            prop_assert!(matches(&holed, &text));
        }

        #[test]
        fn no_pattern_panics(pattern in "[a-b*]{0,10}", text in "[a-b]{0,10}") {
            let _fits = matches(&pattern, &text);
        }
    }
}
