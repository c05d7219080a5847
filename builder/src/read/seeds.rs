//! The seed of an image, as far as it may be told: never its text, since that has keys in it.

use serde::Serialize;

use crate::image::identity;
use crate::image::layout::Part;
use crate::image::open::OpenImage;

/// What the SEED partition has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SeedState {
    /// The image is nobody's yet.
    Absent,
    Good {
        node: String,
        cluster: String,
        /// Whether keys and tokens are in it.
        sealed: bool,
    },
    Bad {
        /// Why, without quoting the seed.
        why: String,
    },
}

/// The text itself; whoever asks must not print it.
pub fn text(image: &OpenImage) -> Result<Option<String>, String> {
    let partition = image.partition(Part::Seed).map_err(|error| error.to_string())?;
    identity::read(&image.file, partition).map_err(|error| error.to_string())
}

/// Reads and checks the seed.
pub fn state(image: &OpenImage) -> SeedState {
    match text(image) {
        Ok(None) => SeedState::Absent,
        Ok(Some(text)) => judge(&text),
        Err(why) => SeedState::Bad { why },
    }
}

/// Checks a seed's text.
pub fn judge(text: &str) -> SeedState {
    match seed::parse("seed", text) {
        Ok(seed) => SeedState::Good {
            node: seed.node.name.to_string(),
            cluster: seed.cluster.name.to_string(),
            sealed: seed.secrets.is_some(),
        },
        Err(problems) => SeedState::Bad { why: without_quotes(&problems) },
    }
}

/// Problems quote the line and often the value, either of which may be a key; place and name of the
/// key are enough to find it.
fn without_quotes(problems: &seed::Problems) -> String {
    let count = problems.count();
    let Some(first) = problems.problems.first() else {
        return "it is no seed".to_owned();
    };
    format!("{count} problems, the first in line {} at `{}`", first.line, first.key)
}
