//! Commands to connections that threads serve: what the loop decides at once, and the message to the thread.

use super::Threads;
use super::messages::Message;
use super::remote::{Held, Phase, Remote, Tls};
use crate::buffer::{LARGEST_CHUNK, overflows};
use crate::command::{Close, Command};
use crate::connection::LARGE;
use crate::error::{Error, Reason};
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::tls::{Mode, Start};

impl Threads {
    /// As [`Reactor::write`].
    pub(crate) fn write(
        &mut self,
        local: &mut Reactor,
        key: Key,
        data: &[u8],
    ) -> Result<usize, Error> {
        let limit = local.config().max_send_buffer_size;
        let len = data.len();
        let is_full = |remote: &Remote| overflows(remote.pending(), len, limit);
        let remote = self.remote_mut(key).ok_or(Error::Closed)?;
        if remote.is_closing() || remote.finished {
            return Err(Error::Closed);
        }
        if is_full(remote) {
            if remote.writes_paused {
                return Err(Error::SendBufferFull);
            }
            // The thread may not have been told yet of what is queued, and the peer may have caught up.
            self.ask(key, Reactor::catch_up);
            if self.remote(key).is_some_and(is_full) {
                let info = self.end_info(key).unwrap_or_default();
                self.forget(local, key);
                local.tell_end(key, Reason::SendBufferFull, info);
                return Err(Error::SendBufferFull);
            }
        }
        let remote = self.remote_mut(key).ok_or(Error::Closed)?;
        remote.written += len as u64;
        // With nothing to write, the flush tells.
        let notify = len > 0 && std::mem::take(&mut remote.untold);
        let (thread, asks) = (remote.thread, remote.notify);
        if !std::mem::replace(&mut remote.in_flush, true) {
            self.flushes.push(key, asks);
        }
        let thread = &mut self.threads[thread];
        if len >= LARGE && thread.is_inline() && thread.write(key, data, notify) {
            return Ok(len);
        }
        let outgoing = &mut thread.outgoing;
        let more = |message: &mut Message| match message {
            Message::Write { key: to, len, .. } if *to == key => {
                *len += data.len();
                true
            }
            _ => false,
        };
        if notify || !outgoing.extend_last(data, more) {
            let mut notify = notify;
            for part in data.chunks(LARGEST_CHUNK) {
                let (len, notify) = (part.len(), std::mem::take(&mut notify));
                outgoing.push_with(Message::Write { key, len, notify }, part);
            }
        }
        Ok(len)
    }

    /// As [`Reactor::close`]. What is queued, the thread sends.
    pub(crate) fn close(&mut self, local: &mut Reactor, key: Key) -> Close {
        let Some(remote) = self.remote_mut(key) else {
            return Close::Gone;
        };
        if remote.is_closing() {
            return Close::Flushing;
        }
        // Nothing is read any more.
        if let Some((reason, info)) = remote.held.take().and_then(|held| held.closed) {
            // It is over already, and that was to be told behind what is not read any more.
            self.forget(local, key);
            local.tell_end(key, reason, info);
            return Close::Gone;
        }
        let nothing_left =
            remote.pending() == 0 || remote.phase == Phase::Connecting || !remote.is_secured();
        remote.phase = Phase::Closing;
        let thread = remote.thread;
        self.tell(thread, key, Command::Close);
        if nothing_left {
            // The slot is free when the thread says that it is over there.
            self.remove(key);
            return Close::Done;
        }
        Close::Flushing
    }

    /// As [`Reactor::apply`].
    pub(crate) fn apply(
        &mut self,
        local: &mut Reactor,
        key: Key,
        command: Command,
    ) -> Result<(), Error> {
        let remote = self.remote_mut(key).ok_or(Error::Closed)?;
        let thread = remote.thread;
        match &command {
            Command::Pause(paused) => {
                if std::mem::replace(&mut remote.paused, *paused) == *paused {
                    return Ok(());
                }
                if !*paused && remote.held.is_some() {
                    self.unheld.push_back(key);
                }
            }
            Command::PauseWrites(paused) => {
                if std::mem::replace(&mut remote.writes_paused, *paused) == *paused {
                    return Ok(());
                }
                self.queue_flush(key);
            }
            Command::NotifyFlush(on) => {
                (remote.notify, remote.untold) = (*on, *on);
                if *on {
                    // The thread is told with what is written until then, or by the flush.
                    self.queue_flush(key);
                    return Ok(());
                }
            }
            Command::Finish => remote.finished = true,
            Command::StartTls(start) => return self.start_tls(local, key, Start::clone(start)),
            Command::AcceptTls { context, .. } => {
                if context.mode() != Mode::Server {
                    return Err(Error::Unsupported);
                }
                let tls = asked(remote)?;
                (tls.asked, tls.context) = (false, context.clone());
            }
            Command::RefuseTls => asked(remote)?.asked = false,
            Command::Close => {
                return match self.close(local, key) {
                    Close::Gone => Err(Error::Closed),
                    Close::Done | Close::Flushing => Ok(()),
                };
            }
            Command::Destroy => {
                // Its thread ends it when it hears that nobody uses the key.
                self.forget(local, key);
                return Ok(());
            }
            // The loop need not know.
            _ => {}
        }
        self.tell(thread, key, command);
        Ok(())
    }

    fn start_tls(&mut self, local: &mut Reactor, key: Key, start: Start) -> Result<(), Error> {
        let remote = self.remote_mut(key).ok_or(Error::Closed)?;
        if remote.tls.is_some() {
            return Err(Error::TlsActive);
        }
        if remote.is_closing() {
            return Err(Error::Closed);
        }
        remote.tls = Some(Tls::new(start.context.clone()));
        let (thread, held) = (remote.thread, remote.held.take());
        self.tell(thread, key, Command::StartTls(Box::new(start)));
        let Some(Held { data, closed, .. }) = held.map(|held| *held) else {
            return Ok(());
        };
        if let Some((bytes, _)) = data {
            self.give_back(key, bytes);
        }
        // Nothing is left that it would have to be told behind.
        if let Some((reason, info)) = closed {
            self.forget(local, key);
            local.tell_end(key, reason, info);
        }
        Ok(())
    }

    /// Bytes that were read and are not the consumer's: they belong to the TLS session that has begun, as they would if they
    /// were still with the system.
    pub(super) fn give_back(&mut self, key: Key, bytes: Vec<u8>) {
        if let Some(thread) = self.remote(key).map(|remote| remote.thread) {
            let outgoing = &mut self.threads[thread].outgoing;
            outgoing.push(Message::TakeBack(key, bytes));
            outgoing.push(Message::Release(key));
        }
    }

    /// The loop's part of a flush: the thread sends what it gets with the next post.
    pub(super) fn flush_one(&mut self, key: Key) {
        if let Some(remote) = self.remote_mut(key) {
            remote.in_flush = false;
            // While writes are paused nothing is flushed, and resuming them queues this again.
            remote.notify &= remote.writes_paused;
            if std::mem::take(&mut remote.untold) {
                let thread = remote.thread;
                self.tell(thread, key, Command::NotifyFlush(true));
            }
        }
    }

    pub(super) fn queue_flush(&mut self, key: Key) {
        if let Some(remote) = self.remote_mut(key) {
            let asks = remote.notify;
            if !std::mem::replace(&mut remote.in_flush, true) {
                self.flushes.push(key, asks);
            } else if asks {
                self.flushes.ask();
            }
        }
    }
}

/// The TLS of a connection whose client waits for a choice.
fn asked(remote: &mut Remote) -> Result<&mut Tls, Error> {
    match &mut remote.tls {
        Some(tls) if tls.asked => Ok(tls),
        _ => Err(Error::Unsupported),
    }
}
