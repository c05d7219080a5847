//! A disk that loses power at every step of a write, and four clients who never notice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use failover::{Configuration, Epoch, Members, Side};
use proptest::prelude::*;

use super::*;

const CLUSTER: u64 = 7;
/// Write beside, sync it, rename, sync the folder.
const STEPS: u32 = 4;

/// What is on the platter, what the running system sees, and when the power goes.
#[derive(Debug, Default)]
struct Platter {
    durable: Option<Vec<u8>>,
    seen: Option<Vec<u8>>,
    /// Steps until the power goes; none for never.
    power: Option<u32>,
    /// Whether a rename that was not synced is there after the crash.
    lucky: bool,
}

#[derive(Clone, Debug, Default)]
struct ModelDisk(Arc<Mutex<Platter>>);

impl Platter {
    fn step(&mut self) -> Result<(), String> {
        match &mut self.power {
            Some(0) => Err("the power is gone".to_owned()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The power comes back.
    fn boot(&mut self, power: Option<u32>, lucky: bool) {
        if self.lucky && self.seen != self.durable {
            self.durable = self.seen.take();
        }
        self.seen = self.durable.clone();
        self.power = power;
        self.lucky = lucky;
    }
}

impl Disk for ModelDisk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().seen.clone())
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut platter = self.0.lock().unwrap();
        // Beside, and its sync: the name still has the old contents.
        platter.step()?;
        platter.step()?;
        platter.step()?;
        platter.seen = Some(bytes.to_vec());
        platter.step()?;
        platter.durable = Some(bytes.to_vec());
        Ok(())
    }

    fn place(&self) -> String {
        "model".to_owned()
    }
}

fn claim(base: u64, side: Side) -> Configuration {
    let base = Epoch(base);
    Configuration { epoch: base.next_for(side), base, leader: side, members: Members::Leader }
}

fn ask(side: Side, claim: Option<Configuration>) -> Ask {
    Ask { cluster: CLUSTER, from: side, nonce: 1, claim, enroll: None }
}

/// A register that is enrolled with epoch 1 of side A, both members.
fn enrolled(disk: &ModelDisk) {
    let mut kept = Kept::init(disk.clone(), CLUSTER, 42).unwrap();
    let config = Configuration { members: Members::Both, ..claim(0, Side::A) };
    let first = Ask { enroll: Some((42, config)), ..ask(Side::A, None) };
    assert_eq!(kept.ask(&first).unwrap().config, Some(config));
}

#[test]
fn a_missing_damaged_or_foreign_register_is_refused_and_never_begun_anew() {
    let disk = ModelDisk::default();
    let missing = Kept::open(disk.clone(), CLUSTER).unwrap_err();
    assert!(matches!(missing, RegisterError::Missing { .. }));
    enrolled(&disk);
    let again = Kept::init(disk.clone(), CLUSTER, 43).unwrap_err();
    assert!(matches!(again, RegisterError::Exists { .. }));
    assert!(matches!(Kept::open(disk.clone(), 8).unwrap_err(), RegisterError::Foreign { .. }));
    let sound = disk.0.lock().unwrap().seen.clone().unwrap();
    for end in 0..sound.len() {
        disk.0.lock().unwrap().seen = Some(sound[..end].to_vec());
        let torn = Kept::open(disk.clone(), CLUSTER).unwrap_err();
        assert!(matches!(torn, RegisterError::Damaged { .. }), "{end} bytes");
        let begun = Kept::init(disk.clone(), CLUSTER, 43).unwrap_err();
        assert!(matches!(begun, RegisterError::Exists { .. }));
    }
    for at in 0..sound.len() {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        disk.0.lock().unwrap().seen = Some(flipped);
        assert!(Kept::open(disk.clone(), CLUSTER).is_err(), "byte {at}");
    }
}

/// Whether the witness goes on or starts anew, one answer stands.
#[test]
fn after_a_failed_write_nothing_is_answered_until_one_succeeds() {
    for step in 0..STEPS {
        let disk = ModelDisk::default();
        enrolled(&disk);
        let mut kept = Kept::open(disk.clone(), CLUSTER).unwrap();
        disk.0.lock().unwrap().power = Some(step);
        let wanted = claim(1, Side::A);
        assert!(kept.ask(&ask(Side::A, Some(wanted))).is_err(), "step {step}");
        let reading = kept.ask(&ask(Side::B, None)).unwrap_err();
        assert!(matches!(reading, RegisterError::Unwritten { .. }), "step {step}");
        disk.0.lock().unwrap().power = None;
        let found = kept.ask(&ask(Side::B, None)).unwrap().config;
        assert_eq!(found.unwrap().epoch, Epoch(1), "what nobody was told didn't happen");
        let durable = disk.0.lock().unwrap().durable.clone().unwrap();
        assert_eq!(Register::decode(&durable).unwrap().config, found, "step {step}");
        let mut anew = Kept::open(disk.clone(), CLUSTER).unwrap();
        assert_eq!(anew.ask(&ask(Side::B, None)).unwrap().config, found, "step {step}");
        assert_eq!(kept.ask(&ask(Side::A, Some(wanted))).unwrap().config, Some(wanted));
    }
}

#[test]
fn a_file_is_a_register_that_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(&folder.path().join("plant3.register"));
    Kept::init(disk.clone(), CLUSTER, 42).unwrap();
    let config = Configuration { members: Members::Both, ..claim(0, Side::A) };
    let enroll = Ask { enroll: Some((42, config)), ..ask(Side::A, None) };
    Kept::open(disk.clone(), CLUSTER).unwrap().ask(&enroll).unwrap();
    assert_eq!(Kept::open(disk, CLUSTER).unwrap().register().config, Some(config));
}

/// One call as its caller saw it; the times order calls that don't overlap.
#[derive(Clone, Copy, Debug)]
struct Call {
    from: u64,
    to: u64,
    claim: Option<Configuration>,
    answer: Configuration,
}

/// What all clients share.
struct World {
    disk: ModelDisk,
    kept: Mutex<Option<Kept<ModelDisk>>>,
    clock: AtomicU64,
    crashes: Mutex<Vec<(u32, bool)>>,
    /// Every other write that fails is one of a disk that is well again, and nothing boots.
    failures: AtomicU64,
}

impl World {
    /// A question; a crash is a lost answer, and the witness boots again.
    fn ask(&self, ask: &Ask) -> Option<Configuration> {
        let mut kept = self.kept.lock().unwrap();
        if kept.is_none() {
            let next = self.crashes.lock().unwrap().pop();
            let (power, lucky) = next.map_or((None, false), |(steps, lucky)| (Some(steps), lucky));
            self.disk.0.lock().unwrap().boot(power, lucky);
            *kept = Kept::open(self.disk.clone(), CLUSTER).ok();
        }
        let answered = kept.as_mut()?.ask(ask);
        if answered.is_err() {
            if self.failures.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                self.disk.0.lock().unwrap().power = None;
            } else {
                *kept = None;
            }
        }
        answered.ok()?.config
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

/// A client of one side that claims whatever follows what it last saw.
fn client(world: &World, side: Side, rounds: u64) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut last = 1;
    for round in 0..rounds {
        let claim = (round % 3 != 2).then(|| claim(last, side));
        let from = world.tick();
        let answer = world.ask(&ask(side, claim));
        let to = world.tick();
        if let Some(answer) = answer {
            last = answer.epoch.0;
            calls.push(Call { from, to, claim, answer });
        }
        thread::yield_now();
    }
    calls
}

/// The order of epochs is an order of the calls that explains every answer.
fn judge(calls: &[Call]) {
    let mut granted: BTreeMap<(Epoch, Epoch), Side> = BTreeMap::new();
    for call in calls {
        for earlier in calls.iter().filter(|earlier| earlier.to < call.from) {
            assert!(
                call.answer.epoch >= earlier.answer.epoch,
                "{earlier:?} was forgotten: {call:?}"
            );
        }
        if call.claim == Some(call.answer) {
            let key = (call.answer.base, Epoch::NONE);
            let winner = *granted.entry(key).or_insert(call.answer.leader);
            assert_eq!(winner, call.answer.leader, "two won after the same base: {call:?}");
        }
    }
    for call in calls {
        for other in calls {
            if call.answer.epoch == other.answer.epoch {
                assert_eq!(call.answer, other.answer, "one epoch, two contents");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn four_clients_and_crashes_at_every_step_see_one_register(
        crashes in prop::collection::vec((0..3 * STEPS, any::<bool>()), 0..12),
    ) {
        let disk = ModelDisk::default();
        enrolled(&disk);
        let kept = Mutex::new(None);
        let crashes = Mutex::new(crashes);
        let (clock, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        let world = World { disk, kept, clock, crashes, failures };
        let calls: Vec<Call> = thread::scope(|scope| {
            let sides = [Side::A, Side::B, Side::A, Side::B];
            let world = &world;
            let running = sides.map(|side| scope.spawn(move || client(world, side, 25)));
            running.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        prop_assert!(calls.len() > 20);
        judge(&calls);
    }
}
