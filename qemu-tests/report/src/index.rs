//! `index.html` over many drills and runs: the last verdict of each, and how it went over time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ledger::Verdict;

use crate::folder::{self, Record, ReportError, at, whole};
use crate::junit::junit;
use crate::run::Run;
use crate::text::{escape, link, utc};
use crate::timeline::{SCRIPT, THEME, head, pill, sign};

/// So many of the last runs are drawn.
const TREND_RUNS: usize = 40;
/// A bar of a trend.
const BAR_WIDTH: u64 = 5;
const TREND_HEIGHT: u64 = 26;

/// A run and where its folder is, relative to the index.
struct Entry {
    folder: String,
    record: Record,
}

/// What an index is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs.
    pub runs: usize,
    /// Those that passed.
    pub passed: usize,
    /// Those that were violated.
    pub violated: usize,
    /// Those of which nobody knows.
    pub unknown: usize,
}

/// Reads every run below `reports`, and writes `index.html` and `junit.xml` there. Folders without
/// a verdict are of runs that aren't over, or were killed; they are passed over.
pub fn write(reports: &Path) -> Result<Totals, ReportError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(reports).map_err(at(reports))? {
        let path = entry.map_err(at(reports))?.path();
        let Some(name) = path.file_name().filter(|_| path.is_dir()) else { continue };
        if let Some(record) = folder::read(&path)? {
            entries.push(Entry { folder: name.to_string_lossy().into_owned(), record });
        }
    }
    entries.sort_by(|a, b| {
        (a.record.run.started_unix, &a.folder).cmp(&(b.record.run.started_unix, &b.folder))
    });
    let runs: Vec<Run> = entries.iter().map(|entry| entry.record.run.clone()).collect();
    whole(&reports.join("junit.xml"), junit(&runs).as_bytes())?;
    whole(&reports.join("index.html"), page(&entries).as_bytes())?;
    Ok(totals(&entries))
}

fn totals(entries: &[Entry]) -> Totals {
    let count =
        |verdict| entries.iter().filter(|entry| entry.record.run.verdict == verdict).count();
    Totals {
        runs: entries.len(),
        passed: count(Verdict::Pass),
        violated: count(Verdict::Violated),
        unknown: count(Verdict::Unknown),
    }
}

/// Runs of one drill and variant, the oldest first, by family and title.
fn groups(entries: &[Entry]) -> BTreeMap<(&str, String), Vec<&Entry>> {
    let mut groups: BTreeMap<(&str, String), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let run = &entry.record.run;
        groups.entry((&run.family, run.title())).or_default().push(entry);
    }
    groups
}

fn page(entries: &[Entry]) -> String {
    let (totals, groups) = (totals(entries), groups(entries));
    let last_verdicts = groups.values().filter_map(|runs| runs.last());
    let verdict = last_verdicts.map(|entry| entry.record.run.verdict).max();
    let verdict = verdict.unwrap_or(Verdict::Unknown);
    let mut html = head(&format!("{} drills", sign(verdict)));
    let last = entries.last().map_or(String::new(), |entry| utc(entry.record.run.started_unix));
    html.push_str(&format!(
        "<div class=\"bar\"><span>drills</span><span class=\"space\"></span><input \
         type=\"search\" id=\"filter\" placeholder=\"find a drill or a verdict\" \
         aria-label=\"find\"/><span>last run {last}</span>{THEME}</div>\n"
    ));
    let violated = latest(&groups, Verdict::Violated);
    let unknown = latest(&groups, Verdict::Unknown);
    let claim = match verdict {
        _ if groups.is_empty() => "No drill has been run here yet.".to_owned(),
        Verdict::Pass => "Every drill passed when it was last run.".to_owned(),
        _ => {
            let wrong = [(violated, "violated"), (unknown, "unknown")];
            let wrong = wrong.iter().filter(|(count, _)| *count > 0);
            let wrong: Vec<_> = wrong.map(|(count, word)| format!("{count} {word}")).collect();
            format!("Not every drill passed at its last run: {}.", wrong.join(", "))
        }
    };
    html.push_str(&format!(
        "<header class=\"run\">{}<div><h1>{} drills</h1><p class=\"claim\">{claim} Kept \
         here: {} runs, {} passed, {} violated, {} unknown.</p></div></header>\n",
        pill(verdict, false),
        groups.len(),
        totals.runs,
        totals.passed,
        totals.violated,
        totals.unknown
    ));
    let mut family = "";
    for ((name, title), runs) in &groups {
        if *name != family {
            if !family.is_empty() {
                html.push_str("</table></section>\n");
            }
            family = name;
            html.push_str(&format!(
                "<section class=\"card scroll family\"><h2>{}</h2><table class=\"drills\"><tr><th \
                 class=\"state\">last</th><th>drill</th><th class=\"num\">longest wait</th><th class=\"num\">allowed</th>\
                 <th class=\"num\">took</th><th class=\"num\">passed</th><th>longest wait, run by \
                 run</th><th>time taken, run by run</th></tr>\n",
                escape(name)
            ));
        }
        row(&mut html, title, runs);
    }
    if !family.is_empty() {
        html.push_str("</table></section>\n");
    }
    html.push_str(&format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    html
}

fn latest(groups: &BTreeMap<(&str, String), Vec<&Entry>>, verdict: Verdict) -> usize {
    let last = groups.values().filter_map(|runs| runs.last());
    last.filter(|entry| entry.record.run.verdict == verdict).count()
}

fn row(html: &mut String, title: &str, runs: &[&Entry]) {
    let Some(last) = runs.last() else { return };
    let run = &last.record.run;
    let passed = runs.iter().filter(|entry| entry.record.run.verdict == Verdict::Pass).count();
    let gap = last.record.measured.gap.map(gap_length);
    let gap = gap.map_or("–".to_owned(), |gap| ledger::Micros(gap).to_string());
    let budget = run.patience.and_then(|patience| patience.budget);
    let allowed = budget.map_or("–".to_owned(), |budget| budget.to_string());
    let words = format!("{title} {} {} {}", run.family, run.verdict, run.claim).to_lowercase();
    html.push_str(&format!(
        "<tr data-words=\"{}\"><td class=\"state\">{}</td><td><a class=\"mono\" \
         href=\"{}/timeline.html\">{}</a><div class=\"reasons\">{}</div></td><td \
         class=\"num\">{gap}</td><td class=\"num\">{allowed}</td><td class=\"num\">{}</td><td \
         class=\"num\">{passed} of {}</td><td>{}</td><td>{}</td></tr>\n",
        escape(&words),
        pill(run.verdict, true),
        link(&last.folder),
        escape(title),
        escape(&run.claim),
        run.length,
        runs.len(),
        trend(runs, budget.map(|budget| budget.0), |entry| {
            entry.record.measured.gap.map(gap_length)
        }),
        trend(runs, None, |entry| Some(entry.record.run.length.0)),
    ));
}

fn gap_length(gap: ledger::check::gap::Gap) -> u64 {
    gap.length().0
}

/// A bar per run, in the colour of its verdict and linked to it, the latest on the right.
fn trend(runs: &[&Entry], limit: Option<u64>, value: impl Fn(&Entry) -> Option<u64>) -> String {
    let shown = runs.get(runs.len().saturating_sub(TREND_RUNS)..).unwrap_or_default();
    let highest = shown.iter().filter_map(|entry| value(entry)).chain(limit).max().unwrap_or(0);
    if shown.iter().all(|entry| value(entry).is_none()) {
        return "<span class=\"empty\">–</span>".to_owned();
    }
    let height = |value: u64| (value * TREND_HEIGHT).checked_div(highest).unwrap_or(0).max(2);
    let width = u64::try_from(shown.len()).unwrap_or(0) * BAR_WIDTH;
    let mut svg = format!(
        "<svg class=\"trend\" width=\"{width}\" height=\"{TREND_HEIGHT}\" viewBox=\"0 0 {width} \
         {TREND_HEIGHT}\">"
    );
    for (x, entry) in (0..).step_by(5).zip(shown) {
        let run = &entry.record.run;
        let (color, tall) = match run.verdict {
            Verdict::Pass => ("pass", height(value(entry).unwrap_or(0))),
            Verdict::Violated => ("bad", height(value(entry).unwrap_or(highest))),
            Verdict::Unknown => ("unknown", height(value(entry).unwrap_or(highest))),
        };
        let said = value(entry).map_or("nothing".to_owned(), |v| ledger::Micros(v).to_string());
        svg.push_str(&format!(
            "<a href=\"{}/timeline.html\"><title>{} {}, seed {}, {}</title><rect x=\"{x}\" \
             y=\"{}\" width=\"4\" height=\"{tall}\" rx=\"1\" fill=\"var(--{color})\"/></a>",
            link(&entry.folder),
            run.verdict,
            said,
            run.seed,
            utc(run.started_unix),
            TREND_HEIGHT - tall
        ));
    }
    if let Some(limit) = limit {
        let y = TREND_HEIGHT - height(limit);
        svg.push_str(&format!(
            "<path d=\"M0 {y}.5H{width}\" stroke=\"var(--bad)\" stroke-dasharray=\"2 2\"/>"
        ));
    }
    svg + "</svg>"
}
