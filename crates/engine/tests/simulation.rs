//! A reactor in a world that a seed decides on: peers, a consumer, the clock, and system calls that are short, interrupted, spurious or
//! fail. A model says what must have happened.
//!
//! `TROCHEE_SIMULATION_STEPS` is the number of steps for each poller, 33 000 by default, and `TROCHEE_SIMULATION_SEED` the first seed. A
//! failure names the seed of its world.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "simulation/kernel.rs"]
mod kernel;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/world.rs"]
mod world;

use world::World;

/// Steps of one world; more worlds find more than longer ones.
const STEPS: u64 = 400;

/// Seeds of worlds in which something was found that is mended: a deadline of reading that had waited once for room to send came to pass
/// over unread bytes.
const FOUND: [u64; 2] = [5_002_382, 5_005_265];

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text}")),
        Err(_) => default,
    }
}

fn simulate(poller: &str) {
    let steps = number("TROCHEE_SIMULATION_STEPS", 33_000);
    let first = number("TROCHEE_SIMULATION_SEED", 1);
    let seeds = (0..steps.div_ceil(STEPS)).map(|world| first + world);
    for seed in FOUND.into_iter().chain(seeds) {
        World::new(poller, seed).run(STEPS);
    }
}

#[test]
fn epoll() {
    simulate("epoll");
}

#[test]
fn poll() {
    simulate("poll");
}

#[test]
fn select() {
    simulate("select");
}
