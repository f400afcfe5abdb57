//! The usual case of step 5: an established connection has data, of which the consumer hears, and nothing else is to be seen to. Whatever
//! is not usual goes to [`input`](super::input).

use super::input::READ_BUDGET;
use super::ready::Rank;
use super::{Reactor, Source};
use crate::connection::Read;
use crate::event::Chunk;
use crate::poller::Readiness;
use crate::registry::Key;

/// What a share of step 5 was.
pub(super) enum Served {
    /// Data of a connection of which nothing else is to be seen to.
    Data {
        key: Key,
        len: usize,
        end: Chunk,
    },
    /// Another read of such a connection: [`end_read`](Reactor::end_read) says what it leads to.
    Read(Key, Read),
    /// Something else, which [`next_rare`](Reactor::next_rare) serves.
    Rare(Key),
    Nothing,
}

impl Reactor {
    /// Notes what the poller said about one source. The turn acts on it later, when it is the turn of this source.
    #[inline]
    pub(super) fn note_ready(&mut self, ready: Readiness) {
        let key = Key::from_bits(ready.token);
        match self.sources.get_mut(key) {
            Some(Source::Connection(connection))
                if connection.is_established() && !(ready.writable | ready.closed) =>
            {
                connection.readable = true;
                connection.budget = READ_BUDGET;
                if connection.registered.enter_ready() {
                    self.ready.push(key, Rank::ESTABLISHED);
                }
            }
            _ => self.note_rare(ready),
        }
    }

    /// One share of step 5: serves the source that is first in the queue.
    #[inline(always)] // there is one caller
    pub(super) fn next_io(&mut self) -> Served {
        let Some(key) = self.ready.pop() else {
            return Served::Nothing;
        };
        if let Some(Source::Connection(connection)) = self.sources.get_mut(key)
            && connection.reads_straight()
        {
            (connection.registered.in_ready, connection.writable) = (false, false);
            let (buffer, now) = (&mut self.read_buffer, self.turn.now);
            return match connection.read_socket(buffer, &self.config, now) {
                Read::Data {
                    len,
                    full,
                    last: false,
                } => {
                    connection.count_read(len, &mut self.stats);
                    if connection.readable && connection.budget > 0 {
                        connection.registered.in_ready = true;
                        self.ready.push(key, Rank::of(connection));
                    } else {
                        connection.readable = false;
                    }
                    let end = if full { Chunk::Full } else { Chunk::Short };
                    Served::Data { key, len, end }
                }
                read => Served::Read(key, read),
            };
        }
        Served::Rare(key)
    }
}
