//! What can't be done, and what the limits of a cgroup do.

use std::fs;

use supervise::{Exit, State};

use crate::site::{Site, cgroup_root, in_own_process};

#[test]
fn a_missing_program_is_named_with_the_mend() {
    in_own_process("refusals::a_missing_program_is_named_with_the_mend", |mut site| {
        let toml = "[[services]]\nname = \"gone\"\ncommand = [\"/nonexistent/program\"]\n\
                    restart = { policy = \"never\" }\n";
        site.begin(toml);
        site.until_state("gone", State::Failed);
        assert_eq!(site.status("gone").last_exit, Some(Exit::NotStarted));
        let said = site.said();
        assert!(said.contains("can't start /nonexistent/program"), "{said}");
        assert!(said.contains("correct the command"), "{said}");
        site.end();
    });
}

#[test]
fn a_mistake_in_one_service_is_its_own() {
    in_own_process("refusals::a_mistake_in_one_service_is_its_own", |mut site| {
        let toml = "[[services]]\nname = \"bad\"\ncommand = [\"/bin/sleep\", \"1000\"]\n\
                    directories = [{ path = \"/etc/edgepair-test\" }]\n\
                    [[services]]\nname = \"good\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
        site.begin(toml);
        site.until_state("good", State::Ready);
        site.until_state("bad", State::BackOff);
        assert!(site.said().contains("neither below /run nor below /state"), "{}", site.said());
        assert!(!fs::exists("/etc/edgepair-test").expect("looked"));
        site.end();
    });
}

/// Whether the second version of cgroups has a controller here; the first may have taken it.
fn has_controller(name: &str) -> bool {
    let root = cgroup_root().expect("checked");
    let there = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let found = there.split_whitespace().any(|one| one == name);
    if !found {
        eprintln!("skipped: the {name} controller belongs to the first version of cgroups here");
    }
    found
}

#[test]
fn a_fork_bomb_goes_off_in_its_own_group() {
    in_own_process("refusals::a_fork_bomb_goes_off_in_its_own_group", |mut site: Site| {
        if !has_controller("pids") {
            return;
        }
        let toml = "[[services]]\nname = \"bomb\"\nlimits = { pids = 50 }\n\
                    command = [\"/bin/sh\", \"-c\", \"f() { f | f & }; f; sleep 1000\"]\n\
                    restart = { policy = \"never\" }\n\
                    [[services]]\nname = \"good\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
        site.begin(toml);
        site.until_state("good", State::Ready);
        let refused = site.tree().join("bomb/pids.events");
        site.until("forks are refused", |_| {
            fs::read_to_string(&refused).is_ok_and(|text| !text.trim().ends_with(" 0"))
        });
        assert_eq!(site.state("good"), State::Ready);
        site.end();
    });
}

#[test]
fn a_memory_hog_is_killed_alone_and_the_reason_is_said() {
    let name = "refusals::a_memory_hog_is_killed_alone_and_the_reason_is_said";
    in_own_process(name, |mut site: Site| {
        if !has_controller("memory") {
            return;
        }
        let toml = "[[services]]\nname = \"hog\"\nlimits = { memory = \"16MiB\" }\n\
                    command = [\"/bin/sh\", \"-c\", \"exec tail /dev/zero\"]\n\
                    restart = { policy = \"never\" }\n";
        site.begin(toml);
        site.until_state("hog", State::Failed);
        assert!(site.said().contains("more than limits.memory"), "{}", site.said());
        site.end();
    });
}
