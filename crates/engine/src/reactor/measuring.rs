//! What is in use at one moment.

use super::{READ_BUFFER, Reactor, Source};
use crate::connection::Connection;
use crate::descriptors;
use crate::gauges::Gauges;
use crate::tls;

impl Reactor {
    /// What is in use now, by this reactor or by the whole process, and how much there may be of it. It looks at each connection.
    pub fn gauges(&self) -> Gauges {
        let (descriptors, descriptors_allowed) = descriptors::open_and_allowed();
        let tables = self.sources.memory() + self.timers.memory() + READ_BUFFER;
        let mut gauges = Gauges {
            descriptors,
            descriptors_allowed,
            places: self.places.taken() as u64,
            places_allowed: self.most_connections() as u64,
            waiting_handshakes: self.ready.waiting_handshakes() as u64,
            waiting_handshakes_allowed: self.config.max_waiting_handshakes as u64,
            queued_memory_bytes: self.memory.held() as u64,
            queued_memory_allowed_bytes: self.most_queued_memory() as u64,
            tls_contexts: tls::contexts_alive(),
            timers: self.timers.len() as u64,
            table_memory_bytes: tables as u64,
            ..Gauges::default()
        };
        for (_, source) in self.sources.iter() {
            if let Source::Connection(connection) = source {
                measure(connection, &mut gauges);
            }
        }
        gauges
    }
}

fn measure(connection: &Connection, gauges: &mut Gauges) {
    let output = connection.pending();
    gauges.output_memory_bytes += output as u64;
    gauges.input_memory_bytes += (connection.holds() - output) as u64;
    gauges.connection_memory_bytes += size_of::<Connection>() as u64;
    if connection.tls.is_some() {
        gauges.tls_sessions += 1;
        gauges.tls_memory_bytes += size_of::<tls::session::Session>() as u64;
    }
}
