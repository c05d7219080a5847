//! A machine with an oscillator that is off, a network that delays, and servers of all sorts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clockd::ntp::{Action, Client, Event, Moment, Nanos, ServerId, Settings, Stamp};

pub(crate) const SECOND: Nanos = 1_000_000_000;
/// True time at the start: 2026-11-20.
pub(crate) const START: Nanos = 1_795_174_177 * SECOND;
/// What the kernel slews: 500 millionths.
const SLEW: f64 = 500e-6;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Nature {
    Good,
    /// Its clock is off by this.
    Off(Nanos),
    Silent,
    /// Sends a kiss of death instead of time.
    Kiss([u8; 4]),
    /// Says that it has no time.
    Unsynchronised,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) nature: Nature,
    /// Each way takes this long, and up to `jitter` more.
    pub(crate) way: Nanos,
    pub(crate) jitter: Nanos,
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) peers: Vec<Peer>,
    /// True time since the start.
    pub(crate) now: Nanos,
    /// How much faster the oscillator runs than true time.
    pub(crate) drift: f64,
    raw: f64,
    wall: f64,
    tuned: f64,
    slewing: f64,
    random: u64,
    /// Packets on their way: when they arrive, to whose question, and what.
    flying: Vec<(Nanos, ServerId, Vec<u8>)>,
    pub(crate) steps: Vec<Nanos>,
    pub(crate) asked: Vec<(Nanos, ServerId)>,
    pub(crate) saved: Vec<Nanos>,
    pub(crate) ready: Option<Nanos>,
    pub(crate) status: String,
}

impl World {
    /// A world in which the wall clock is off by `off` at first.
    pub(crate) fn new(peers: Vec<Peer>, off: Nanos, drift: f64, seed: u64) -> Self {
        let servers = (0..peers.len()).map(|number| format!("s{number}")).collect();
        let image = START - 86_400 * SECOND;
        let settings = Settings { servers, image, floor: image, ..Settings::default() };
        Self {
            client: Client::new(settings),
            peers,
            now: 0,
            drift,
            raw: 0.0,
            wall: off as f64,
            tuned: 0.0,
            slewing: 0.0,
            random: seed | 1,
            flying: Vec::new(),
            steps: Vec::new(),
            asked: Vec::new(),
            saved: Vec::new(),
            ready: None,
            status: String::new(),
        }
    }

    /// The last run left this time, since the world's beginning.
    pub(crate) fn after_a_run_until(mut self, saved: Nanos) -> Self {
        let servers = (0..self.peers.len()).map(|number| format!("s{number}")).collect();
        let (image, floor) = (START - 86_400 * SECOND, START + saved);
        let settings = Settings { servers, image, floor, ..Settings::default() };
        self.client = Client::new(settings);
        self
    }

    /// How far the wall clock is off.
    pub(crate) fn off(&self) -> Nanos {
        self.wall as Nanos - self.now
    }

    pub(crate) fn random(&mut self) -> u64 {
        // Marsaglia's xorshift: equal seeds, equal worlds.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn moment(&self) -> Moment {
        let boot = Duration::from_nanos(self.now as u64);
        Moment { boot, raw: self.raw as Nanos, wall: START + self.wall as Nanos }
    }

    /// Lets true time pass, and all clocks with it.
    fn advance(&mut self, to: Nanos) {
        let passed = (to - self.now).max(0) as f64;
        let counted = passed * (1.0 + self.drift);
        let slewed = self.slewing.clamp(-counted * SLEW, counted * SLEW);
        self.raw += counted;
        self.wall += counted * (1.0 + self.tuned) + slewed;
        self.slewing -= slewed;
        self.now = self.now.max(to);
    }

    /// Runs until then; after each event `check` sees the world.
    pub(crate) fn run(&mut self, until: Nanos, mut check: impl FnMut(&Self)) {
        self.step(Event::Tick);
        loop {
            let arrival = self.flying.iter().map(|packet| packet.0).min();
            let deadline = self.client.next_deadline().map(|when| when.as_nanos() as Nanos);
            let next = arrival.into_iter().chain(deadline).min().unwrap_or(until);
            if next > until {
                self.advance(until);
                return;
            }
            self.advance(next);
            if let Some(place) = self.flying.iter().position(|packet| packet.0 <= self.now) {
                let (_, server, bytes) = self.flying.remove(place);
                let raw = self.raw as Nanos;
                self.step(Event::Received { server, bytes, raw });
            } else {
                self.step(Event::Tick);
            }
            check(self);
        }
    }

    pub(crate) fn step(&mut self, event: Event) {
        for action in self.client.step(self.moment(), event) {
            match action {
                Action::Resolve(server) => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 123));
                    self.step(Event::Resolved(server, vec![address]));
                }
                Action::Ask(server, _) => self.ask(server),
                Action::Step(by) => {
                    self.steps.push(by);
                    self.wall += by as f64;
                    // The kernel forgets a slew that was under way.
                    self.slewing = 0.0;
                }
                Action::Slew(by) => self.slewing = by as f64,
                Action::Tune(parts) => self.tuned = parts as f64 / 1e9,
                Action::Save => self.saved.push(self.moment().wall),
                Action::Ready => self.ready = Some(self.now),
                Action::Status(status) => self.status = status,
                Action::Close(_) | Action::Declare { .. } | Action::SetBattery => {}
            }
        }
    }

    fn ask(&mut self, server: ServerId) {
        self.asked.push((self.now, server));
        let cookie = self.random();
        let Some(peer) = self.peers.get(server.0).copied() else { return };
        let mut way = || peer.way + (self.random() % (peer.jitter as u64 + 1)) as Nanos;
        let (there, back) = (way(), way());
        let arrives = self.now + there;
        if let Some(bytes) = answer(peer.nature, cookie, arrives) {
            self.flying.push((arrives + back, server, bytes));
        }
        let raw = self.raw as Nanos;
        self.step(Event::Sent { server, cookie, raw });
    }
}

/// A server's packet, for a question that came at this true time.
pub(crate) fn answer(nature: Nature, cookie: u64, at: Nanos) -> Option<Vec<u8>> {
    let off = match nature {
        Nature::Silent => return None,
        Nature::Off(off) => off,
        _ => 0,
    };
    let mut packet = vec![0x24, 2, 6, 0xe9];
    packet.resize(48, 0);
    match nature {
        Nature::Kiss(code) => {
            packet[0] = 0xe4;
            packet[1] = 0;
            packet[12..16].copy_from_slice(&code);
        }
        Nature::Unsynchronised => packet[0] = 0xe4,
        _ => {}
    }
    // A millisecond to a true clock.
    packet[8..12].copy_from_slice(&66_u32.to_be_bytes());
    packet[24..32].copy_from_slice(&cookie.to_be_bytes());
    for place in [32, 40] {
        let stamp = Stamp::from_unix(START + at + off).0;
        packet[place..place + 8].copy_from_slice(&stamp.to_be_bytes());
    }
    Some(packet)
}
