//! The table of pollers, what is said of those that are not there, and timeouts.

use super::*;

fn refuse() -> io::Result<Box<dyn Poller>> {
    Err(io::Error::from_raw_os_error(38))
}

#[test]
fn names_and_preferences_are_distinct() {
    for (index, backend) in BACKENDS.iter().enumerate() {
        for other in &BACKENDS[..index] {
            assert_ne!(backend.name, other.name);
            assert!(
                other.preference > backend.preference,
                "BACKENDS is best first"
            );
        }
        assert_ne!(backend.name, AUTO);
    }
}

#[test]
fn every_backend_opens_under_its_own_name() {
    for backend in BACKENDS {
        let poller = match open(backend.name) {
            // Its library need not be installed.
            Err(OpenError::Unavailable {
                name: "libevent",
                reason,
            }) if std::env::var_os("TROCHEE_NO_SKIPS").is_none() => {
                eprintln!("SKIP: {reason}");
                continue;
            }
            opened => opened.unwrap(),
        };
        assert_eq!(poller.name().split(' ').next(), Some(backend.name));
    }
}

#[test]
fn auto_takes_the_best_that_opens() {
    assert_eq!(open("auto").unwrap().name(), BACKENDS[0].name);

    // Preference decides, not the order of the table, and a refusal moves on to the next.
    let table = [
        Backend {
            name: "select",
            preference: 1,
            summary: "",
            open: select::open,
        },
        Backend {
            name: "poll",
            preference: 2,
            summary: "",
            open: poll::open,
        },
        Backend {
            name: "broken",
            preference: 3,
            summary: "",
            open: refuse,
        },
    ];
    assert_eq!(open_among(&table, "auto").unwrap().name(), "poll");
}

#[test]
fn errors_say_what_to_do() {
    let table = [Backend {
        name: "broken",
        preference: 3,
        summary: "",
        open: refuse,
    }];
    let text = |name| open_among(&table, name).err().unwrap().to_string();
    assert_eq!(
        text("broken"),
        "poller \"broken\" is not available: Function not implemented (os error 38)"
    );
    assert_eq!(
        text("auto"),
        "no poller is available: broken: Function not implemented (os error 38)"
    );
    assert_eq!(
        text("kqueue"),
        "unknown poller \"kqueue\"; this build has \"auto\", \"broken\""
    );
}

#[test]
fn timeouts_round_up() {
    let millis = |timeout| {
        let spec = timespec(timeout, 1_000_000);
        assert_eq!(spec.tv_nsec % 1_000_000, 0);
        spec.tv_sec * 1000 + spec.tv_nsec / 1_000_000
    };
    assert_eq!(millis(Duration::ZERO), 0);
    assert_eq!(millis(Duration::from_nanos(1)), 1);
    assert_eq!(millis(Duration::from_nanos(1_000_000)), 1);
    assert_eq!(millis(Duration::from_nanos(1_000_001)), 2);
    assert_eq!(millis(Duration::from_nanos(999_999_999)), 1000);
    assert_eq!(millis(Duration::MAX), i64::from(i32::MAX));

    let exact = timespec(Duration::new(3, 999_999_999), 1);
    assert_eq!((exact.tv_sec, exact.tv_nsec), (3, 999_999_999));
}
