//! Machines in network namespaces, on one switch that records every frame they send.
//!
//! Each node is a namespace with `eth0`; its cable ends in the switch's namespace, at a bridge. What a
//! node sends is recorded at that end, so a test can judge the wire and not a log.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink::{Address, LinkId, Netlink, NewKind, NewLink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use sys::packet_socket::PacketSocket;
use sys::socket_filter::Instruction;

/// How long anything may take before a test gives up; far beyond every interval in use.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const EVERY_FRAME: u16 = 3;
/// Above the daemons that it observes.
const RECORDER_PRIORITY: u8 = 40;
/// Frames are looked at in full; none in these tests is longer.
const FRAME_BYTES: usize = 2048;

/// One frame, when it was seen and which node sent it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub at: Instant,
    pub node: usize,
    pub bytes: Vec<u8>,
}

/// The part of the switch that writes everything down.
#[derive(Debug)]
struct Recorder {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Node {
    namespace: OwnedFd,
    pub address: IpAddr,
    index: usize,
}

/// Some machines and their switch.
#[derive(Debug)]
pub(crate) struct Lab {
    switch: OwnedFd,
    pub nodes: Vec<Node>,
    recorder: Recorder,
}

/// Makes this process root of a user namespace unless it may make other namespaces already.
pub(crate) fn become_root_of_our_own() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let own = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    if !(user.is_root() && unshare(own).is_ok()) {
        unshare(UnshareFlags::NEWUSER | own)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))?;
    }
    // Without this, what is mounted here would show up in the namespace that we came from.
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", flags)?)
}

/// The flags in use here share no descriptors between threads, which is what the function is
/// deprecated for; its successor can't be called from this crate.
#[expect(deprecated)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}

fn new_namespace() -> OwnedFd {
    let made = std::thread::spawn(|| {
        unshare(UnshareFlags::NEWNET).expect("a namespace");
        File::open("/proc/thread-self/ns/net").expect("its descriptor").into()
    });
    made.join().expect("made")
}

fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entered");
            work()
        });
        worker.join().expect("done")
    })
}

impl Lab {
    /// Makes `count` nodes: 192.0.2.1, 192.0.2.2 and so on, and `fe80::1`, `fe80::2`.
    pub(crate) fn new(count: usize) -> Self {
        Self::recording(count, count)
    }

    /// The same, recording only the first so many: a flood would make the recorder late itself.
    pub(crate) fn recording(count: usize, recorded: usize) -> Self {
        let switch = new_namespace();
        inside(&switch, || {
            let mut netlink = Netlink::open().expect("netlink");
            netlink.create(&NewLink::new("br0", NewKind::Bridge)).expect("a bridge");
            let bridge = netlink.link("br0").expect("it is there").id;
            netlink.set_up(&bridge, true).expect("up");
        });
        let nodes = (0..count).map(|index| add_node(&switch, index)).collect();
        let recorder = Recorder::start(&switch, recorded);
        Self { switch, nodes, recorder }
    }

    /// Pulls a node's cable at the switch, or plugs it in; the node itself sees its carrier go.
    pub(crate) fn plug(&self, node: usize, plugged: bool) {
        self.at_port(node, |netlink, port| netlink.set_up(port, plugged).expect("set"));
    }

    /// Takes a node's port out of the bridge: its carrier stays and nothing gets through.
    pub(crate) fn partition(&self, node: usize, apart: bool) {
        self.at_port(node, |netlink, port| {
            let bridge = netlink.link("br0").expect("it is there").id;
            netlink.set_master(port, (!apart).then_some(&bridge)).expect("set");
        });
    }

    fn at_port(&self, node: usize, work: impl FnOnce(&mut Netlink, &LinkId) + Send) {
        inside(&self.switch, || {
            let mut netlink = Netlink::open().expect("netlink");
            let port = netlink.link(&format!("port{node}")).expect("it is there").id;
            work(&mut netlink, &port);
        });
    }

    /// Forgets what was recorded so far.
    pub(crate) fn forget(&self) {
        self.recorder.frames.lock().expect("whole").clear();
    }

    /// What was recorded so far.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.recorder.frames.lock().expect("whole").clone()
    }
}

fn add_node(switch: &OwnedFd, index: usize) -> Node {
    let namespace = new_namespace();
    let port = format!("port{index}");
    inside(switch, || {
        let mut netlink = Netlink::open().expect("netlink");
        let kind = NewKind::Veth { peer: "eth0".to_owned() };
        netlink.create(&NewLink::new(&port, kind)).expect("a cable");
        let far = netlink.link("eth0").expect("its other end").id;
        netlink.move_to(&far, namespace.as_fd()).expect("moved");
        let near = netlink.link(&port).expect("it is there").id;
        let bridge = netlink.link("br0").expect("it is there").id;
        netlink.set_master(&near, Some(&bridge)).expect("plugged");
        netlink.set_up(&near, true).expect("up");
    });
    let last = u8::try_from(index + 1).expect("few");
    let address = IpAddr::from([192, 0, 2, last]);
    inside(&namespace, || {
        let mut netlink = Netlink::open().expect("netlink");
        let _ = fs::write("/proc/sys/net/ipv6/conf/eth0/addr_gen_mode", "1");
        for name in ["lo", "eth0"] {
            let link = netlink.link(name).expect("it is there").id;
            netlink.set_up(&link, true).expect("up");
        }
        let eth0 = netlink.link("eth0").expect("it is there").id;
        netlink.add_address(&eth0, &Address::new(address, 24)).expect("an address");
        let local = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)]);
        let local = Address { no_dad: true, ..Address::new(local, 64) };
        netlink.add_address(&eth0, &local).expect("an address");
    });
    Node { namespace, address, index }
}

impl Node {
    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        inside(&self.namespace, || command.spawn().expect("it starts"))
    }

    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.namespace, work)
    }

    /// The virtual addresses: all but its own.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let all = self.inside(|| Netlink::open().and_then(|mut netlink| netlink.addresses()));
        let own = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => *ip == self.address || ip.is_loopback(),
            IpAddr::V6(v6) => {
                let tail = u16::try_from(self.index + 1).expect("few");
                v6.is_loopback() || *ip == IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, tail])
            }
        };
        let all = all.expect("listed").into_iter().map(|(_, address)| address.ip);
        all.filter(|ip| !own(ip)).collect()
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses().contains(&address)
    }

    pub(crate) fn has_all(&self, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        let held = self.addresses();
        addresses.into_iter().all(|address| held.contains(&address))
    }

    /// Sets its interface up or down, as an operator at the node would.
    pub(crate) fn set_up(&self, up: bool) {
        self.inside(|| {
            let mut netlink = Netlink::open().expect("netlink");
            let eth0 = netlink.link("eth0").expect("it is there").id;
            netlink.set_up(&eth0, up).expect("set");
            if up {
                // The kernel forgot it with the interface.
                let tail = u16::try_from(self.index + 1).expect("few");
                let local = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, tail]);
                let local = Address { no_dad: true, ..Address::new(local, 64) };
                netlink.replace_address(&eth0, &local).expect("an address");
            }
        });
    }
}

impl Recorder {
    fn start(switch: &OwnedFd, count: usize) -> Self {
        let everything = [Instruction { code: 6, jump_true: 0, jump_false: 0, operand: u32::MAX }];
        let sockets: Vec<PacketSocket> = inside(switch, || {
            let mut netlink = Netlink::open().expect("netlink");
            let port = |node| netlink.link(&format!("port{node}")).expect("a port").id.index;
            let ports: Vec<u32> = (0..count).map(port).collect();
            let open = |port: &u32| PacketSocket::open(*port, EVERY_FRAME, &everything);
            ports.iter().map(|port| open(port).expect("a socket")).collect()
        });
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (written, stopped) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = std::thread::spawn(move || record(&sockets, &written, &stopped));
        Self { frames, stop, thread: Some(thread) }
    }
}

fn record(sockets: &[PacketSocket], frames: &Mutex<Vec<Frame>>, stop: &AtomicBool) {
    let mut buffer = [0; FRAME_BYTES];
    let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // The times that it writes down shall be those of the wire and not those of a busy machine.
    let _ = sys::scheduler::run_in_real_time(RECORDER_PRIORITY);
    while !stop.load(Ordering::Relaxed) {
        let mut waiting: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let _ = poll(&mut waiting, Some(&moment));
        for (node, socket) in sockets.iter().enumerate() {
            // An error is that of a port that went down, and is told once.
            while let Ok(Some(length)) = socket.receive(&mut buffer) {
                let frame = Frame { at: Instant::now(), node, bytes: buffer[..length].to_vec() };
                frames.lock().expect("whole").push(frame);
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for a condition, and fails with what was waited for.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}
