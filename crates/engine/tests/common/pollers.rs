//! The pollers for a test that runs on each of them by itself.

use trochee::poller;

/// Those that this machine has. One that it lacks prints a skip; with `TROCHEE_NO_SKIPS` in the environment it fails instead.
pub fn available() -> impl Iterator<Item = &'static str> {
    let names = poller::BACKENDS.iter().map(|backend| backend.name);
    names.filter(|backend| match poller::open(backend) {
        Ok(_) => true,
        Err(error) => {
            assert!(
                std::env::var_os("TROCHEE_NO_SKIPS").is_none(),
                "{backend}: {error}"
            );
            eprintln!("SKIP: {error}");
            false
        }
    })
}
