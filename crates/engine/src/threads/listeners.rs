//! Listeners that threads accept for: each shares the socket, and the loop's own reactor rests.

use std::sync::Arc;

use super::Threads;
use super::messages::Message;
use crate::command::Command;
use crate::error::Error;
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::socket;

/// One of them. All but whether it is paused is known to the loop's reactor.
pub(super) struct Lent {
    key: Key,
    paused: bool,
}

impl Threads {
    pub(crate) fn is_lent(&self, key: Key) -> bool {
        self.listeners.iter().any(|lent| lent.key == key)
    }

    /// Has the threads accept for a TCP listener.
    pub(crate) fn lend(&mut self, local: &mut Reactor, key: Key) {
        let Some(listener) = local.listener_of(key) else {
            return;
        };
        let paused = listener.paused;
        self.listeners.push(Lent { key, paused });
        local.pause(key);
        for thread in 0..self.threads.len() {
            self.lend_to(local, thread, key, paused);
        }
    }

    fn lend_to(&mut self, local: &Reactor, thread: usize, key: Key, paused: bool) {
        if let Some(listener) = local.listener_of(key) {
            self.threads[thread].outgoing.push(Message::Listen {
                key,
                fd: Arc::clone(&listener.fd),
                read_size: listener.read_size,
                paused,
            });
            if listener.authentication.is_newcomer() {
                let command = Command::Authentication(listener.authentication);
                self.tell(thread, key, command);
            }
        }
    }

    /// The same for one thread that has just begun.
    pub(super) fn lend_all_to(&mut self, local: &Reactor, thread: usize) {
        for index in 0..self.listeners.len() {
            let Lent { key, paused } = self.listeners[index];
            self.lend_to(local, thread, key, paused);
        }
    }

    /// As [`Reactor::apply`], for a listener that is lent.
    pub(crate) fn apply_to_listener(
        &mut self,
        local: &mut Reactor,
        key: Key,
        command: Command,
    ) -> Result<(), Error> {
        match &command {
            Command::Pause(paused) => {
                let lent = self.listeners.iter_mut().find(|lent| lent.key == key);
                if let Some(lent) = lent {
                    lent.paused = *paused;
                }
            }
            Command::Close | Command::Destroy => {
                self.take_home(local, key);
                return local.apply(key, command);
            }
            _ => local.apply(key, command.clone())?,
        }
        for thread in 0..self.threads.len() {
            self.tell(thread, key, command.clone());
        }
        Ok(())
    }

    /// Has the threads accept no more for a listener that is about to be closed.
    pub(crate) fn take_home(&mut self, local: &mut Reactor, key: Key) {
        self.listeners.retain(|lent| lent.key != key);
        let Some(listener) = local.listener_of(key) else {
            return;
        };
        let adopted = listener.adopted;
        if !adopted {
            // The port is free at once, whenever the threads hear of it.
            socket::stop_listening(&listener.fd);
        }
        for thread in 0..self.threads.len() {
            if adopted {
                // Whoever comes now is for whoever uses the socket next.
                self.ask_thread(thread, key, Reactor::pause);
            }
            self.tell(thread, key, Command::Destroy);
        }
        // At once, for a thread that does not know takes it that somebody else has shut the socket down.
        self.send();
    }

    /// Has the loop accept itself: there are no threads any more.
    pub(super) fn take_all_home(&mut self, local: &mut Reactor) {
        for Lent { key, paused } in std::mem::take(&mut self.listeners) {
            if !paused {
                local.resume(key);
            }
        }
    }
}
