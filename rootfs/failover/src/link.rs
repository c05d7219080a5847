//! The link to the peer: is it there *now*, and does it hear me?
//!
//! Arrival proves nothing: a heartbeat may be old, doubled, from a former life of the peer, or come
//! from a peer that can't hear us. So contact is counted from an *echo*. Each heartbeat carries the
//! newest (nonce, counter) that its sender has heard; when one of ours comes back, the peer was
//! alive after we sent it, and both directions worked. The time of contact is the time when *we
//! sent* what was echoed, by our own clock, so delay only makes contact look older.
//!
//! A new boot of the peer is believed only when it echoes something that we sent after our last
//! contact with the former boot: a late message of an earlier life can't have heard that.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::wire::Heartbeat;

/// How many of our own heartbeats are remembered, to know when an echoed one was sent. It covers
/// three seconds at the usual interval; what comes back later is no news.
const SENT_MAX: u8 = 32;
/// Channels between the peers; one bit each in the heartbeat.
pub const CHANNELS_MAX: usize = 8;

/// Where a counter's heartbeat is remembered.
fn place(seq: u64) -> usize {
    let [.., low] = seq.to_be_bytes();
    usize::from(low % SENT_MAX)
}

/// What is known of the peer, and how.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    nonce: u64,
    seq: u64,
    sent: [(u64, Duration); SENT_MAX as usize],
    peer: Option<u64>,
    peer_seq: u64,
    echo: (u64, u64),
    heard: [Option<Duration>; CHANNELS_MAX],
    contact: Option<Duration>,
    /// When the last cable was pulled, if nothing was heard since.
    pulled: Option<Duration>,
    proven: Option<Duration>,
    view: Option<Heartbeat>,
}

impl Link {
    pub(crate) fn new(nonce: u64) -> Self {
        Self {
            nonce,
            seq: 0,
            sent: [(0, Duration::ZERO); SENT_MAX as usize],
            peer: None,
            peer_seq: 0,
            echo: (0, 0),
            heard: [None; CHANNELS_MAX],
            contact: None,
            pulled: None,
            proven: None,
            view: None,
        }
    }

    /// Stamps a heartbeat that is about to be sent.
    pub(crate) fn stamp(&mut self, now: Duration, loss: Duration, heartbeat: &mut Heartbeat) {
        self.seq += 1;
        self.sent[place(self.seq)] = (self.seq, now);
        heartbeat.nonce = self.nonce;
        heartbeat.seq = self.seq;
        (heartbeat.echo_nonce, heartbeat.echo_seq) = self.echo;
        heartbeat.hears = self.hears(now, loss);
    }

    /// Which channels brought something lately.
    pub(crate) fn hears(&self, now: Duration, loss: Duration) -> u8 {
        let lately = |at: &Option<Duration>| at.is_some_and(|at| now.saturating_sub(at) <= loss);
        self.heard
            .iter()
            .enumerate()
            .filter(|(_, at)| lately(at))
            .fold(0, |bits, (channel, _)| bits | 1 << channel)
    }

    fn sent_at(&self, seq: u64) -> Option<Duration> {
        let (known, at) = self.sent[place(seq)];
        (known == seq && seq > 0).then_some(at)
    }

    /// Takes in a heartbeat; whether it told something new.
    pub(crate) fn hear(
        &mut self,
        now: Duration,
        loss: Duration,
        channel: u8,
        heartbeat: &Heartbeat,
        by_echo: bool,
    ) -> bool {
        if let Some(heard) = self.heard.get_mut(usize::from(channel)) {
            *heard = Some(now);
        }
        let known = self.peer == Some(heartbeat.nonce);
        // What is echoed back follows the boot that we are in contact with; another one has to wait
        // until that contact is lost.
        if known || self.age(now).is_none_or(|age| age > loss) {
            let newer = (heartbeat.nonce != self.echo.0) || heartbeat.seq > self.echo.1;
            if newer {
                self.echo = (heartbeat.nonce, heartbeat.seq);
            }
        }
        let proof = if !by_echo {
            Some(now)
        } else if heartbeat.echo_nonce == self.nonce {
            self.sent_at(heartbeat.echo_seq)
        } else {
            None
        };
        let Some(proof) = proof else { return false };
        let newer = if known {
            heartbeat.seq > self.peer_seq
        } else {
            self.proven.is_none_or(|proven| proof > proven)
        };
        if newer {
            self.peer = Some(heartbeat.nonce);
            self.peer_seq = heartbeat.seq;
            self.proven = self.proven.max(Some(proof));
            self.contact = self.proven;
            self.pulled = None;
            self.view = Some(*heartbeat);
        }
        newer
    }

    /// The last cable was pulled: the peer isn't there any more. When it last was stays known, since a
    /// peer that lost its power pulls a cable between the two as well.
    pub(crate) fn cut(&mut self, now: Duration) {
        self.pulled = Some(now);
        self.heard = [None; CHANNELS_MAX];
    }

    /// How long ago the peer was certainly there; none if it never was in this boot, or certainly isn't
    /// any more.
    pub(crate) fn age(&self, now: Duration) -> Option<Duration> {
        self.silence(now).filter(|_| self.pulled.is_none())
    }

    /// How long ago the peer was certainly there, whatever became of the cables since.
    pub(crate) fn silence(&self, now: Duration) -> Option<Duration> {
        self.contact.map(|contact| now.saturating_sub(contact))
    }

    /// When the last cable was pulled, if nothing was heard since.
    pub(crate) fn pulled(&self) -> Option<Duration> {
        self.pulled
    }

    /// When the peer was certainly there.
    pub(crate) fn contact(&self) -> Option<Duration> {
        self.contact
    }

    /// The peer's last words. They were true when they were sent.
    pub(crate) fn view(&self) -> Option<&Heartbeat> {
        self.view.as_ref()
    }

    pub(crate) fn shift_back(&mut self, by: Duration) {
        let back = |time: &mut Duration| *time = time.saturating_sub(by);
        self.sent.iter_mut().for_each(|(_, at)| back(at));
        self.heard.iter_mut().flatten().for_each(back);
        self.contact.iter_mut().for_each(back);
        self.pulled.iter_mut().for_each(back);
        self.proven.iter_mut().for_each(back);
    }
}

/// Counters differ between histories that behave alike, so they aren't part of a link's identity.
impl Hash for Link {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.contact, self.pulled, self.heard, self.peer.is_some()).hash(hasher);
        self.view.map(|view| Heartbeat { seq: 0, echo_seq: 0, ..view }).hash(hasher);
    }
}
