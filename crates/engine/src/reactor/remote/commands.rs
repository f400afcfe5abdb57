//! Commands to connections of I/O threads: what the loop's side decides at once, and the letter to the thread.

use super::{Held, RemoteTls, State};
use crate::error::{Error, Reason};
use crate::pool::Command;
use crate::reactor::{Close, Reactor, Source};
use crate::registry::Key;
use crate::tls::{Context, Mode, Start};

impl Reactor {
    pub(in crate::reactor) fn write_remote(
        &mut self,
        key: Key,
        data: &[u8],
    ) -> Result<usize, Error> {
        let limit = self.config.max_send_buffer_size;
        let Some(remote) = self.remote(key) else {
            return Err(Error::Closed);
        };
        if remote.state == State::Closing || remote.finished {
            return Err(Error::Closed);
        }
        if remote.overflows(data.len(), limit) {
            if remote.writes_paused {
                return Err(Error::SendBufferFull);
            }
            // The thread may not have been told yet of what is queued, and the peer may have caught up.
            self.ask_remote(key, Reactor::catch_up);
            if self
                .remote(key)
                .is_some_and(|remote| remote.overflows(data.len(), limit))
            {
                self.destroy_remote(key);
                self.over.push_back((key, Reason::SendBufferFull));
                return Err(Error::SendBufferFull);
            }
        }
        let (Some(Source::Remote(remote)), Some(pool)) =
            (self.sources.get_mut(key), &mut self.pool)
        else {
            return Err(Error::Closed);
        };
        remote.written += data.len() as u64;
        let notify = std::mem::take(&mut remote.untold);
        pool.write(remote.thread, remote.tag, data, notify);
        self.queue_flush(key);
        Ok(data.len())
    }

    pub(in crate::reactor) fn notify_remote(&mut self, key: Key, on: bool) {
        if let Some(remote) = self.remote(key) {
            (remote.notify, remote.untold) = (on, on);
            if on {
                self.queue_flush(key);
            } else {
                self.tell_remote(key, |reactor, key| reactor.notify_flush(key, false));
            }
        }
    }

    /// The loop's part of a flush: the thread sends what it gets with the next post.
    pub(in crate::reactor) fn flush_remote(&mut self, key: Key) {
        if let Some(remote) = self.remote(key) {
            remote.in_flush = false;
            // While writes are paused nothing is flushed, and resuming them queues this again.
            remote.notify &= remote.writes_paused;
            if std::mem::take(&mut remote.untold) {
                self.tell_remote(key, |reactor, key| reactor.notify_flush(key, true));
            }
        }
    }

    /// As [`close`](Reactor::close). What is queued, the thread sends.
    pub(in crate::reactor) fn close_remote(&mut self, key: Key) -> Close {
        let Some(remote) = self.remote(key) else {
            return Close::Gone;
        };
        if remote.state == State::Closing {
            return Close::Flushing;
        }
        // Nothing is read any more.
        if let Some(reason) = remote.held.take().and_then(|held| held.closed) {
            // It is over already, and that was to be told behind what is not read any more.
            self.remove_remote(key);
            self.over.push_back((key, reason));
            return Close::Gone;
        }
        let nothing_left =
            remote.pending() == 0 || remote.state == State::Connecting || !remote.is_secured();
        remote.state = State::Closing;
        let (thread, tag) = (remote.thread, remote.tag);
        self.tell(thread, Command::Close(tag));
        if nothing_left {
            self.remove_remote(key);
            return Close::Done;
        }
        Close::Flushing
    }

    pub(in crate::reactor) fn destroy_remote(&mut self, key: Key) {
        if let Some(remote) = self.remote(key) {
            let (thread, tag) = (remote.thread, remote.tag);
            self.tell(thread, Command::Destroy(tag));
            self.remove_remote(key);
        }
    }

    pub(in crate::reactor) fn pause_remote(&mut self, key: Key, paused: bool) {
        let Some(remote) = self.remote(key) else {
            return;
        };
        if std::mem::replace(&mut remote.paused, paused) == paused {
            return;
        }
        if !paused && remote.held.is_some() {
            self.unheld.push_back(key);
        }
        self.tell_remote(key, move |reactor, key| {
            if paused {
                reactor.pause(key);
            } else {
                reactor.resume(key);
            }
        });
    }

    pub(in crate::reactor) fn start_tls_remote(
        &mut self,
        key: Key,
        start: Start,
    ) -> Result<(), Error> {
        let Some(remote) = self.remote(key) else {
            return Err(Error::Closed);
        };
        if remote.tls.is_some() {
            return Err(Error::TlsActive);
        }
        if remote.state == State::Closing {
            return Err(Error::Closed);
        }
        remote.tls = Some(Box::new(RemoteTls::new(start.context.clone())));
        let held = remote.held.take();
        self.tell_remote(key, move |reactor, key| {
            // What could be refused was checked above, but for a peer that has ended its side: there is no plaintext any more.
            if reactor.start_tls(key, start).is_err() {
                reactor.end(key, Reason::PeerClosed);
            }
        });
        let Some(Held { data, closed, .. }) = held.map(|held| *held) else {
            return Ok(());
        };
        if let Some((bytes, _)) = data {
            self.give_back(key, bytes);
        }
        // Nothing is left that it would have to be told behind.
        if let Some(reason) = closed {
            self.remove_remote(key);
            self.over.push_back((key, reason));
        }
        Ok(())
    }

    /// Bytes that were read and are not the consumer's: they belong to the TLS session that has begun, as they would if they
    /// were still with the system.
    pub(super) fn give_back(&mut self, key: Key, bytes: Vec<u8>) {
        let Some(remote) = self.remote(key) else {
            return;
        };
        let (thread, of) = (remote.thread, remote.tag);
        self.tell_remote(key, move |reactor, key| reactor.take_back(key, bytes));
        self.tell(thread, Command::Release { of, drain: false });
    }

    fn asked_remote(&mut self, key: Key) -> Result<&mut RemoteTls, Error> {
        match self
            .remote(key)
            .and_then(|remote| remote.tls.as_deref_mut())
        {
            Some(tls) if tls.asked => Ok(tls),
            _ => Err(Error::Unsupported),
        }
    }

    pub(in crate::reactor) fn accept_tls_remote(
        &mut self,
        key: Key,
        context: Context,
        alpn: Option<Vec<Vec<u8>>>,
    ) -> Result<(), Error> {
        if context.mode() != Mode::Server {
            return Err(Error::Unsupported);
        }
        let tls = self.asked_remote(key)?;
        (tls.asked, tls.context) = (false, context.clone());
        self.tell_remote(key, move |reactor, key| {
            let _ = reactor.accept_tls(key, context, alpn);
        });
        Ok(())
    }

    pub(in crate::reactor) fn refuse_tls_remote(&mut self, key: Key) -> Result<(), Error> {
        self.asked_remote(key)?.asked = false;
        self.tell_remote(key, |reactor, key| {
            let _ = reactor.refuse_tls(key);
        });
        Ok(())
    }
}
