//! What a reactor counts: plain numbers, which only grow.

use std::ops::AddAssign;

use crate::histogram::{Histogram, Unit};

/// The counters and the histograms, each with what it counts. A new one is a line here, the place that adds to it, and a row in
/// docs/counters.md.
macro_rules! stats {
    (counters { $($(#[doc = $about:literal])* $name:ident;)* }
     histograms { $($(#[doc = $measures:literal])* $histogram:ident;)* }) => {
        /// What has happened since the start. Each thread counts for itself, and [`EventLoop::stats`](crate::EventLoop::stats)
        /// adds up. The rate of something is the difference of two looks at it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $about])* pub $name: u64,)*
            $($(#[doc = $measures])* pub $histogram: Histogram,)*
        }

        impl Stats {
            /// What each counter counts, in the order of their declaration.
            pub fn describe() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
                [$((stringify!($name), concat!($($about),*).trim_ascii())),*].into_iter()
            }

            /// All counters by name, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// What each histogram measures, in the order of their declaration.
            pub fn describe_histograms() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
                [$((stringify!($histogram), concat!($($measures),*).trim_ascii())),*].into_iter()
            }

            /// All histograms by name, in the order of their declaration, and the unit of each.
            pub fn histograms(&self) -> impl Iterator<Item = (&'static str, Unit, Histogram)> {
                [$((stringify!($histogram), Unit::of(stringify!($histogram)), self.$histogram)),*].into_iter()
            }
        }

        impl AddAssign for Stats {
            fn add_assign(&mut self, other: Stats) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
                $(self.$histogram += other.$histogram;)*
            }
        }
    };
}

stats! {
    counters {
        /// Turns of the loop that are complete.
        turns;
        /// Nanoseconds that the loop was busy: from the end of a wait to the beginning of the next one.
        busy_nanoseconds;
        /// Nanoseconds that the loop has waited for something to happen.
        waiting_nanoseconds;
        /// Of these turns, those that took longer than 10 ms: whatever came meanwhile waited.
        turns_over_10ms;
        /// Of these, those that took longer than 100 ms.
        turns_over_100ms;
        /// Of these, those that took longer than 1 s.
        turns_over_1s;
        /// Callbacks of Lua that held the loop for longer than `slow_callback`.
        slow_callbacks;
        /// Timers that the consumer has set.
        timers_set;
        /// Of these, those that have come.
        timers_fired;
        /// Connections that listeners accepted.
        accepted;
        /// Connections that were accepted and closed at once, because no descriptor was free for them.
        turned_away;
        /// Connections that were accepted and reset at once, because their address opens too many a second.
        refused_by_rate;
        /// Connections that were accepted and reset at once, because their address has too many.
        refused_by_count;
        /// Connections that were closed because too many TLS handshakes waited.
        refused_handshakes;
        /// Times that there were as many connections as `max_connections` allows.
        times_full;
        /// Of `accepted`, those of proxies that have said who the client is.
        proxy_headers;
        /// Connections of proxies that were closed, because a PROXY header was not there, wrong or late.
        proxy_refused;
        /// Connections that ended by themselves: by the peer, by an error, or once all was sent after a close. Those that the
        /// consumer destroyed are not counted.
        ended;
        /// Of `ended`, those that a time limit ended: of connecting, of a TLS handshake, of writing, or of a newcomer.
        timed_out;
        /// Times that nothing had come from a peer for `read_timeout`, and the consumer was asked what to do.
        read_timeouts;
        /// Connections that have authenticated, where somebody tells.
        authenticated;
        /// Of `ended`, newcomers that had not sent anything, or not authenticated, in time.
        newcomers_late;
        /// Of `ended`, newcomers that had sent too much before they authenticated.
        newcomers_over_budget;
        /// Of `ended`, connections that had to make room.
        shed;
        /// Of `ended`, connections that ended because all together held too much memory.
        ended_for_memory;
        /// Of `timed_out`, connections whose peers took some of much that was queued, and too little.
        slow_readers;
        /// Reads that delivered data, or datagrams.
        reads;
        /// Bytes that they delivered; over TLS those of the plaintext.
        received_bytes;
        /// Bytes that the system has taken for peers; over TLS those of the records.
        sent_bytes;
        /// Times that the consumer has paused reading from a connection.
        read_pauses;
        /// Times that the consumer has paused writing to a connection.
        write_pauses;
        /// Times that the system took no more for a peer: the rest waits until the peer has read.
        blocked_writes;
        /// TLS handshakes that were completed, by clients and servers.
        handshakes;
        /// Of `handshakes`, those that resumed an earlier session.
        handshakes_resumed;
        /// Of `handshakes`, those that agreed on TLS 1.2.
        handshakes_tls12;
        /// Of `handshakes`, those that agreed on TLS 1.3.
        handshakes_tls13;
        /// TLS handshakes and sessions that failed.
        tls_failures;
        /// Batches that threads have handed to each other: of commands to I/O threads, and of events to the loop.
        batches;
        /// Times that a thread had to be woken for such a batch.
        wakes;
        /// Times that I/O threads began to serve, because there was too much to do for the loop beside Lua.
        given_to_threads;
        /// Times that the loop began to serve the connections of its I/O threads, because there was little to do.
        taken_from_threads;
    }
    histograms {
        /// How long turns were busy: from the end of a wait to the beginning of the next one.
        turn_seconds;
        /// How long waits were.
        wait_seconds;
        /// How many events turns had.
        turn_events;
        /// How late timers came: whoever else wants something of the loop waits as long.
        lag_seconds;
        /// How long callbacks of Lua took. One in seventeen is measured.
        callback_seconds;
        /// How long TLS handshakes took that were completed.
        handshake_seconds;
    }
}
