//! XML as `JUnit` writes it, which every CI shows. A violation is a failure, an unknown is an error:
//! neither may pass a gate, and they call for different things. Pure.

use ledger::{Micros, Verdict};

use crate::run::Run;
use crate::text::escape;

/// One suite per run, with a case per assertion and finding.
pub fn junit(runs: &[Run]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for run in runs {
        suite(&mut xml, run);
    }
    xml.push_str("</testsuites>\n");
    xml
}

struct Case<'a> {
    name: &'a str,
    verdict: Verdict,
    reason: String,
    took: Micros,
}

fn cases(run: &Run) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for assertion in &run.assertions {
        let verdict = run.verdict_of(assertion);
        let reason = assertion.told();
        let took = assertion.met.unwrap_or(assertion.deadline).since(assertion.from);
        cases.push(Case { name: &assertion.text, verdict, reason, took });
    }
    for fault in run.faults.iter().filter(|fault| !fault.bit) {
        let reason = "it is not proven that the fault had an effect".to_owned();
        let (verdict, took) = (Verdict::Unknown, Micros::default());
        cases.push(Case { name: &fault.label, verdict, reason, took });
    }
    for finding in &run.findings {
        let (verdict, reason) = (finding.verdict, finding.reasons.join("\n"));
        cases.push(Case { name: &finding.check, verdict, reason, took: Micros::default() });
    }
    // The rig may know better than all that it asked for: a guest never came up, the desk lagged.
    let worst = cases.iter().map(|case| case.verdict).max();
    if worst.is_none_or(|worst| worst < run.verdict) {
        let last = run.log.last().map_or("nothing was judged", |mark| mark.text.as_str());
        let (reason, took) = (last.to_owned(), run.length);
        cases.push(Case { name: "the run as a whole", verdict: run.verdict, reason, took });
    }
    cases
}

fn suite(xml: &mut String, run: &Run) {
    let cases = cases(run);
    let count = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    xml.push_str(&format!(
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{}\">\n",
        escape(&run.title()),
        cases.len(),
        count(Verdict::Violated),
        count(Verdict::Unknown),
        seconds(run.length),
    ));
    for case in &cases {
        let (family, drill, name) = (escape(&run.family), escape(&run.drill), escape(case.name));
        xml.push_str(&format!(
            "<testcase classname=\"{family}.{drill}\" name=\"{name}\" time=\"{}\"",
            seconds(case.took)
        ));
        let element = match case.verdict {
            Verdict::Pass => {
                xml.push_str("/>\n");
                continue;
            }
            Verdict::Violated => "failure",
            Verdict::Unknown => "error",
        };
        let (reason, rerun) = (escape(&case.reason), escape(&run.rerun));
        xml.push_str(&format!(
            "><{element} message=\"{}\">{reason}\nrun it again: {rerun}</{element}></testcase>\n",
            reason.lines().next().unwrap_or_default()
        ));
    }
    xml.push_str("</testsuite>\n");
}

fn seconds(span: Micros) -> String {
    format!("{}.{:03}", span.0 / 1_000_000, span.0 / 1000 % 1000)
}
