//! The durable record's thread: reads it once, then writes what it is given, in order.
//!
//! A disk that hangs holds up this thread, and with it every vote: the protocol goes nowhere without
//! `Persisted`, while the loop goes on hearing, closing and withdrawing.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use failover::{Data, Recall, Record, Side, Ticket};
use rustix::io::Errno;
use sys::durable::{self, DurableError};

use super::inbox::Outlet;
use super::news::{News, NotWritten, start};

/// The record's name in the state folder.
const RECORD: &str = "record";
const MODE: u32 = 0o600;

/// What isn't the disk's failure: want of room, memory or file handles.
const PASSING: [Errno; 6] =
    [Errno::NOSPC, Errno::DQUOT, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::INTR];

/// What the thread is asked for.
pub(crate) type Job = (Ticket, Record);

/// What is in PostgreSQL's folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) data: Data,
    /// A restore has made it, and nothing has run in it since.
    pub(crate) restored: bool,
}

/// Starts the thread; its first news are what the disk remembers. `look` looks at PostgreSQL's
/// folder, which is on the same disk.
pub(crate) fn remember(
    state: &Path,
    cluster: u64,
    side: Side,
    look: impl FnOnce() -> Found + Send + 'static,
    news: Outlet<News>,
) -> io::Result<Sender<Job>> {
    let path = state.join(RECORD);
    let (sender, jobs) = channel();
    start("record", move || {
        let mut recall = recall(&path, cluster, side);
        let Found { data, restored } = look();
        if let Recall::Found(record) = &mut recall {
            // The mixture that a rewind had left is gone, and whole data is in its place.
            record.half_rewound &= !restored;
        }
        if news.put(News::Recalled(recall, data)) {
            write_all(&path, &jobs, &news);
        }
    })?;
    Ok(sender)
}

/// What the file means to this node. A file that can't be read is not a missing one: nobody knows
/// what this node has promised, so it has no vote. Neither has it with a record that a power cut may
/// take back, since the peer acts on what it is shown.
fn recall(path: &Path, cluster: u64, side: Side) -> Recall {
    match fs::read(path) {
        Ok(bytes) if durable::confirm(path).is_ok() => Record::recall(cluster, side, Some(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Recall::Missing,
        Ok(_) | Err(_) => Recall::Damaged,
    }
}

fn write_all(path: &Path, jobs: &Receiver<Job>, news: &Outlet<News>) {
    while let Ok((ticket, record)) = jobs.recv() {
        let written = durable::write(path, &record.encode(), MODE);
        let written = written.map_err(|error| not_written(&error));
        if !news.put(News::Written(ticket, written)) {
            return;
        }
    }
}

fn not_written(error: &DurableError) -> NotWritten {
    let may_pass = match error {
        DurableError::Unchanged { source, .. } => {
            PASSING.iter().any(|passing| source.raw_os_error() == Some(passing.raw_os_error()))
        }
        DurableError::NoName { .. } | DurableError::Unsure { .. } => false,
    };
    NotWritten { why: error.to_string(), may_pass }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::keeper::inbox::{Inbox, inbox};

    fn next(inbox: &Inbox<News>) -> News {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(news) = inbox.take() {
                return news;
            }
            assert!(Instant::now() < end, "no news");
            std::thread::yield_now();
        }
    }

    fn recalled(state: &Path, side: Side) -> (Recall, Sender<Job>, Inbox<News>) {
        recalled_with(state, side, false)
    }

    fn recalled_with(
        state: &Path,
        side: Side,
        restored: bool,
    ) -> (Recall, Sender<Job>, Inbox<News>) {
        let (outlet, inbox) = inbox().expect("an inbox");
        let found = Found { data: Data::Standby, restored };
        let jobs = remember(state, 7, side, move || found, outlet).expect("a thread");
        match next(&inbox) {
            News::Recalled(recall, Data::Standby) => (recall, jobs, inbox),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_written_is_remembered_by_its_own_node_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (recall, jobs, inbox) = recalled(folder.path(), Side::A);
        assert_eq!(recall, Recall::Missing);
        let record = Record { voter: true, ..Record::blank(7, Side::A) };
        jobs.send((Ticket(1), record)).expect("taken");
        assert!(matches!(next(&inbox), News::Written(Ticket(1), Ok(()))));
        assert_eq!(recalled(folder.path(), Side::A).0, Recall::Found(record));
        assert_eq!(recalled(folder.path(), Side::B).0, Recall::Damaged);
    }

    #[test]
    fn data_of_a_restore_is_not_half_rewound_any_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, jobs, inbox) = recalled(folder.path(), Side::A);
        let half = Record { half_rewound: true, voter: true, ..Record::blank(7, Side::A) };
        jobs.send((Ticket(1), half)).expect("taken");
        assert!(matches!(next(&inbox), News::Written(Ticket(1), Ok(()))));
        assert_eq!(recalled(folder.path(), Side::A).0, Recall::Found(half));
        let whole = Record { half_rewound: false, ..half };
        assert_eq!(recalled_with(folder.path(), Side::A, true).0, Recall::Found(whole));
    }

    #[test]
    fn a_torn_record_and_an_unreadable_one_are_damaged_and_not_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(RECORD);
        let bytes = Record::blank(7, Side::A).encode();
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("torn");
        assert_eq!(recalled(folder.path(), Side::A).0, Recall::Damaged);
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder can't be read as a file");
        assert_eq!(recalled(folder.path(), Side::A).0, Recall::Damaged);
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, jobs, inbox) = recalled(&folder.path().join("absent"), Side::A);
        jobs.send((Ticket(4), Record::blank(7, Side::A))).expect("taken");
        match next(&inbox) {
            News::Written(Ticket(4), Err(NotWritten { why, may_pass: false })) => {
                assert!(why.contains("absent/record"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn want_of_room_may_pass_and_a_failed_disk_stays_one() {
        let failed = |step, errno: Errno| {
            let (path, beside, source) = ("r".into(), "b".into(), io::Error::from(errno));
            not_written(&DurableError::Unchanged { path, beside, step, source }).may_pass
        };
        assert!(failed("make", Errno::NOSPC) && failed("make", Errno::MFILE));
        assert!(!failed("sync", Errno::IO));
        let unsure = DurableError::Unsure { path: "r".into(), source: Errno::NOMEM.into() };
        assert!(!not_written(&unsure).may_pass);
    }
}
