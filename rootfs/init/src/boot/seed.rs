//! The phase that finds the seed, and waits for a good one as long as it takes.

use std::time::Duration;

use crate::boot::{Stage2Error, Step};
use crate::node::Node;
use crate::say;
use crate::seed_source;

/// How often a node without a good seed looks for a better one.
const SEED_POLL: Duration = Duration::from_secs(2);

/// Finds and checks the seed. With none, or a bad one, the node says why and waits for a better one:
/// it takes no name and no address before it has a good seed.
pub(super) fn find_seed(node: &mut Node) -> Result<Step, Stage2Error> {
    let mut said = Vec::new();
    loop {
        let mut troubles = Vec::new();
        let mut good = None;
        for found in seed_source::search() {
            let parsed = found.and_then(|candidate| {
                let bad = |problems| format!("bad seed in {}:\n{problems}", candidate.place);
                candidate.parse().map(|seed| (candidate.place.clone(), seed)).map_err(bad)
            });
            match parsed {
                Ok(seed) => {
                    good = Some(seed);
                    break;
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        if good.is_none() && troubles.is_empty() {
            troubles.push("no seed: put seed.toml on a FAT volume labelled SEED".to_owned());
        }
        // The same words every two seconds would push the reason off the screen.
        if troubles != said {
            troubles.iter().flat_map(|trouble| trouble.lines()).for_each(|line| say!("{line}"));
        }
        if let Some((place, seed)) = good {
            say!("seed from {place}");
            node.seed = Some(seed);
            return Ok(Step::Done);
        }
        if troubles != said {
            say!("waiting for a good seed; nothing is configured until then");
            said = troubles;
        }
        if let Some(ending) = node.wait(Some(SEED_POLL))? {
            return Ok(Step::End(ending));
        }
    }
}
