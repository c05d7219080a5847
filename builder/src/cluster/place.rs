//! Where things stand in a cluster file, so that every mistake is shown at its line.
//!
//! Mistakes are mostly found in the seeds that come out of the cluster file, by the seed crate,
//! which knows all rules. A person wrote the cluster file, though, and shall see that. So each seed
//! comes with routes: from a path in the seed to the paths in the cluster file that it may have come
//! from.

use std::ops::Range;

use seed::{MAX_PROBLEMS, Problem, Problems, Wrong};
use toml_edit::{Document, DocumentMut, Item};

/// A cluster file: its name, its text, and the text parsed twice: with places for messages, and
/// with its comments as texts of their own, so that its parts can be moved into seeds.
#[derive(Debug)]
pub(super) struct Source {
    file: String,
    text: String,
    places: Document<String>,
    content: DocumentMut,
}

/// From a path in a seed to one in the cluster file, the better ones first.
#[derive(Debug, Default)]
pub(super) struct Routes(Vec<(String, String)>);

impl Routes {
    /// What stands at or below `seed` in the seed comes from `source` in the cluster file.
    pub(super) fn add(&mut self, seed: impl Into<String>, source: impl Into<String>) {
        self.0.push((seed.into(), source.into()));
    }

    fn candidates(&self, path: &str) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(move |(seed, source)| {
            let rest = path.strip_prefix(seed.as_str())?;
            let whole = rest.is_empty() || rest.starts_with(['.', '[']);
            whole.then(|| format!("{source}{rest}"))
        })
    }
}

/// Where a key and its value stand.
struct Place {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl Source {
    /// Parses the text; a mistake of syntax is a problem like any other.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        match Document::parse(text.to_owned()) {
            Ok(places) => Ok(Self {
                file: file.to_owned(),
                text: text.to_owned(),
                content: places.clone().into_mut(),
                places,
            }),
            Err(error) => {
                let wrong = Wrong::new(
                    "this is not valid TOML",
                    error.message().lines().collect::<Vec<_>>().join("; "),
                    "correct the marked place; text values need double quotes",
                );
                let span = error.span().unwrap_or(0..0);
                Err(Problems {
                    problems: vec![Problem::in_text(file, text, "", &span, wrong)],
                    left_out: 0,
                })
            }
        }
    }

    /// The top of the file.
    pub(super) fn root(&self) -> &Item {
        self.content.as_item()
    }

    /// A problem at a path, or at the nearest thing around it that is written.
    pub(super) fn problem(&self, path: &str, wrong: Wrong) -> Problem {
        let mut shown = path;
        let place = loop {
            match (self.find(shown), shown.rfind(['.', '['])) {
                (Some(place), _) => break place.value,
                (None, Some(end)) => shown = &shown[..end],
                (None, None) => break 0..0,
            }
        };
        Problem::in_text(&self.file, &self.text, path, &place, wrong)
    }

    /// A problem about a key itself, not about its value.
    pub(super) fn problem_at_key(&self, path: &str, wrong: Wrong) -> Problem {
        match self.find(path).and_then(|place| place.key) {
            Some(span) => Problem::in_text(&self.file, &self.text, path, &span, wrong),
            None => self.problem(path, wrong),
        }
    }

    /// The same problem, at the place in this file that its cause came from.
    pub(super) fn remap(&self, problem: &Problem, routes: &Routes) -> Problem {
        let wrong = Wrong::new(&problem.what, &problem.why, &problem.mend);
        let marked: String = problem
            .source_line
            .chars()
            .skip(problem.column.saturating_sub(1))
            .take(problem.length)
            .collect();
        let last = problem.key.rsplit(['.', '[']).next().unwrap_or_default();
        let about_key = !last.is_empty() && marked == last;
        let mut path = problem.key.as_str();
        loop {
            if let Some(found) = routes.candidates(path).find(|path| self.find(path).is_some()) {
                return if about_key && path == problem.key {
                    self.problem_at_key(&found, wrong)
                } else {
                    self.problem(&found, wrong)
                };
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.problem("nodes", wrong),
            }
        }
    }

    fn find(&self, path: &str) -> Option<Place> {
        let mut item = self.places.as_item();
        let mut key = None;
        for segment in path.split('.') {
            let (name, indexes) = segment.split_once('[').unwrap_or((segment, ""));
            let (found, value) = item.as_table_like()?.get_key_value(name)?;
            item = value;
            key = found.span();
            for index in indexes.split('[').filter(|index| !index.is_empty()) {
                item = item.get(index.trim_end_matches(']').parse::<usize>().ok()?)?;
                key = None;
            }
        }
        let value = item.span().or_else(|| key.clone())?;
        Some(Place { key, value })
    }
}

/// All problems in the order of the file, each told once though several seeds share its cause.
pub(super) fn in_order(mut found: Vec<Problem>) -> Problems {
    found.sort_by_key(|problem| (problem.line, problem.column));
    let mut problems = Problems::default();
    for problem in found {
        let told = problems.problems.iter().any(|old| {
            (old.line, old.column, &old.what) == (problem.line, problem.column, &problem.what)
        });
        if told {
            continue;
        }
        if problems.problems.len() < MAX_PROBLEMS {
            problems.problems.push(problem);
        } else {
            problems.left_out += 1;
        }
    }
    problems
}
