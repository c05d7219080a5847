//! `timeline.html`: what happened in a run. One file, which loads nothing from anywhere.
//!
//! The drawing is made in the browser, from data in the page, so that it can be zoomed. What it
//! shows is in tables below it too, for those who can't see or run it.

use ledger::{Finding, History, Kind, Outcome, Verdict};
use serde::Serialize;

use crate::folder::{Record, kind_name};
use crate::run::{Address, Assertion, Fault, Lane, MarkKind, Run};
use crate::text::{escape, link, script_json, utc};

pub(crate) const STYLE: &str = include_str!("../assets/page.css");
pub(crate) const SCRIPT: &str = include_str!("../assets/page.js");
const DRAWING: &str = include_str!("../assets/timeline.js");

/// What the drawing needs.
#[derive(Serialize)]
struct Data<'a> {
    length: u64,
    lanes: &'a [Lane],
    addresses: &'a [Address],
    faults: &'a [Fault],
    assertions: &'a [Assertion],
    gap: Option<Shown>,
    answered_by: Vec<&'a str>,
    operations: Vec<Short<'a>>,
}

#[derive(Serialize)]
struct Shown {
    kind: &'static str,
    from: u64,
    until: u64,
    budget: Option<u64>,
}

/// Kind, outcome, invoked, completed, process, index of who answered, timeline, value, note.
type Short<'a> = (u8, u8, u64, u64, u32, i32, u32, u64, &'a str);

fn data<'a>(record: &'a Record, history: &'a History) -> Data<'a> {
    let run = &record.run;
    let mut answered_by: Vec<&str> = Vec::new();
    let mut operations = Vec::with_capacity(history.operations.len());
    for operation in &history.operations {
        let node = operation.node.as_deref().map_or(-1, |node| {
            let known = answered_by.iter().position(|known| *known == node);
            let index = known.unwrap_or_else(|| {
                answered_by.push(node);
                answered_by.len() - 1
            });
            i32::try_from(index).unwrap_or(-1)
        });
        let kind = match operation.kind {
            Kind::Ping => 0,
            Kind::Append => 1,
            Kind::Read => 2,
        };
        let outcome = match operation.outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Info => 2,
        };
        operations.push((
            kind,
            outcome,
            operation.invoked.0,
            operation.completed.0,
            operation.process,
            node,
            operation.timeline.unwrap_or(0),
            operation.value.unwrap_or(0),
            operation.note.as_str(),
        ));
    }
    let gap = record.measured.gap.zip(run.patience).map(|(gap, patience)| Shown {
        kind: kind_name(patience.kind),
        from: gap.from.0,
        until: gap.until.0,
        budget: patience.budget.map(|budget| budget.0),
    });
    Data {
        length: run.length.0,
        lanes: &run.lanes,
        addresses: &run.addresses,
        faults: &run.faults,
        assertions: &run.assertions,
        gap,
        answered_by,
        operations,
    }
}

/// The whole page.
pub(crate) fn page(
    record: &Record,
    history: &History,
    files: &[String],
) -> serde_json::Result<String> {
    let run = &record.run;
    let json = script_json(&data(record, history))?;
    let title = format!("{} {}", sign(run.verdict), run.title());
    let mut html = head(&title);
    html.push_str("<div class=\"bar\"><a href=\"../index.html\">all runs</a><span>›</span><span>");
    html.push_str(&escape(&run.family));
    html.push_str("</span><span class=\"space\"></span>");
    html.push_str(&format!("<span>{}</span>{THEME}</div>\n", utc(run.started_unix)));
    header(&mut html, run);
    why(&mut html, run);
    tiles(&mut html, record);
    html.push_str(CHART);
    html.push_str("<div class=\"pair\">\n");
    assertions(&mut html, run);
    faults(&mut html, run);
    html.push_str("</div>\n<div style=\"height:14px\"></div>\n");
    findings(&mut html, &run.findings);
    again(&mut html, run, files);
    log(&mut html, run);
    html.push_str("</main>\n<div id=\"tip\"></div>\n");
    html.push_str(&format!("<script type=\"application/json\" id=\"data\">{json}</script>\n"));
    html.push_str(&format!("<script>\n{SCRIPT}{DRAWING}</script>\n</body>\n</html>\n"));
    Ok(html)
}

/// Up to the beginning of what is on the page.
pub(crate) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    )
}

pub(crate) const THEME: &str =
    "<button id=\"theme\" title=\"light or dark\" aria-label=\"light or dark\">◐</button>";

const CHART: &str = r#"<section class="card">
<div class="tools"><h2>What happened</h2>
<button id="fit">whole run</button><button id="fault">around the fault</button>
<button id="in" title="zoom in (+)">+</button><button id="out" title="zoom out (−)">−</button>
<button id="left" title="earlier (←)">←</button><button id="right" title="later (→)">→</button>
<span class="empty">drag to zoom, double-click for all, Ctrl + wheel, Shift + wheel</span></div>
<div id="chart"><noscript>The drawing needs JavaScript. The tables below say the same.</noscript></div>
<div class="legend">
<span><i class="key ok"></i>acknowledged</span>
<span><i class="key info"></i>unknown: no answer, it may have happened</span>
<span><b style="color:var(--bad)">×</b>failed: it certainly did not happen</span>
<span><i class="key fault"></i>fault</span>
<span><b style="color:var(--soft)">▲</b>address announced (GARP, NA)</span>
<span><b style="color:var(--soft)">◆</b>event on a machine</span>
</div>
</section>
"#;

pub(crate) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Violated => "✗",
        Verdict::Unknown => "?",
    }
}

pub(crate) fn pill(verdict: Verdict, small: bool) -> String {
    let small = if small { " small" } else { "" };
    format!("<span class=\"pill{small} {verdict}\">{} {verdict}</span>", sign(verdict))
}

fn header(html: &mut String, run: &Run) {
    let variant = if run.variant.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"variant\">{}</span>", escape(&run.variant))
    };
    html.push_str(&format!(
        "<header class=\"run\">{}<div><h1><span class=\"mono\">{}</span>{variant}</h1><p \
         class=\"claim\">{}</p></div></header>\n",
        pill(run.verdict, false),
        escape(&run.drill),
        escape(&run.claim)
    ));
}

/// What is wrong, before anything else is said.
fn why(html: &mut String, run: &Run) {
    if run.verdict == Verdict::Pass {
        return;
    }
    let mut reasons = Vec::new();
    for assertion in run.assertions.iter().filter(|assertion| !assertion.in_time()) {
        let (what, told) = (assertion.text.as_str(), assertion.told());
        reasons.push((run.verdict_of(assertion), what, told, Some(assertion.deadline)));
    }
    for finding in run.findings.iter().filter(|finding| finding.verdict != Verdict::Pass) {
        let first = finding.reasons.first().cloned().unwrap_or_default();
        reasons.push((finding.verdict, finding.check.as_str(), first, finding.at));
    }
    for fault in run.faults.iter().filter(|fault| !fault.bit) {
        let told = "it is not proven that this fault had an effect".to_owned();
        reasons.push((Verdict::Unknown, fault.label.as_str(), told, Some(fault.from)));
    }
    if reasons.iter().all(|(verdict, ..)| *verdict < run.verdict) {
        let last = run.log.last().map_or("nothing was judged", |mark| mark.text.as_str());
        let at = run.log.last().map(|mark| mark.at);
        reasons.push((run.verdict, "the run as a whole", last.to_owned(), at));
    }
    let what = match run.verdict {
        Verdict::Violated => "What was promised did not hold.",
        _ => "Too little was seen to tell whether the promise holds.",
    };
    html.push_str(&format!("<div class=\"why {}\"><b>{what}</b><ul>\n", run.verdict));
    for (verdict, what, told, at) in reasons {
        let jump = at.map(|at| {
            format!(" <button class=\"jump\" data-at=\"{}\">show it, at {at}</button>", at.0)
        });
        html.push_str(&format!(
            "<li>{} <b>{}</b>: {}{}</li>\n",
            pill(verdict, true),
            escape(what),
            escape(&told),
            jump.unwrap_or_default()
        ));
    }
    html.push_str("</ul></div>\n");
}

fn tile(html: &mut String, what: &str, value: &str, note: &str, bad: bool) {
    let bad = if bad { " isbad" } else { "" };
    html.push_str(&format!(
        "<div class=\"tile\"><div class=\"what\">{what}</div><div class=\"value{bad}\">{value} \
         <small>{note}</small></div>"
    ));
}

fn tiles(html: &mut String, record: &Record) {
    let (run, measured) = (&record.run, &record.measured);
    html.push_str("<div class=\"tiles\">\n");
    if let (Some(gap), Some(patience)) = (measured.gap, run.patience) {
        let length = gap.length();
        let budget = patience.budget;
        let over = budget.is_some_and(|budget| length > budget);
        let note = budget.map_or(String::new(), |budget| format!("of {budget}"));
        tile(html, "longest wait of a client", &length.to_string(), &note, over);
        if let Some(budget) = budget {
            let share = (length.0 * 100).checked_div(budget.0).unwrap_or(100).min(100);
            let bad = if over { " class=\"isbad\"" } else { "" };
            html.push_str(&format!(
                "<div class=\"meter\"><i{bad} style=\"width:{share}%\"></i></div>"
            ));
        }
        html.push_str("</div>\n");
    }
    let (failed, unknown) = (measured.failed, measured.unknown);
    if measured.acknowledged + failed + unknown > 0 {
        let note = format!("{failed} failed, {unknown} unknown");
        tile(html, "operations acknowledged", &measured.acknowledged.to_string(), &note, false);
        html.push_str("</div>\n");
    }
    if run.addresses.iter().any(|address| !address.reigns.is_empty()) {
        let note = if measured.owner_changes == 1 { "change of owner" } else { "changes of owner" };
        tile(html, "virtual address", &measured.owner_changes.to_string(), note, false);
        html.push_str("</div>\n");
    }
    let met = run.assertions.iter().filter(|assertion| assertion.in_time()).count();
    let all = run.assertions.len();
    if all > 0 {
        tile(html, "happened in time", &met.to_string(), &format!("of {all}"), met < all);
        html.push_str("</div>\n");
    }
    let held = run.findings.iter().filter(|finding| finding.verdict == Verdict::Pass).count();
    let all = run.findings.len();
    if all > 0 {
        tile(html, "checks passed", &held.to_string(), &format!("of {all}"), held < all);
        html.push_str("</div>\n");
    }
    tile(html, "took", &run.length.to_string(), &format!("seed {}", run.seed), false);
    html.push_str("</div>\n</div>\n");
}

fn assertions(html: &mut String, run: &Run) {
    html.push_str("<section class=\"card scroll\"><h2>Had to happen</h2>\n");
    if run.assertions.is_empty() {
        html.push_str("<span class=\"empty\">nothing by a certain time</span></section>\n");
        return;
    }
    html.push_str(
        "<table><tr><th></th><th>what</th><th class=\"num\">took</th><th \
         class=\"num\">allowed</th></tr>\n",
    );
    for assertion in &run.assertions {
        let verdict = run.verdict_of(assertion);
        let took =
            assertion.met.map_or("–".to_owned(), |met| met.since(assertion.from).to_string());
        html.push_str(&format!(
            "<tr><td class=\"state\">{}</td><td>{}</td><td class=\"num\">{took}</td><td \
             class=\"num\">{}</td></tr>\n",
            pill(verdict, true),
            escape(&assertion.text),
            assertion.deadline.since(assertion.from)
        ));
    }
    html.push_str("</table></section>\n");
}

fn faults(html: &mut String, run: &Run) {
    html.push_str("<section class=\"card scroll\"><h2>Broken on purpose</h2>\n");
    if run.faults.is_empty() {
        html.push_str("<span class=\"empty\">nothing</span></section>\n");
        return;
    }
    html.push_str(
        "<table><tr><th>fault</th><th>it bit</th><th class=\"num\">at</th><th \
                   class=\"num\">for</th></tr>\n",
    );
    for fault in &run.faults {
        let proof = if fault.bit {
            escape(&fault.proof)
        } else {
            format!("{} {}", pill(Verdict::Unknown, true), escape(&fault.proof))
        };
        let length =
            fault.until.map_or("the rest".to_owned(), |until| until.since(fault.from).to_string());
        html.push_str(&format!(
            "<tr><td>{}</td><td>{proof}</td><td class=\"num\"><button class=\"jump\" \
             data-at=\"{}\">{}</button></td><td class=\"num\">{length}</td></tr>\n",
            escape(&fault.label),
            fault.from.0,
            fault.from
        ));
    }
    html.push_str("</table></section>\n");
}

fn findings(html: &mut String, findings: &[Finding]) {
    html.push_str("<section class=\"card scroll\"><h2>Must hold</h2>\n<table>\n");
    for finding in findings {
        let reasons: Vec<String> = finding.reasons.iter().map(|reason| escape(reason)).collect();
        let jump = finding
            .at
            .map(|at| format!("<button class=\"jump\" data-at=\"{}\">show it</button>", at.0));
        html.push_str(&format!(
            "<tr><td class=\"state\">{}</td><td>{} {}<div class=\"reasons\">{}</div></td></tr>\n",
            pill(finding.verdict, true),
            escape(&finding.check),
            jump.unwrap_or_default(),
            reasons.join("<br/>")
        ));
    }
    if findings.is_empty() {
        html.push_str("<tr><td class=\"empty\">nothing was checked</td></tr>\n");
    }
    html.push_str("</table></section>\n");
}

/// How to run it again, what it ran on, and the evidence.
fn again(html: &mut String, run: &Run, files: &[String]) {
    html.push_str(&format!(
        "<section class=\"card\"><h2>Run exactly this again</h2><div class=\"rerun\"><code \
         id=\"rerun\">{}</code><button data-copy=\"rerun\">copy</button></div></section>\n",
        escape(&run.rerun)
    ));
    html.push_str(
        "<div class=\"pair\"><section class=\"card\"><h2>Evidence</h2><ul class=\"files\">",
    );
    for file in files {
        html.push_str(&format!("<li><a href=\"{}\">{}</a></li>", link(file), escape(file)));
    }
    html.push_str("</ul></section>\n<section class=\"card\"><h2>Ran on</h2><dl>");
    for fact in &run.facts {
        let (name, value) = (escape(&fact.name), escape(&fact.value));
        html.push_str(&format!("<dt>{name}</dt><dd>{value}</dd>"));
    }
    html.push_str("</dl></section></div>\n");
}

fn log(html: &mut String, run: &Run) {
    if run.log.is_empty() {
        return;
    }
    html.push_str(
        "<div style=\"height:14px\"></div>\n<section class=\"card scroll\"><h2>What the rig did \
         and saw</h2><table class=\"log mono\">\n",
    );
    for mark in &run.log {
        let bad = if mark.kind == MarkKind::Bad { " class=\"isbad\"" } else { "" };
        html.push_str(&format!(
            "<tr><td class=\"num\"><button class=\"jump\" data-at=\"{}\">{}.{:03} s</button></td>\
             <td{bad}>{}</td></tr>\n",
            mark.at.0,
            mark.at.0 / 1_000_000,
            mark.at.0 / 1000 % 1000,
            escape(&mark.text)
        ));
    }
    html.push_str("</table></section>\n");
}
