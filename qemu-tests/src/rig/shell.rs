//! A person at a formed cluster: faults and questions by hand, one line each.
//!
//! Everything that a drill does can be done here, with the same proofs, so whatever is found out by
//! hand becomes a drill by writing the lines down.

use std::io::{self, BufRead, Write};

use control::PgRequest;
use serde::Serialize;
use vdisk::store::Cut;

use super::drill::Drill;
use super::fault::{Fault, Injected, Node, Stop};

/// How many lines are shown if nobody says.
const LINES: usize = 15;

pub const HELP: &str = "\
  nodes                          who there is, and how each is
  console NODE [LINES]           what it said last
  facts NODE, keeper NODE        what it says of itself, and of its database
  read NODE PATH                 a small file of it
  wire [LINES]                   what was claimed lately, and where
  freeze|stall|cut|reset|unplug|blackhole|stall-disk|break-disk|fill NODE
  kill|hang NODE PROCESS         faults; each says what it did
  heal                           ends the latest fault that is still there
  start NODE, switchover NODE    turns it on; gives its database to the peer
  quit                           ends the cluster";

/// What a person can want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Nodes,
    Console(String, usize),
    Facts(String),
    Keeper(String),
    Read(String, String),
    Wire(usize),
    Fault(String, String, Option<String>),
    Heal,
    Start(String),
    Switchover(String),
    Help,
    Quit,
}

/// Reads a line; none if it is empty.
pub fn parse(line: &str) -> Result<Option<Wish>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let count = |word: &str| word.parse().map_err(|_| format!("{word:?} is no number"));
    let own = |word: &&str| (*word).to_owned();
    // Which node it is about is found out later.
    let is_fault = |word: &str, process| fault(word, Node(0), process).is_some();
    let wish = match words.as_slice() {
        [] => return Ok(None),
        ["nodes"] => Wish::Nodes,
        ["console", node] => Wish::Console(own(node), LINES),
        ["console", node, lines] => Wish::Console(own(node), count(lines)?),
        ["facts", node] => Wish::Facts(own(node)),
        ["keeper", node] => Wish::Keeper(own(node)),
        ["read", node, path] => Wish::Read(own(node), own(path)),
        ["wire"] => Wish::Wire(LINES),
        ["wire", lines] => Wish::Wire(count(lines)?),
        ["heal"] => Wish::Heal,
        ["start", node] => Wish::Start(own(node)),
        ["switchover", node] => Wish::Switchover(own(node)),
        ["help"] => Wish::Help,
        ["quit" | "exit"] => Wish::Quit,
        [word, node] if is_fault(word, None) => Wish::Fault(own(word), own(node), None),
        [word, node, process] if is_fault(word, Some(*process)) => {
            Wish::Fault(own(word), own(node), Some(own(process)))
        }
        _ => return Err(format!("{:?} is nothing that can be done here; see help", line.trim())),
    };
    Ok(Some(wish))
}

fn fault(word: &str, node: Node, process: Option<&str>) -> Option<Fault> {
    Some(match (word, process) {
        ("freeze", None) => node.freeze(),
        ("stall", None) => node.stall(),
        ("cut", None) => node.power_cut_with(Cut::All),
        ("reset", None) => node.reset(),
        ("unplug", None) => node.unplug(),
        ("blackhole", None) => node.black_hole(),
        ("stall-disk", None) => node.disk_stall(),
        ("break-disk", None) => node.disk_broken(),
        ("fill", None) => node.fill_state(),
        ("kill", Some(process)) => node.kill9(process),
        ("hang", Some(process)) => node.hang(process),
        _ => return None,
    })
}

/// Asks for wishes and does them, until there are no more. It needs no terminal: lines may come from
/// a file.
pub fn run(drill: &mut Drill) -> Result<(), Stop> {
    let mut faults: Vec<Injected> = Vec::new();
    eprintln!("{HELP}");
    let mut lines = io::stdin().lock().lines();
    loop {
        eprint!("drill> ");
        let _shown = io::stderr().flush();
        let Some(Ok(line)) = lines.next() else { break };
        let done = match parse(&line) {
            Ok(None) => continue,
            Ok(Some(Wish::Quit)) => break,
            Ok(Some(wish)) => fulfil(drill, wish, &mut faults),
            Err(error) => Err(Stop::Unknown(error)),
        };
        // Whoever tries things out goes on after a mistake.
        match done {
            Ok(said) => println!("{said}"),
            Err(Stop::Violated(why) | Stop::Unknown(why)) => println!("no: {why}"),
        }
    }
    Ok(())
}

fn fulfil(drill: &mut Drill, wish: Wish, faults: &mut Vec<Injected>) -> Result<String, Stop> {
    Ok(match wish {
        Wish::Nodes => nodes(drill)?,
        Wish::Console(node, lines) => {
            let node = drill.node(&node)?;
            let all = drill.machine(node)?.console.lines();
            let last = all.iter().skip(all.len().saturating_sub(lines));
            let line = |line: &crate::console::Line| {
                format!("{:9.3}  {}", line.after.as_secs_f64(), line.text)
            };
            last.map(line).collect::<Vec<_>>().join("\n")
        }
        Wish::Facts(node) => pretty(&drill.probe(drill.node(&node)?)?.facts()?)?,
        Wish::Keeper(node) => match drill.keeper(drill.node(&node)?) {
            Some(status) => pretty(&status)?,
            None => return Err(Stop::Unknown(format!("{node} has no keeper that answers"))),
        },
        Wish::Read(node, path) => {
            let ask = ::probe::words::Ask::ReadFile { path };
            let answer = drill.probe(drill.node(&node)?)?.ask(ask)?;
            answer.as_str().map_or_else(|| answer.to_string(), str::to_owned)
        }
        Wish::Wire(lines) => wire(drill, lines),
        Wish::Fault(word, node, process) => {
            let node = drill.node(&node)?;
            let fault = fault(&word, node, process.as_deref());
            let fault = fault.ok_or_else(|| Stop::Unknown(format!("{word} is no fault")))?;
            faults.push(drill.inject(fault)?);
            "done; heal ends it".to_owned()
        }
        Wish::Heal => match faults.pop() {
            Some(injected) => {
                drill.heal(injected)?;
                "healed".to_owned()
            }
            None => "nothing is wrong".to_owned(),
        },
        Wish::Start(node) => {
            let node = drill.node(&node)?;
            drill.start(node)?;
            "on".to_owned()
        }
        Wish::Switchover(node) => {
            let answer = drill.order(drill.node(&node)?, PgRequest::Switchover)?;
            format!("{answer:?}")
        }
        Wish::Help | Wish::Quit => HELP.to_owned(),
    })
}

fn pretty(value: &impl Serialize) -> Result<String, Stop> {
    serde_json::to_string_pretty(value).map_err(|error| Stop::Unknown(error.to_string()))
}

fn nodes(drill: &mut Drill) -> Result<String, Stop> {
    let mut lines = Vec::new();
    for node in drill.nodes() {
        let machine = drill.machine(node)?;
        let power = match (machine.is_running()?, machine.is_running()? && machine.is_stalled()?) {
            (false, _) => "off",
            (true, true) => "stalled",
            (true, false) if machine.is_frozen()? => "frozen",
            (true, false) => "on",
        };
        lines.push(format!("{:12} {power}", drill.name(node)));
    }
    Ok(lines.join("\n"))
}

fn wire(drill: &Drill, lines: usize) -> String {
    let all = drill.cluster.switch.with_wire(|wire| {
        let heard = wire.since(std::time::Duration::ZERO).copied();
        heard.collect::<Vec<_>>()
    });
    let line = |heard: &vswitch::wire::Heard| {
        let name = drill.cluster.name_of(heard.port);
        format!("{:9.3}  {name:12} {:?}", heard.at.as_secs_f64(), heard.claim)
    };
    let last = all.iter().skip(all.len().saturating_sub(lines));
    last.map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_help_is_understood() {
        for line in HELP.lines() {
            let (forms, _) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
            for form in forms.split(", ") {
                let words: Vec<&str> = form.split_whitespace().collect();
                let (verbs, rest) = words.split_first().expect("a verb");
                for verb in verbs.split('|') {
                    let rest = rest.join(" ").replace("[LINES]", "7").replace("NODE", "node1");
                    let line = format!("{verb} {rest}");
                    assert!(matches!(parse(&line), Ok(Some(_))), "{line}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert_eq!(parse("  "), Ok(None));
        for line in ["explode node1", "kill node1", "freeze", "console node1 many"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
