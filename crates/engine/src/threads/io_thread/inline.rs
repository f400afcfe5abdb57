//! What the loop does with the reactor of a thread while it has it. Nobody has to be woken: what there is to tell the loop finds when this
//! is done.

use std::time::Duration;

use super::IoThread;
use crate::event::Chunk;
use crate::reactor::{Reactor, Step};
use crate::registry::Key;

/// How many events the loop takes from a reactor at a time. Then it deals with them.
const SHARE: usize = 16;

/// What is left of a turn.
pub(in crate::threads) enum Served {
    /// There may be more.
    Some,
    /// The same. This is the only report, and the bytes are in the loop's read buffer.
    Data { key: Key, len: usize, end: Chunk },
    /// It is over.
    All,
    /// There is too much to do for a loop that has others to serve.
    Crowded,
}

impl IoThread {
    /// Carries out what the loop has said.
    pub(in crate::threads) fn hear(&mut self) {
        self.carry_out_all();
        self.tell_loop();
    }

    /// The same, and sends what is queued.
    pub(in crate::threads) fn flush(&mut self) {
        self.carry_out_all();
        self.reactor.begin_flush();
        loop {
            let step = self.reactor.next_step_of_flush();
            if !self.tell_of(step) {
                break;
            }
        }
        self.tell_loop();
    }

    /// Writes much, behind what was said before.
    pub(in crate::threads) fn write(&mut self, key: Key, data: &[u8], notify: bool) {
        if notify {
            self.reactor.notify_flush(key, true);
        }
        self.reactor.look_at_clock();
        self.reactor.write_on_credit(key, data);
    }

    /// Runs a turn that does not wait, or a part of it.
    pub(in crate::threads) fn serve(&mut self, home: &mut Reactor) -> Served {
        self.carry_out_all();
        self.reactor.begin_turn(Some(Duration::ZERO));
        let mut served = Served::Some;
        for _ in 0..SHARE {
            let step = self.reactor.next_step_inline();
            if let Some(Step::Data { key, len, end }) = step
                && self.waiting() == 0
            {
                self.note_read(key);
                self.reactor.swap_read_buffers(home);
                served = Served::Data { key, len, end };
                break;
            }
            if !self.tell_of(step) {
                served = if self.reactor.is_crowded() {
                    Served::Crowded
                } else {
                    Served::All
                };
                break;
            }
        }
        self.tell_loop();
        served
    }

    /// How long the loop may wait for the poller of this reactor.
    pub(in crate::threads) fn time_to_wait(&mut self) -> Option<Duration> {
        self.reactor.time_to_wait_inline()
    }

    fn carry_out_all(&mut self) {
        if !self.channel.messages.is_empty() {
            self.reactor.look_at_clock();
            self.read_messages();
        }
    }

    fn tell_loop(&mut self) {
        if self.post() {
            self.reactor.count_batch(false);
        }
    }
}
