//! Descriptors that outlive their connection for a moment.
//!
//! A socket that is closed while its peer still sends answers with a reset, and a reset destroys what the peer has not
//! received yet: the last bytes that were written, such as the error that explains the close. So the descriptor stays,
//! and what arrives is read and discarded, until the peer ends its side or `linger_timeout` has passed.

use std::os::fd::OwnedFd;

use super::source::{Lingering, Source};
use super::{Alarm, Reactor};
use crate::clock;
use crate::registered::Registered;
use crate::registry::Key;
use crate::socket::{self, Goodbye};

/// At most this many descriptors linger; beyond that the oldest is closed. More would let peers that were closed hold descriptors.
const MOST: usize = 1024;

/// Reads for each descriptor in a turn.
const READS: usize = 4;

impl Reactor {
    /// Says goodbye to the peer of a stream, and closes `fd` when that is safe.
    pub(super) fn part(&mut self, fd: OwnedFd) {
        let linger = self.config.linger_timeout;
        if linger.is_zero() || socket::finish(&fd, &mut self.read_buffer) == Goodbye::Said {
            return;
        }
        if self.lingering.len() >= MOST
            && let Some(oldest) = self.lingering.pop_front()
        {
            self.remove(oldest, false);
        }
        let key = self.sources.insert(Source::Lingering(Lingering {
            fd,
            timer: None,
            registered: Registered::default(),
        }));
        let deadline = clock::now().saturating_add(clock::nanoseconds(linger));
        let timer = self.timers.insert(deadline, Alarm::Lingering(key));
        if let Some(Source::Lingering(lingering)) = self.sources.get_mut(key) {
            lingering.timer = Some(timer);
        }
        self.lingering.push_back(key);
        if self.arm(key).is_err() {
            self.remove(key, false);
        }
    }

    /// Reads and discards what the peer has sent.
    pub(super) fn read_in_vain(&mut self, key: Key) {
        let Some(Source::Lingering(lingering)) = self.sources.get(key) else {
            return;
        };
        for _ in 0..READS {
            match socket::receive(&lingering.fd, &mut self.read_buffer) {
                Ok(count) if count > 0 => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Ok(_) | Err(_) => {
                    self.remove(key, false);
                    return;
                }
            }
        }
    }

    /// Closes all descriptors that only linger, because somebody needs them.
    pub(super) fn stop_lingering(&mut self) {
        for key in std::mem::take(&mut self.lingering) {
            self.remove(key, false);
        }
    }
}
