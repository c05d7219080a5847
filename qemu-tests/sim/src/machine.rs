//! The simulated machines and what is wrong with the network between them.

use failover::{Data, Epoch, Failover, Record, Ticket};

use crate::clock::Clock;
use crate::event::Ev;
use crate::pg::Pg;
use crate::plan::Micros;

/// What a disk holds where the record should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Empty,
    Bytes(Vec<u8>),
}

/// How an armed crash meets an fsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    Before,
    After,
    Torn,
}

/// One machine.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // What a machine is like, one thing per field.
pub(crate) struct Machine {
    pub(crate) up: bool,
    /// Counts boots; events of former ones are recognised.
    pub(crate) life: u32,
    /// What its core was given as this boot's random number.
    pub(crate) nonce: u64,
    /// Standing still; whether its clock stands as well.
    pub(crate) paused: Option<bool>,
    pub(crate) paused_at: Micros,
    pub(crate) inbox: Vec<Ev>,
    pub(crate) core: Option<Failover>,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// The record as the disk has it, for judging.
    pub(crate) durable: Option<Record>,
    pub(crate) flight: Option<(Ticket, Record)>,
    pub(crate) strike: Option<(u64, Strike)>,
    pub(crate) storage_fails: bool,
    pub(crate) pg: Pg,
    pub(crate) pg_busy: Option<Ticket>,
    /// The fence command that runs.
    pub(crate) fencing: Option<Ticket>,
    pub(crate) pg_failures: u64,
    pub(crate) gate: Option<Epoch>,
    pub(crate) permit: Option<Micros>,
    /// Since it last heard its peer it heard somebody else advert the address.
    pub(crate) claimed: bool,
    /// Since it last heard its peer its gateway was away.
    pub(crate) was_cut_off: bool,
    /// It asked for, or acted on, authority as a candidate.
    pub(crate) sought: bool,
    /// It heard from peer or witness in this life.
    pub(crate) met: bool,
    /// What its record said when it booted.
    pub(crate) booted_as: Option<Record>,
    pub(crate) lost_sync_at: Option<Micros>,
    pub(crate) stale_since: Option<Micros>,
    pub(crate) wake: Micros,
    pub(crate) slow: u64,
    /// Changed names of synchronous standbys are heeded late.
    pub(crate) late_names: bool,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            up: false,
            life: 0,
            nonce: 0,
            paused: None,
            paused_at: 0,
            inbox: Vec::new(),
            core: None,
            clock: Clock::new(0, 0, 0),
            disk: Disk::Empty,
            durable: None,
            flight: None,
            strike: None,
            storage_fails: false,
            pg: Pg::new(Data::Missing),
            pg_busy: None,
            fencing: None,
            pg_failures: 0,
            gate: None,
            permit: None,
            claimed: false,
            was_cut_off: false,
            sought: false,
            met: false,
            booted_as: None,
            lost_sync_at: None,
            stale_since: None,
            wake: Micros::MAX,
            slow: 1,
            late_names: false,
        }
    }

    /// Up, and not standing still.
    pub(crate) fn is_running(&self) -> bool {
        self.up && self.paused.is_none()
    }
}

/// What is wrong with the network now. Cuts are counted, for faults overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// From a side to its peer, on the first channel.
    pub(crate) cut: [u32; 2],
    /// The same on the second.
    pub(crate) second_cut: [u32; 2],
    /// A side's adverts, which are multicast, reach nobody.
    pub(crate) advert_cut: [u32; 2],
    pub(crate) witness_cut: [u32; 2],
    pub(crate) gateway_cut: [u32; 2],
    pub(crate) loss: u64,
    pub(crate) delay: Micros,
    pub(crate) duplicates: u64,
}
