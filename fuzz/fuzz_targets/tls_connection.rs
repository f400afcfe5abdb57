//! `cargo +nightly fuzz run tls_connection`; fuzz/seeds makes the corpus to begin with.

#![no_main]

#[path = "../scenes/tls_connection.rs"]
mod scene;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scene::run(input));
