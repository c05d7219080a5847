//! Pages, summaries and folders of made-up runs: whole, safe, and needing nothing from anywhere.

use std::fs;
use std::path::Path;

use ledger::History;
use report::junit::junit;
use report::run::Run;
use report::{Folder, folder, index};
use roxmltree::{Document, ParsingOptions};

mod made_up;

/// Writes a run into a folder of its own, and gives the page.
fn written(reports: &Path, run: &Run, history: &History) -> String {
    let made = Folder::create(reports, &run.drill, &run.variant, run.seed, run.started_unix);
    let made = made.expect("a folder");
    made.write(run, history).expect("written");
    fs::read_to_string(made.path().join("timeline.html")).expect("a page")
}

/// The page without what is between `<script>` or `<style>` and its end, which isn't markup.
fn markup(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    for element in ["style", "script", "script"] {
        let Some(begin) = rest.find(&format!("<{element}")) else { break };
        let open = begin + rest[begin..].find('>').expect("an end") + 1;
        let close = open + rest[open..].find(&format!("</{element}>")).expect("closed");
        out.push_str(&rest[..open]);
        rest = &rest[close..];
    }
    out + rest
}

fn parse(markup: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(markup, options).expect("well-formed")
}

#[test]
fn a_page_is_well_formed_and_loads_nothing() {
    let reports = tempfile::tempdir().expect("a folder");
    let page = written(reports.path(), &made_up::split(1_795_812_000), &made_up::clients(1, 900));
    for address in ["http://", "https://", "url(//", "src=", "@import", "fetch(", "<link"] {
        assert!(!page.contains(address), "the page mentions {address}");
    }
    let markup = markup(&page);
    let document = parse(&markup);
    let links: Vec<_> =
        document.descendants().filter_map(|element| element.attribute("href")).collect();
    assert_eq!(links, ["../index.html", "history.jsonl", "junit.xml", "verdict.json"]);
    let rerun = document.descendants().find(|element| element.attribute("id") == Some("rerun"));
    let rerun = rerun.expect("the command to run it again").text();
    assert_eq!(rerun, Some("builder drill pg_freeze_thaw --seed 4711 --keep"));
}

#[test]
fn no_name_breaks_out_of_a_page() {
    let reports = tempfile::tempdir().expect("a folder");
    let (run, history) = made_up::nasty();
    let page = written(reports.path(), &run, &history);
    index::write(reports.path()).expect("an index");
    let over_all = fs::read_to_string(reports.path().join("index.html")).expect("an index");
    for page in [&page, &over_all] {
        let markup = markup(page);
        let document = parse(&markup);
        let elements = || document.descendants().filter(roxmltree::Node::is_element);
        assert!(elements().all(|element| element.tag_name().name() != "img"));
        assert!(elements().all(|element| element.attribute("onerror").is_none()));
        assert!(!page.contains("<img"), "not in a script either");
    }
    let begin = page.find("id=\"data\">").expect("data") + "id=\"data\">".len();
    let end = begin + page[begin..].find("</script>").expect("an end");
    let data: serde_json::Value = serde_json::from_str(&page[begin..end]).expect("JSON");
    assert_eq!(data["lanes"][0]["name"], run.lanes[0].name.as_str(), "told as it is");
}

#[test]
fn a_small_page_is_as_it_was() {
    let reports = tempfile::tempdir().expect("a folder");
    let mut run = made_up::freeze(7, 900, 1_795_812_000);
    run.lanes.truncate(1);
    run.findings.truncate(2);
    run.assertions.truncate(2);
    let mut history = made_up::clients(7, 900);
    history.operations.truncate(2);
    let page = written(reports.path(), &run, &history);
    let body = page.find("<main>").expect("a body");
    let scripts = page.rfind("<script>").expect("scripts");
    insta::assert_snapshot!(&page[body..scripts]);
}

#[test]
fn junit_is_read_by_others_and_counts_right() {
    let (nasty, _) = made_up::nasty();
    let mut stuck = made_up::freeze(1, 900, 0);
    stuck.verdict = ledger::Verdict::Unknown;
    let mut lagged = made_up::split(0);
    lagged.verdict = ledger::Verdict::Unknown;
    lagged.findings.clear();
    let xml = junit(&[made_up::freeze(1, 900, 0), made_up::split(0), nasty, stuck, lagged]);
    let document = Document::parse(&xml).expect("XML");
    let suites: Vec<_> = document
        .root_element()
        .children()
        .filter(|child| child.has_tag_name("testsuite"))
        .collect();
    let counts = |index: usize| {
        let suite = suites[index];
        let failed = suite.descendants().filter(|node| node.has_tag_name("failure")).count();
        let errors = suite.descendants().filter(|node| node.has_tag_name("error")).count();
        assert_eq!(suite.attribute("failures"), Some(&*failed.to_string()));
        assert_eq!(suite.attribute("errors"), Some(&*errors.to_string()));
        (failed, errors)
    };
    assert_eq!(suites.len(), 5);
    assert_eq!(counts(0), (0, 0), "a good day");
    assert_eq!(counts(1), (4, 1), "a late assertion, three findings; a fault that never bit");
    assert_eq!(counts(2), (2, 0));
    assert_eq!(counts(3), (0, 1), "what the rig says of the whole run counts too");
    assert_eq!(counts(4), (0, 2), "what was late on a desk that lagged is no failure");
    insta::assert_snapshot!(junit(&[made_up::split(0)]));
}

#[test]
fn runs_never_share_a_folder_and_come_back_as_they_were() {
    let reports = tempfile::tempdir().expect("a folder");
    let (run, history) = (made_up::split(1_795_812_000), made_up::clients(1, 900));
    for _ in 0..3 {
        written(reports.path(), &run, &history);
    }
    let mut names: Vec<_> = fs::read_dir(reports.path())
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let first = "pg_freeze_thaw-ipv6-4711-1795812000";
    assert_eq!(names, [first.to_owned(), format!("{first}-2"), format!("{first}-3")]);
    let record = folder::read(&reports.path().join(first)).expect("readable").expect("there");
    assert_eq!(record.run, run);
    let left: Vec<_> = fs::read_dir(reports.path().join(first))
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().contains("part"))
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

#[test]
fn an_index_counts_runs_and_passes_over_the_unfinished() {
    let reports = tempfile::tempdir().expect("a folder");
    written(reports.path(), &made_up::freeze(1, 900, 100), &made_up::clients(1, 900));
    written(reports.path(), &made_up::freeze(2, 900, 200), &made_up::clients(2, 900));
    written(reports.path(), &made_up::split(300), &made_up::clients(3, 900));
    fs::create_dir(reports.path().join("killed")).expect("a folder");
    let totals = index::write(reports.path()).expect("an index");
    assert_eq!((totals.runs, totals.passed, totals.violated, totals.unknown), (3, 2, 1, 0));
    let page = fs::read_to_string(reports.path().join("index.html")).expect("a page");
    let markup = markup(&page);
    let document = parse(&markup);
    let rows = document.descendants().filter(|node| node.attribute("data-words").is_some());
    assert_eq!(rows.count(), 2, "one per drill and variant");
    assert!(page.contains("1 violated"), "the sum is said");

    let broken = reports.path().join("killed/verdict.json");
    fs::write(&broken, "{\"format\": 1").expect("written");
    let error = index::write(reports.path()).expect_err("a broken verdict").to_string();
    assert!(error.contains("killed/verdict.json"), "{error}");
}

#[test]
fn a_verdict_is_never_better_than_what_was_seen() {
    use ledger::Verdict::{Pass, Unknown, Violated};
    let mut run = made_up::freeze(1, 900, 0);
    assert_eq!(run.verdict, Pass);
    run.faults[0].bit = false;
    run.judge();
    assert_eq!(run.verdict, Unknown, "the fault never bit");
    run.assertions[0].met = Some(run.assertions[0].deadline.plus(ledger::Micros(1)));
    run.judge();
    assert_eq!(run.verdict, Violated, "too late is not in time");
    (run.assertions, run.findings, run.faults) = (Vec::new(), Vec::new(), Vec::new());
    run.judge();
    assert_eq!(run.verdict, Unknown, "nothing was judged");
}
