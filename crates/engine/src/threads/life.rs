//! The life of the threads: they begin together, one that fails is replaced, and a forked child goes on without them.

use rustix::io::Errno;

use super::remote::Remote;
use super::reports::Reports;
use super::thread::{Plan, Thread};
use super::{Threads, share};
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::event::Level;
use crate::fork;
use crate::reactor::Reactor;
use crate::registry::{Key, LAST_THREAD, Table};

impl Threads {
    /// Starts as many threads as the settings say. They get the listeners and the connections that are being made.
    pub(crate) fn start(&mut self, local: &mut Reactor) {
        self.process = fork::generation();
        let count = local.config().io_threads;
        local.count_places();
        local.join(local.common());
        for index in 0..count {
            match self.start_one(local, index, count) {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    self.threads.clear();
                    // The choice stays made: a server that changes its ways whenever memory is short helps nobody.
                    local.configure(Config {
                        io_threads: 0,
                        ..local.config().clone()
                    });
                    let text = format!("serving without I/O threads: {error}");
                    return local.notice(Level::Error, text);
                }
            }
        }
        for key in local.tcp_listeners() {
            self.lend(local, key);
        }
        for key in local.outgoing() {
            self.hand_over(local, key);
        }
    }

    fn start_one(
        &mut self,
        local: &mut Reactor,
        index: usize,
        count: usize,
    ) -> Result<Thread, Error> {
        if self.last_number == LAST_THREAD {
            return Err(Error::Thread(format!("there were {LAST_THREAD} already")));
        }
        let number = self.last_number + 1;
        let home = local.waker()?;
        let thread = Thread::start(Plan {
            index,
            number,
            backend: local.backend(),
            config: share(local, index, count),
            common: local.common(),
            home: &home,
            pulse: &self.pulse,
            inline: !self.load.is_on_threads(),
        })?;
        self.last_number = number;
        self.remotes
            .resize_with(usize::from(number) + 1, Table::new);
        Ok(thread)
    }

    /// A thread has failed, which only a mistake in this program does: its connections are lost, the server is not.
    pub(super) fn replace(&mut self, local: &mut Reactor, thread: usize) {
        local.notice(
            Level::Error,
            "an I/O thread failed, please report it with the text on standard error; its connections are lost".into(),
        );
        self.lose(
            local,
            |remote| remote.thread == thread,
            &Reason::Os(Errno::PIPE),
        );
        self.owed = None;
        self.reports.forget(thread);
        self.leave_alone(local, thread);
        match self.start_one(local, thread, self.threads.len()) {
            Ok(replacement) => {
                self.threads[thread] = replacement;
                self.lend_all_to(local, thread);
            }
            Err(error) => local.notice(Level::Error, format!("and could not be replaced: {error}")),
        }
    }

    /// In a child of fork(2), where the threads are not: lets go of them and of what they served. Whatever lock they held is
    /// held for ever.
    #[inline]
    pub(crate) fn disown(&mut self, local: &mut Reactor) {
        if self.are_running() && self.process != fork::generation() {
            self.let_go_of_all(local);
        }
    }

    #[cold]
    fn let_go_of_all(&mut self, local: &mut Reactor) {
        for thread in self.threads.drain(..) {
            std::mem::forget(thread);
        }
        self.lose(local, |_| true, &Reason::PeerClosed);
        self.reports = Reports::new();
        self.owed = None;
        local.count_alone();
        local.configure(local.config().clone());
        self.take_all_home(local);
    }

    /// Ends the connections that are lost with their thread.
    fn lose(&mut self, local: &mut Reactor, is_lost: impl Fn(&Remote) -> bool, reason: &Reason) {
        let all = self.remotes.iter().flat_map(Table::iter);
        let lost: Vec<Key> = all
            .filter(|(_, remote)| is_lost(remote))
            .map(|(key, _)| key)
            .collect();
        for key in lost {
            let info = self.end_info(key).unwrap_or_default();
            self.remove(key);
            local.free(key);
            local.tell_end(key, reason.clone(), info);
        }
    }
}
