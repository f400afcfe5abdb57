//! Large writes: what the system takes at once is sent from where the writer has it, and only the rest is copied.

use rustix::io::Errno;

use super::Connection;
use crate::socket;
use crate::spares::Spares;

/// From so many bytes on a write is not copied into the queue first. Fewer are cheaper to copy, and to send together with what else is
/// written in the turn, than to make a system call for.
pub(crate) const LARGE: usize = 16 * 1024;

impl Connection {
    /// Sends what is queued and then `data`, as far as the system takes it now, and queues the rest. An error is met again by the flush
    /// that is due.
    pub(crate) fn write_through(&mut self, data: &[u8], spares: &mut Spares) {
        let taken = if self.blocked || !self.may_flush() || !self.may_seal() {
            0
        } else if self.tls.is_some() {
            self.send_through_tls(data, spares)
        } else {
            self.send_through(data)
        };
        self.out.push(&data[taken..]);
        self.count_sent();
        self.watch_progress();
    }

    /// How much of `data` need not be queued.
    fn send_through(&mut self, data: &[u8]) -> usize {
        let queued = self.out.len();
        match socket::send_queue_and(&self.fd, &self.out, data) {
            Ok(count) => {
                self.sent += count as u64;
                self.out.consume(count.min(queued));
                if count < queued + data.len() {
                    self.block();
                }
                count.saturating_sub(queued)
            }
            Err(Errno::AGAIN) => {
                self.block();
                0
            }
            Err(_) => 0,
        }
    }
}
