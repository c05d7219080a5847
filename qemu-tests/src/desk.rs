//! A desk from which a node in QEMU is asked, through the node's API.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use builder::image::identity;
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::node;
use builder::project::Project;
use builder::qemu::command::{Card, Machine};
use builder::qemu::forward;
use builder::root::definition::Architecture;
use serde_json::Value;

/// Emulated processors on a busy machine are slow.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at something that takes its time.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// `nodectl` on the desk: the binary that is on the node, which is static and runs here too.
#[derive(Debug)]
pub struct Desk {
    program: PathBuf,
    node: String,
    operator: PathBuf,
}

impl Desk {
    /// A desk that reaches the node in this machine, and nothing else does: the machine's only card
    /// is on a network of QEMU's own. `operator` is the folder of the node's secrets.
    pub fn beside(machine: &mut Machine, operator: &Path) -> Self {
        let disk = machine.disks.first().expect("the node's own").file.clone();
        let project = Project::find(None).expect("the tests run in a checkout");
        let binaries = node::build(&project, Architecture::Amd64, false).expect("built");
        let nodectl = binaries.into_iter().find(|binary| binary.name == "nodectl");
        let program = nodectl.expect("it is one of them").path;
        // After the build, which may take a minute in which another program takes the port.
        let port = free_port();
        machine.cards = vec![open_card(&disk, port)];
        Self { program, node: format!("127.0.0.1:{port}"), operator: operator.to_owned() }
    }

    /// Runs it with these arguments, in the name of this operator.
    pub fn run_as(&self, operator: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(["--node", &self.node, "--operator"]).arg(operator).args(arguments);
        command.stdin(Stdio::null()).output().expect("it starts")
    }

    /// What it prints when all is well.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run_as(&self.operator, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The status as a program reads it.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ask(&["status", "--json"])).expect("JSON")
    }

    /// Asks until the answer is as wanted.
    pub fn until(&self, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let said = self.ask(arguments);
            if wanted(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "{arguments:?} never says it: {said}");
            sleep(LOOK_AGAIN);
        }
    }
}

/// A port of the loopback interface that is free, as far as anybody can know.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("known").port()
}

/// The card by which the desk reaches the node that is on this disk.
fn open_card(disk: &Path, port: u16) -> Card {
    let image = OpenImage::open(disk).expect("an image");
    let partition = image.partition(Part::Seed).expect("a SEED partition");
    let text = identity::read(&image.file, partition).expect("readable").expect("a seed");
    forward::card(&seed::parse("sealed", &text).expect("valid"), port).expect("an address")
}
