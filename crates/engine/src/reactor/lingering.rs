//! Descriptors that outlive their connection for a moment.
//!
//! A socket that is closed while its peer still sends answers with a reset, and a reset destroys what the peer has not
//! received yet: the last bytes that were written, such as the error that explains the close. So the descriptor stays
//! until the peer has received everything, has ended its side, or `linger_timeout` has passed. What arrives meanwhile is read
//! and discarded, up to [`MOST_DISCARDED`]. Then nothing more is read, so that the peer has to wait.
//!
//! Before the reset of an abortive close, the descriptor stays until the peer has received what was written.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::source::{Lingering, Source};
use super::{Alarm, Reactor};
use crate::clock;
use crate::registered::Registered;
use crate::registry::Key;
use crate::socket::{self, Goodbye};

/// At most this many descriptors linger; beyond that the oldest is closed. More would let peers that were closed hold descriptors.
const MOST: usize = 1024;

/// Bytes that one of them reads and discards after our end.
const MOST_DISCARDED: usize = 64 * 1024;

/// Reads for each descriptor in a turn.
const READS: usize = 4;

/// How long it is between two looks at what the peer has received, where nothing else tells.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Reactor {
    /// Says goodbye to the peer of a stream, and closes `fd` when that is safe. An `abortive` one ends with a reset.
    pub(super) fn part(&mut self, fd: OwnedFd, abortive: bool) {
        let linger = self.config.linger_timeout;
        let discards = if abortive {
            socket::make_abortive(&fd);
            if linger.is_zero() || socket::unacknowledged(&fd) == 0 {
                return;
            }
            0
        } else {
            if linger.is_zero() {
                return;
            }
            match socket::finish(&fd, &mut self.read_buffer[..MOST_DISCARDED], linger) {
                Goodbye::Said => return,
                Goodbye::Pending { discarded } => MOST_DISCARDED.saturating_sub(discarded),
            }
        };
        if self.lingering.len() >= MOST
            && let Some(oldest) = self.lingering.pop_front()
        {
            self.remove(oldest, false);
        }
        let key = self.sources.insert(Source::Lingering(Box::new(Lingering {
            fd,
            until: clock::now().saturating_add(clock::nanoseconds(linger)),
            discards,
            timer: None,
            registered: Registered::default(),
        })));
        self.lingering.push_back(key);
        self.set_lingering_alarm(key);
        if self.arm(key).is_err() {
            self.remove(key, false);
        }
    }

    fn set_lingering_alarm(&mut self, key: Key) {
        let Some(Source::Lingering(lingering)) = self.sources.get_mut(key) else {
            return;
        };
        if let Some(timer) = lingering.timer.take() {
            self.timers.cancel(timer);
        }
        let look_again = clock::now().saturating_add(clock::nanoseconds(LOOK_AGAIN));
        let at = if lingering.discards > 0 {
            lingering.until
        } else {
            lingering.until.min(look_again)
        };
        lingering.timer = Some(self.timers.insert(at, Alarm::of(key)));
    }

    /// The moment has come to look whether it may be closed.
    pub(super) fn lingering_alarm(&mut self, key: Key) {
        let now = clock::now();
        let Some(Source::Lingering(lingering)) = self.sources.get_mut(key) else {
            return;
        };
        lingering.timer = None;
        if lingering.until <= now || socket::unacknowledged(&lingering.fd) == 0 {
            self.remove(key, false);
        } else {
            self.set_lingering_alarm(key);
        }
    }

    /// Reads and discards what the peer has sent.
    pub(super) fn read_in_vain(&mut self, key: Key) {
        let Some(Source::Lingering(lingering)) = self.sources.get_mut(key) else {
            return;
        };
        for _ in 0..READS {
            let room = lingering.discards.min(self.read_buffer.len());
            if room == 0 {
                self.set_lingering_alarm(key);
                self.want(key);
                return;
            }
            match socket::receive(&lingering.fd, &mut self.read_buffer[..room]) {
                Ok(count) if count > 0 => lingering.discards -= count,
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
