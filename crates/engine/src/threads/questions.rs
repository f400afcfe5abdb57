//! What can be asked of a connection that a thread serves. What is asked about often the loop knows; the rest the thread is
//! asked, and waited for.

use std::os::fd::RawFd;
use std::sync::Arc;

use super::messages::{CHANNEL_BINDING, CHANNEL_BINDING_LENGTH};
use super::{Facts, Remote, Threads};
use crate::config::SocketOption;
use crate::connection_info::{ConnectionInfo, EndInfo, TcpInfo};
use crate::error::Error;
use crate::gauges::Gauges;
use crate::listener_info::ListenerInfo;
use crate::name::Name;
use crate::proxy_protocol::Proxied;
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::stage::StageCounts;
use crate::stats::Stats;
use crate::tallies::Tallies;
use crate::tls::{Context, Info, VerifyError};

impl Threads {
    /// What each thread has counted. A thread that has failed counts no more.
    pub(crate) fn stats(&mut self) -> Vec<Stats> {
        self.ask_all(|reactor| reactor.stats())
    }

    /// Adds what the loop has counted of its threads to what else it has.
    pub(crate) fn add_posts(&self, stats: &mut Stats) {
        for thread in &self.threads {
            stats.batches += thread.batches;
            stats.wakes += thread.wakes;
        }
        stats.given_to_threads += self.given_to_threads;
        stats.taken_from_threads += self.taken_from_threads;
    }

    /// What each thread has counted by kind.
    pub(crate) fn tallies(&mut self) -> Vec<Tallies> {
        self.ask_all(|reactor| reactor.tallies())
    }

    /// What each thread knows of the listeners that it accepts for.
    pub(crate) fn listeners(&mut self) -> Vec<ListenerInfo> {
        self.ask_all(|reactor| reactor.listeners()).concat()
    }

    /// What each thread uses.
    pub(crate) fn gauges(&mut self) -> Vec<Gauges> {
        self.ask_all(|reactor| reactor.gauges())
    }

    /// How many connections of all threads are in each stage.
    pub(crate) fn stages(&mut self) -> Vec<StageCounts> {
        self.ask_all(|reactor| reactor.stages())
    }

    /// What is known of every connection of the threads.
    pub(crate) fn connections(&mut self) -> Vec<ConnectionInfo> {
        self.ask_all(|reactor| reactor.connections()).concat()
    }

    /// Has connections of each thread make room; says how many.
    pub(crate) fn shed(&mut self) -> usize {
        self.ask_all(Reactor::shed).into_iter().sum()
    }

    /// Has every thread answer a question. A thread that has failed does not.
    fn ask_all<R: Send + 'static>(
        &mut self,
        question: impl Fn(&mut Reactor) -> R + Send + Copy + 'static,
    ) -> Vec<R> {
        (0..self.threads.len())
            .filter_map(|thread| {
                self.ask_thread(thread, Key::NONE, move |reactor, _| question(reactor))
            })
            .collect()
    }

    pub(crate) fn pending(&self, key: Key) -> usize {
        self.remote(key).map_or(0, |remote| remote.pending())
    }

    pub(crate) fn end_info(&self, key: Key) -> Option<EndInfo> {
        self.remote(key).map(Remote::end_info)
    }

    pub(crate) fn fd(&self, key: Key) -> Option<RawFd> {
        Some(self.remote(key)?.fd)
    }

    pub(crate) fn peer_name(&self, key: Key) -> Option<Name> {
        self.remote(key)?.peer.clone()
    }

    pub(crate) fn proxied(&self, key: Key) -> Option<Arc<Proxied>> {
        self.remote(key)?.proxied.clone()
    }

    pub(crate) fn local_name(&self, key: Key) -> Option<Name> {
        self.remote(key)?.local.clone()
    }

    pub(crate) fn is_tls(&self, key: Key) -> bool {
        self.remote(key).is_some_and(|remote| remote.tls.is_some())
    }

    pub(crate) fn tls_info(&self, key: Key) -> Option<Info> {
        Some(self.facts(key)?.info.clone())
    }

    pub(crate) fn tls_context(&self, key: Key) -> Option<Context> {
        Some(self.remote(key)?.tls.as_ref()?.context.clone())
    }

    pub(crate) fn peer_verification(&self, key: Key) -> Vec<Vec<VerifyError>> {
        self.facts(key)
            .map(|facts| facts.errors.clone())
            .unwrap_or_default()
    }

    fn facts(&self, key: Key) -> Option<&Facts> {
        self.remote(key)?.tls.as_ref()?.facts.as_deref()
    }

    pub(crate) fn set_option(&mut self, key: Key, option: SocketOption) -> Result<(), Error> {
        self.ask(key, move |reactor, key| reactor.set_option(key, option))
            .unwrap_or(Err(Error::Closed))
    }

    pub(crate) fn tcp_info(&mut self, key: Key) -> Option<TcpInfo> {
        self.ask(key, |reactor, key| reactor.tcp_info(key))
            .flatten()
    }

    pub(crate) fn peer_certificates(&mut self, key: Key) -> Vec<Vec<u8>> {
        if !self.is_tls(key) {
            return Vec::new();
        }
        self.ask(key, |reactor, key| reactor.peer_certificates(key))
            .unwrap_or_default()
    }

    pub(crate) fn export_keying_material(
        &mut self,
        key: Key,
        label: &[u8],
        context: Option<&[u8]>,
        length: usize,
    ) -> Option<Vec<u8>> {
        let facts = self.facts(key)?;
        if (label, context, length) == (CHANNEL_BINDING, Some(b""), CHANNEL_BINDING_LENGTH) {
            return facts.channel_binding.map(Into::into);
        }
        let (label, context) = (label.to_vec(), context.map(<[u8]>::to_vec));
        self.ask(key, move |reactor, key| {
            reactor.export_keying_material(key, &label, context.as_deref(), length)
        })
        .flatten()
    }
}
