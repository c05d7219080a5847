//! What the gate counts, for `nodectl` and metrics. Numbers since the start; nothing resets them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $name:ident; )+) => {
        /// The counters as the sessions write them.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $( pub(super) $name: AtomicU64, )+ }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counts { $( $(#[doc = $doc])+ pub $name: u64, )+ }

        impl Counters {
            /// Their values now.
            pub(super) fn read(&self) -> Counts {
                Counts { $( $name: self.$name.load(Ordering::Relaxed), )+ }
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    accepted;
    /// Connections that were closed unheard, for they came too often or too many.
    turned_away;
    /// Handshakes that failed: no certificate, a wrong one, too slow, no TLS.
    refused_greetings;
    /// Log-ins whose certificate, role or database don't go together.
    refused_log_ins;
    /// Log-ins while the gate was closed.
    refused_closed;
    /// Log-ins beyond the number of sessions.
    refused_full;
    /// Log-ins that found no PostgreSQL.
    refused_no_backend;
    /// Cancel requests that ended here.
    swallowed_cancels;
    /// Sessions that began.
    sessions;
    /// Sessions that were cut because the gate closed.
    cut;
    /// Bytes that clients sent to PostgreSQL.
    bytes_in;
    /// Bytes that PostgreSQL sent to clients.
    bytes_out;
}

/// Counts one more.
pub(super) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts that many more.
pub(super) fn many(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}
