//! `cargo +nightly fuzz run proxy_header`

#![no_main]

#[path = "../scenes/proxy_header.rs"]
mod scene;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scene::run(input));
