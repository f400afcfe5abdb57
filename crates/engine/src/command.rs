//! What goes in: what a consumer can have done to a source, as plain data.
//!
//! [`Reactor`](crate::Reactor) and [`EventLoop`](crate::EventLoop) have a method for each, which builds the command and applies it.

use std::time::Duration;

use crate::config::ReadSize;
use crate::stage::Authentication;
use crate::tls::{Context, Start};

/// One thing to be done to a source: the methods of [`Reactor`](crate::Reactor) have the details of each.
///
/// A command is data, so it can wait in a queue and go to another thread. Two things are not commands: a write, whose bytes are
/// borrowed, and a question that needs an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// [`pause`](crate::Reactor::pause), or [`resume`](crate::Reactor::resume).
    Pause(bool),
    /// [`pause_writes`](crate::Reactor::pause_writes), or [`resume_writes`](crate::Reactor::resume_writes).
    PauseWrites(bool),
    /// [`notify_flush`](crate::Reactor::notify_flush)
    NotifyFlush(bool),
    /// [`set_half_open`](crate::Reactor::set_half_open)
    HalfOpen(bool),
    /// [`set_abortive`](crate::Reactor::set_abortive)
    Abortive(bool),
    /// [`finish`](crate::Reactor::finish)
    Finish,
    /// [`set_rate_limit`](crate::Reactor::set_rate_limit), in bytes a second.
    RateLimit(f64),
    /// [`set_read_size`](crate::Reactor::set_read_size)
    ReadSize(ReadSize),
    /// [`set_read_timeout`](crate::Reactor::set_read_timeout)
    ReadTimeout(Option<Duration>),
    /// [`set_write_timeout`](crate::Reactor::set_write_timeout)
    WriteTimeout(Option<Duration>),
    /// [`set_authentication`](crate::Reactor::set_authentication)
    Authentication(Authentication),
    /// [`start_tls`](crate::Reactor::start_tls)
    StartTls(Box<Start>),
    /// [`accept_tls`](crate::Reactor::accept_tls)
    AcceptTls {
        /// What the handshake goes on with.
        context: Context,
        /// Application protocols instead of the context's.
        alpn: Option<Vec<Vec<u8>>>,
    },
    /// [`refuse_tls`](crate::Reactor::refuse_tls)
    RefuseTls,
    /// [`close`](crate::Reactor::close)
    Close,
    /// [`destroy`](crate::Reactor::destroy)
    Destroy,
}

/// What [`Reactor::close`](crate::Reactor::close) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Nothing was queued: it is gone, and no event follows.
    Done,
    /// What is queued is being sent; [`Event::Closed`](crate::Event) follows.
    Flushing,
    /// There is nothing under that key. If the end of it was not told yet, it will be.
    Gone,
}

/// Gives a type that has `apply(key, command)` a method for each [`Command`].
macro_rules! command_methods {
    ($type:ty) => {
        /// Commands: each records intent, and the next turn carries it out. A stale key is never an error worth more than
        /// `false`.
        impl $type {
            /// Asks for [`Event::Predrain`](crate::Event) before the next flush and [`Event::Drain`](crate::Event) when the queue
            /// is empty, even if it is empty now. Each comes once; `false` takes the request back.
            pub fn notify_flush(&mut self, key: $crate::Key, on: bool) -> bool {
                self.apply(key, $crate::Command::NotifyFlush(on)).is_ok()
            }

            /// Stops reading, or accepting. Nothing is lost: what the peer sends stays in the system, which makes the peer
            /// wait.
            pub fn pause(&mut self, key: $crate::Key) -> bool {
                self.apply(key, $crate::Command::Pause(true)).is_ok()
            }

            /// Reads, or accepts, again. The read timeout begins anew.
            pub fn resume(&mut self, key: $crate::Key) -> bool {
                self.apply(key, $crate::Command::Pause(false)).is_ok()
            }

            /// Queues what is written without sending it.
            pub fn pause_writes(&mut self, key: $crate::Key) -> bool {
                self.apply(key, $crate::Command::PauseWrites(true)).is_ok()
            }

            /// Sends again what is written, beginning with what was queued meanwhile.
            pub fn resume_writes(&mut self, key: $crate::Key) -> bool {
                self.apply(key, $crate::Command::PauseWrites(false)).is_ok()
            }

            /// Has the two sides of a stream end one by one: [`Event::Ended`](crate::Event) tells that the peer has ended its
            /// own, the connection stays and can be written to until [`finish`](Self::finish) or [`close`](Self::close). For
            /// those who pass both ends on, as a proxy does.
            pub fn set_half_open(&mut self, key: $crate::Key, on: bool) -> bool {
                self.apply(key, $crate::Command::HalfOpen(on)).is_ok()
            }

            /// Has [`close`](Self::close) tell the peer that this is no orderly end: what is queued is sent, and then a reset
            /// takes the place of close_notify and FIN (RFC 9293, section 3.10.5). For those who pass ends on, as a proxy does, where
            /// the other side was cut off: the peer must not take what it got for the whole. A UNIX socket ends as ever.
            pub fn set_abortive(&mut self, key: $crate::Key, on: bool) -> bool {
                self.apply(key, $crate::Command::Abortive(on)).is_ok()
            }

            /// Ends our side of a stream once all that is queued is sent: close_notify where there is TLS, then FIN. What the
            /// peer still sends is delivered; when it has ended its side as well, [`Event::Closed`](crate::Event) follows.
            pub fn finish(&mut self, key: $crate::Key) -> bool {
                self.apply(key, $crate::Command::Finish).is_ok()
            }

            /// Limits reading to so many bytes a second; zero or less removes the limit. At once it lets through what a tenth
            /// of a second brings.
            pub fn set_rate_limit(&mut self, key: $crate::Key, bytes_per_second: f64) -> bool {
                self.apply(key, $crate::Command::RateLimit(bytes_per_second))
                    .is_ok()
            }

            /// Changes how much one read delivers; on a listener, for connections that it accepts from now on.
            pub fn set_read_size(&mut self, key: $crate::Key, size: $crate::ReadSize) -> bool {
                self.apply(key, $crate::Command::ReadSize(size)).is_ok()
            }

            /// Gives one connection a read timeout of its own, counted from now; `None` for none at all.
            pub fn set_read_timeout(
                &mut self,
                key: $crate::Key,
                after: Option<std::time::Duration>,
            ) -> bool {
                self.apply(key, $crate::Command::ReadTimeout(after)).is_ok()
            }

            /// Gives one connection a timeout of its own for connecting and sending, counted from now; `None` for none at all.
            pub fn set_write_timeout(
                &mut self,
                key: $crate::Key,
                after: Option<std::time::Duration>,
            ) -> bool {
                self.apply(key, $crate::Command::WriteTimeout(after))
                    .is_ok()
            }

            /// Tells whether a connection has authenticated, or has to. On a listener
            /// [`Awaited`](crate::Authentication::Awaited) has all connections begin so that it accepts from now on, and
            /// anything else takes the limits of newcomers from those that it has accepted as well.
            pub fn set_authentication(
                &mut self,
                key: $crate::Key,
                authentication: $crate::Authentication,
            ) -> bool {
                self.apply(key, $crate::Command::Authentication(authentication))
                    .is_ok()
            }

            /// Frees what `key` names, and what it had queued with it. No event follows. False for a stale key. Where that is
            /// less than was written, the peer gets a reset: it must not take what it got for the whole.
            pub fn destroy(&mut self, key: $crate::Key) -> bool {
                self.apply(key, $crate::Command::Destroy).is_ok()
            }

            /// Begins TLS. From now on nothing that arrives in plaintext is read or delivered, and what is written is
            /// encrypted; what was written before is sent in plaintext first.
            ///
            /// [`Event::Secured`](crate::Event) says that the handshake is complete. On a connection that is still being
            /// established the handshake begins when it stands, and [`Event::Connected`](crate::Event) comes after `Secured`. A
            /// handshake ignores [`pause`](Self::pause), [`pause_writes`](Self::pause_writes) and rate limits; it has
            /// [`Config::tls_handshake_timeout`](crate::Config) instead. If it fails, [`Event::Closed`](crate::Event) says why.
            ///
            /// # Errors
            ///
            /// [`Error::Closed`](crate::Error::Closed) for a stale key or a connection that is closing, [`Error::TlsActive`](crate::Error::TlsActive) where TLS was begun
            /// already, [`Error::Unsupported`](crate::Error::Unsupported) for datagrams and everything that is no connection.
            pub fn start_tls(
                &mut self,
                key: $crate::Key,
                start: $crate::tls::Start,
            ) -> Result<(), $crate::Error> {
                self.apply(key, $crate::Command::StartTls(Box::new(start)))
            }

            /// Answers [`Event::ClientHello`](crate::Event): the handshake goes on with `context`, and with `alpn` instead of
            /// the protocols of the context if given, in the order of preference. Where the client has none of them in common,
            /// none is agreed on.
            ///
            /// # Errors
            ///
            /// [`Error::Closed`](crate::Error::Closed) for a stale key, [`Error::Unsupported`](crate::Error::Unsupported) where nothing was asked, or for a client's context.
            pub fn accept_tls(
                &mut self,
                key: $crate::Key,
                context: $crate::tls::Context,
                alpn: Option<Vec<Vec<u8>>>,
            ) -> Result<(), $crate::Error> {
                self.apply(key, $crate::Command::AcceptTls { context, alpn })
            }

            /// Answers [`Event::ClientHello`](crate::Event): nobody here has that name. The peer gets the fatal alert
            /// `unrecognized_name` (RFC 6066), and [`Event::Closed`](crate::Event) follows.
            ///
            /// # Errors
            ///
            /// [`Error::Closed`](crate::Error::Closed) for a stale key, [`Error::Unsupported`](crate::Error::Unsupported) where nothing was asked.
            pub fn refuse_tls(&mut self, key: $crate::Key) -> Result<(), $crate::Error> {
                self.apply(key, $crate::Command::RefuseTls)
            }
        }
    };
}

pub(crate) use command_methods;
