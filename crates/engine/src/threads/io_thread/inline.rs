//! What the loop does with the reactor of a thread while it has it. Nobody has to be woken: what there is to tell the loop finds when this
//! is done.

use std::time::Duration;

use super::IoThread;

/// How many events the loop takes from a reactor at a time. Then it deals with them.
const SHARE: usize = 16;

/// What is left of a turn.
pub(in crate::threads) enum Served {
    /// There may be more.
    Some,
    /// It is over.
    All,
    /// There is too much to do for a loop that has others to serve.
    Crowded,
}

impl IoThread {
    /// Carries out what the loop has said.
    pub(in crate::threads) fn hear(&mut self) {
        self.read_messages();
        self.tell_loop();
    }

    /// The same, and sends what is queued.
    pub(in crate::threads) fn flush(&mut self) {
        self.read_messages();
        self.reactor.begin_flush();
        loop {
            let step = self.reactor.next_step_of_flush();
            if !self.tell_of(step) {
                break;
            }
        }
        self.tell_loop();
    }

    /// Runs a turn that does not wait, or a part of it.
    pub(in crate::threads) fn serve(&mut self) -> Served {
        self.read_messages();
        self.reactor.begin_turn(Some(Duration::ZERO));
        let mut served = Served::Some;
        for _ in 0..SHARE {
            let step = self.reactor.next_step_inline();
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

    fn tell_loop(&mut self) {
        if self.post() {
            self.reactor.count_batch(false);
        }
    }
}
