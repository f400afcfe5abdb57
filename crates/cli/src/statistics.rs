//! What a running server tells of itself: the form that it has, and how it is asked for. `trochee stats` and `trochee top` ask, Prosody
//! (mod_trochee) and `trochee relay` answer.

pub mod client;
pub mod openmetrics;
pub mod report;
pub mod units;

pub use client::Client;
pub use report::Report;
