//! What is in use at one moment, and how much there may be of it.

/// The gauges, each with what it measures. A new one is a line here, the places that fill it in, and a row in docs/counters.md.
macro_rules! gauges {
    ($($(#[doc = $about:literal])* $name:ident;)*) => {
        /// What is in use at one moment, and how much there may be of it: where a number comes near its limit, connections wait,
        /// or are refused.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Gauges {
            $($(#[doc = $about])* pub $name: u64,)*
        }

        impl Gauges {
            /// What each gauge measures, in the order of their declaration.
            pub fn describe() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
                [$((stringify!($name), concat!($($about),*).trim_ascii())),*].into_iter()
            }

            /// All gauges by name, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

gauges! {
    /// Descriptors that the process has open.
    descriptors;
    /// Descriptors that the process may have.
    descriptors_allowed;
    /// Connections that count for `max_connections`.
    places;
    /// How many of these there may be.
    places_allowed;
    /// TLS clients that wait for the answer to their first message.
    waiting_handshakes;
    /// How many of these may wait.
    waiting_handshakes_allowed;
    /// Bytes that all connections together hold: for their peers, of input that is not whole, and of certificates.
    queued_memory_bytes;
    /// How many bytes that may be.
    queued_memory_allowed_bytes;
    /// Of `queued_memory_bytes`, those that wait for peers.
    output_memory_bytes;
    /// Of `queued_memory_bytes`, those of input that is not whole, or not delivered, and of certificates that peers have shown.
    input_memory_bytes;
    /// Bytes that connections take themselves, beside what they hold.
    connection_memory_bytes;
    /// Connections with TLS, those in a handshake included.
    tls_sessions;
    /// Bytes that their sessions take, without what the TLS library allocates for each.
    tls_memory_bytes;
    /// TLS contexts of the process: certificates and settings, one for each service and each host, and those before a reload that
    /// connections still have.
    tls_contexts;
    /// Deadlines that are set: of timers of the consumer, and of connections.
    timers;
    /// Bytes of the tables of sources and deadlines, and of the read buffer.
    table_memory_bytes;
}

impl Gauges {
    /// Adds what another thread of the same process uses. What there may be of it is that of all threads already.
    pub(crate) fn add_thread(&mut self, other: &Gauges) {
        self.places += other.places;
        self.waiting_handshakes += other.waiting_handshakes;
        self.output_memory_bytes += other.output_memory_bytes;
        self.input_memory_bytes += other.input_memory_bytes;
        self.connection_memory_bytes += other.connection_memory_bytes;
        self.tls_sessions += other.tls_sessions;
        self.tls_memory_bytes += other.tls_memory_bytes;
        self.timers += other.timers;
        self.table_memory_bytes += other.table_memory_bytes;
    }
}
