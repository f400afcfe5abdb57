//! `cargo +nightly fuzz run connections`

#![no_main]

#[path = "../scenes/connections.rs"]
mod scene;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scene::run(input));
