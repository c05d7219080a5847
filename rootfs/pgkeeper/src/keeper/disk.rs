//! How the disk is: room, and whether it confirms writes in time.
//!
//! PostgreSQL stops with a panic when it has no room for its log, and a disk that takes seconds for
//! a flush stops every commit. Before either, the leader hands over to a standby whose disk is well.
//! A ballast file is given up when room runs out, so that there is some left for the hand-over and
//! for whoever comes to clean up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use failover::Trouble;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::config::Disk;
use super::inbox::Outlet;
use super::news::{News, start};

const MIB: u64 = 1 << 20;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// The least free space is at most this share of the whole.
const SHARE_OF_ALL: u64 = 10;
/// A disk that was slow is trusted again after so long without being slow.
const RECOVERY: Duration = Duration::from_secs(30);
const BALLAST: &str = "ballast";
const PROBE: &str = "probe";

/// One look at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Free bytes, and all of them.
    pub(crate) free: u64,
    pub(crate) all: u64,
    /// How long a small write took; none if it failed.
    pub(crate) flush: Option<Duration>,
}

/// What to do with the ballast. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ballast {
    Keep,
    Drop,
    /// With so many bytes.
    Make(u64),
}

impl Disk {
    fn least_free(&self, all: u64) -> u64 {
        self.least_free_mib.saturating_mul(MIB).min(all / SHARE_OF_ALL)
    }

    fn ballast(&self, look: &Look, is_there: bool) -> Ballast {
        let least = self.least_free(look.all);
        // On a small disk the file must not be what makes it full.
        let size = self.ballast_mib.saturating_mul(MIB).min(least);
        if is_there && look.free < least {
            Ballast::Drop
        } else if !is_there && size > 0 && look.free > least.saturating_add(size.saturating_mul(2))
        {
            Ballast::Make(size)
        } else {
            Ballast::Keep
        }
    }
}

/// The disk has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is ill, how and why.
    Ill(Trouble, String),
    /// It is well again.
    Well,
}

/// What the looks amount to. Pure.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    limits: Disk,
    started: Duration,
    /// The last look and when it came.
    last: Option<(Duration, Look)>,
    slow_at: Option<Duration>,
    ill: Option<(Trouble, String)>,
}

impl Health {
    pub(crate) fn new(limits: Disk, now: Duration) -> Self {
        Self { limits, started: now, last: None, slow_at: None, ill: None }
    }

    pub(crate) fn hear(&mut self, now: Duration, look: Look) {
        self.last = Some((now, look));
        if look.flush.is_none_or(|took| took > self.slow()) {
            self.slow_at = Some(now);
        }
    }

    fn slow(&self) -> Duration {
        Duration::from_millis(self.limits.slow_ms)
    }

    /// Whether the disk fell ill or got well since the last time.
    pub(crate) fn judge(&mut self, now: Duration) -> Option<Turn> {
        let why = self.why(now);
        let turn = match (&self.ill, &why) {
            (Some((before, _)), Some((now, _))) if before == now => return None,
            (_, Some((trouble, why))) => Turn::Ill(*trouble, why.clone()),
            (Some(_), None) => Turn::Well,
            _ => return None,
        };
        self.ill = why;
        Some(turn)
    }

    /// Why the disk is ill, as last judged.
    pub(crate) fn ill(&self) -> Option<&str> {
        self.ill.as_ref().map(|(_, why)| why.as_str())
    }

    /// Whether the disk answers nothing at all, neither well nor badly. Nothing that needs a record can
    /// be done then, a hand-over least of all.
    pub(crate) fn is_silent(&self, now: Duration) -> bool {
        self.silence(now) > PAUSE + self.slow()
    }

    fn is_short(&self) -> bool {
        matches!(self.ill, Some((Trouble::Room, _)))
    }

    fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last.map_or(self.started, |(at, _)| at))
    }

    fn why(&self, now: Duration) -> Option<(Trouble, String)> {
        if self.is_silent(now) {
            let silence = self.silence(now);
            let why = format!("the disk hasn't confirmed a write for {} s", silence.as_secs());
            return Some((Trouble::Slow, why));
        }
        let (_, look) = self.last?;
        if look.flush.is_none() {
            return Some((Trouble::Slow, "the disk refuses to write".to_owned()));
        }
        if self.slow_at.is_some_and(|at| now.saturating_sub(at) < RECOVERY) {
            let limit = self.limits.slow_ms;
            return Some((
                Trouble::Slow,
                format!("the disk takes more than {limit} ms for a write"),
            ));
        }
        let least = self.limits.least_free(look.all);
        // Some more than the least, once it was short: an edge isn't crossed back and forth.
        let least = if self.is_short() { least + least / 4 } else { least };
        (look.free < least).then(|| {
            let (free, least) = (look.free / MIB, least / MIB);
            (Trouble::Room, format!("{free} MiB are free on the disk, fewer than {least}"))
        })
    }
}

/// Starts the thread that looks. `state` is a folder of the keeper's own on PostgreSQL's disk.
pub(crate) fn watch(state: &Path, limits: Disk, news: Outlet<News>) -> io::Result<()> {
    let state = state.to_owned();
    start("disk", move || {
        while news.put(News::Disk(look(&state, limits))) {
            std::thread::sleep(PAUSE);
        }
    })
}

fn look(state: &Path, limits: Disk) -> Look {
    let begin = Instant::now();
    let flush = flush(&state.join(PROBE)).ok().map(|()| begin.elapsed());
    let (free, all) = statvfs(state).map_or((u64::MAX, u64::MAX), |stat| {
        let size = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        (size(stat.f_bavail), size(stat.f_blocks))
    });
    let look = Look { free, all, flush };
    let ballast = state.join(BALLAST);
    // Neither failure matters: the next look tries again, and room is reported either way.
    let _done = act(&ballast, limits.ballast(&look, ballast.exists()));
    look
}

fn act(path: &PathBuf, ballast: Ballast) -> io::Result<()> {
    match ballast {
        Ballast::Keep => Ok(()),
        Ballast::Drop => fs::remove_file(path),
        Ballast::Make(size) => make(path, size),
    }
}

/// A small write that reaches the disk, over the same block each time.
fn flush(path: &PathBuf) -> io::Result<()> {
    let mut file = private(path)?;
    file.write_all(b"written again and again to see that the disk answers\n")?;
    file.sync_data()
}

fn make(path: &PathBuf, size: u64) -> io::Result<()> {
    let file = private(path)?;
    let made = fallocate(&file, FallocateFlags::empty(), 0, size);
    made.map_err(|error| {
        let _partly = fs::remove_file(path);
        error.into()
    })
}

fn private(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Disk = Disk { least_free_mib: 100, ballast_mib: 50, slow_ms: 500 };

    fn free(mib: u64) -> Look {
        Look { free: mib * MIB, all: 10_000 * MIB, flush: Some(Duration::from_millis(2)) }
    }

    fn fell_ill(health: &mut Health, now: Duration) -> String {
        match health.judge(now) {
            Some(Turn::Ill(_, why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn too_little_room_is_trouble_until_there_is_clearly_enough() {
        let mut health = Health::new(LIMITS, SECOND);
        health.hear(SECOND, free(101));
        assert_eq!(health.judge(SECOND), None);
        health.hear(SECOND, free(99));
        assert!(fell_ill(&mut health, SECOND).contains("99 MiB are free"));
        health.hear(SECOND, free(110));
        assert_eq!(health.judge(SECOND), None, "still");
        health.hear(SECOND, free(130));
        assert_eq!(health.judge(SECOND), Some(Turn::Well));
    }

    #[test]
    fn a_slow_a_refusing_and_a_silent_disk_are_trouble() {
        for flush in [Some(SECOND), None] {
            let mut health = Health::new(LIMITS, SECOND);
            health.hear(SECOND, Look { flush, ..free(5000) });
            assert!(fell_ill(&mut health, SECOND).contains("the disk"));
            health.hear(2 * SECOND, free(5000));
            assert_eq!(health.judge(2 * SECOND), None, "it must stay well for a while");
            let later = 2 * SECOND + RECOVERY;
            // More than the least; a disk that was short would want some more.
            health.hear(later, free(110));
            assert_eq!(health.judge(later), Some(Turn::Well));
            assert!(!health.is_silent(later + SECOND), "it said something a second ago");
            assert!(fell_ill(&mut health, later + 5 * SECOND).contains("for 5 s"));
            assert!(health.is_silent(later + 5 * SECOND));
        }
    }

    #[test]
    fn a_full_disk_that_becomes_slow_as_well_is_worse() {
        let mut health = Health::new(LIMITS, SECOND);
        let told = |turn: Option<Turn>| match turn {
            Some(Turn::Ill(trouble, _)) => Some(trouble),
            _ => None,
        };
        health.hear(SECOND, free(99));
        assert_eq!(told(health.judge(SECOND)), Some(Trouble::Room));
        health.hear(2 * SECOND, Look { flush: Some(SECOND), ..free(99) });
        assert_eq!(told(health.judge(2 * SECOND)), Some(Trouble::Slow));
        assert_eq!(told(health.judge(3 * SECOND)), None, "that is known");
        let later = 2 * SECOND + RECOVERY;
        health.hear(later, free(99));
        assert_eq!(told(health.judge(later)), Some(Trouble::Room));
    }

    #[test]
    fn the_ballast_goes_before_room_does_and_comes_back_with_it() {
        assert_eq!(LIMITS.ballast(&free(100), true), Ballast::Keep);
        assert_eq!(LIMITS.ballast(&free(99), true), Ballast::Drop);
        assert_eq!(LIMITS.ballast(&free(199), false), Ballast::Keep);
        assert_eq!(LIMITS.ballast(&free(201), false), Ballast::Make(50 * MIB));
        let small = Look { all: 300 * MIB, ..free(201) };
        assert_eq!(LIMITS.ballast(&small, false), Ballast::Make(30 * MIB));
        let none = Disk { ballast_mib: 0, ..LIMITS };
        assert_eq!(none.ballast(&free(5000), false), Ballast::Keep);
    }

    #[test]
    fn a_small_disk_is_not_full_from_the_start() {
        let look = Look { free: 40 * MIB, all: 200 * MIB, ..free(0) };
        let mut health = Health::new(LIMITS, SECOND);
        health.hear(SECOND, look);
        assert_eq!(health.judge(SECOND), None);
    }

    #[test]
    fn a_look_at_a_real_disk_makes_the_ballast_and_drops_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Disk { least_free_mib: 1, ballast_mib: 1, slow_ms: 60_000 };
        let seen = look(folder.path(), limits);
        assert!(seen.flush.is_some() && seen.free > 0 && seen.all >= seen.free);
        let ballast = folder.path().join(BALLAST);
        assert_eq!(fs::metadata(&ballast).expect("there").len(), MIB);
        act(&ballast, Ballast::Drop).expect("dropped");
        act(&ballast, Ballast::Make(2 * MIB)).expect("made");
        assert_eq!(fs::metadata(&ballast).expect("there").len(), 2 * MIB, "as judged");
        // With this demand no disk has enough; with a tenth of all as the bound it must be short.
        let greedy = Disk { least_free_mib: u64::MAX, ..limits };
        let short = Look { free: seen.all / 30, ..seen };
        assert_eq!(greedy.ballast(&short, true), Ballast::Drop);
        assert!(look(&folder.path().join("absent"), limits).flush.is_none());
    }
}
