//! What operators see, told to the crate `tracing` where the feature of that name is on. Without it nothing of this is compiled, but for
//! empty functions.
//!
//! A connection is a span with its key and its peer. What becomes of it is an event in that span, at the level of debugging: there
//! may be many. Where a counter of [`Stats`](crate::Stats) counts the same, the event has its name in the field `counter`. What is
//! told to the log, which is throttled, is an event at the level of the log.

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod on;

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{ConnectionSpan, notice, refused, turned_away};
#[cfg(feature = "tracing")]
pub(crate) use on::{ConnectionSpan, notice, refused, turned_away};
