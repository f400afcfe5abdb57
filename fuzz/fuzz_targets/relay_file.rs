//! `cargo +nightly fuzz run relay_file`

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/cli/src/relay/addresses.rs"]
mod addresses;
#[allow(dead_code)]
#[path = "../../crates/cli/src/relay/options.rs"]
mod options;
use options::File;

#[path = "../scenes/relay_file.rs"]
mod scene;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scene::run(input));
