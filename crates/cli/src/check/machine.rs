//! The machine: kernel, descriptors, the queue of the system, pollers.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::fact::Fact;
use crate::backends::Poller;

/// A limit of descriptors below this gets advice: a public server may have this many users at once.
const FEW_DESCRIPTORS: u64 = 16_384;

/// The oldest Linux on which Rust's standard library works.
const OLDEST_KERNEL: (u32, u32) = (3, 2);

/// What an operator can change.
pub struct System {
    /// The kernel's name and release.
    pub kernel: (String, String),
    /// How many descriptors a process may have.
    pub descriptors: Limit,
    /// `net.core.somaxconn`, where it can be read.
    pub somaxconn: Option<u32>,
}

/// A resource limit, setrlimit(2); `None` is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    pub soft: Option<u64>,
    /// How far a process may raise the soft one itself.
    pub hard: Option<u64>,
}

impl System {
    /// This machine, for a process started as this one was.
    pub fn here() -> System {
        let uname = rustix::system::uname();
        let limit = getrlimit(Resource::Nofile);
        System {
            kernel: (
                uname.sysname().to_string_lossy().into_owned(),
                uname.release().to_string_lossy().into_owned(),
            ),
            descriptors: Limit {
                soft: limit.current,
                hard: limit.maximum,
            },
            somaxconn: fs::read_to_string("/proc/sys/net/core/somaxconn")
                .ok()
                .and_then(|text| text.trim().parse().ok()),
        }
    }
}

pub fn facts(system: &System, pollers: &[Poller]) -> Vec<Fact> {
    let mut facts = vec![
        kernel(&system.kernel),
        descriptors("file descriptors", "", system.descriptors),
    ];
    facts.extend(pollers.iter().map(poller));
    if !pollers.iter().any(|poller| poller.refusal.is_none()) {
        facts.push(Fact::problem(
            "pollers",
            "none works here: a server cannot run",
            "the reasons are above",
        ));
    }
    facts
}

fn kernel((name, release): &(String, String)) -> Fact {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    let state = format!("{name} {release}");
    if name == "Linux" && version.is_some_and(|version| version < OLDEST_KERNEL) {
        let (major, minor) = OLDEST_KERNEL;
        let advice = format!("too old: trochee needs Linux {major}.{minor} or later");
        return Fact::problem("kernel", state, advice);
    }
    Fact::fine("kernel", state)
}

/// `whose` goes before the numbers.
pub fn descriptors(subject: &str, whose: &str, limit: Limit) -> Fact {
    let number =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let state = format!(
        "{whose}{} (soft), {} (hard)",
        number(limit.soft),
        number(limit.hard)
    );
    match limit.hard {
        Some(hard) if hard < FEW_DESCRIPTORS => Fact::advice(
            subject,
            state,
            format!(
                "every connection takes one, so fewer than {hard} at a time: raise the hard limit \
                 (LimitNOFILE= in the systemd unit, nofile in limits.conf)"
            ),
        ),
        _ if limit.soft != limit.hard => Fact::fine(
            subject,
            format!("{state}; trochee raises the soft limit to the hard limit itself"),
        ),
        _ => Fact::fine(subject, state),
    }
}

/// `wanted` is the backlog that listeners ask for.
pub fn queue(somaxconn: Option<u32>, wanted: u32) -> Fact {
    let subject = "net.core.somaxconn";
    match somaxconn {
        Some(limit) if limit < wanted => Fact::advice(
            subject,
            limit.to_string(),
            format!(
                "listeners ask for {wanted} (tcp_backlog); when everybody reconnects at once, all but {limit} wait \
                 a second or more: sysctl -w net.core.somaxconn={wanted}"
            ),
        ),
        Some(limit) => Fact::fine(subject, limit.to_string()),
        None => Fact::advice(
            subject,
            "unknown: it could not be read",
            format!("it should be {wanted} or more for many clients to reconnect at once"),
        ),
    }
}

fn poller(poller: &Poller) -> Fact {
    let limit = if poller.name == "select" {
        "; it cannot hold a descriptor numbered 1024 or higher, so it is for small servers only"
    } else {
        ""
    };
    let state = match &poller.refusal {
        None if poller.auto => format!("works; \"auto\" chooses it{limit}"),
        None => format!("works{limit}"),
        Some(reason) => format!("does not work: {reason}"),
    };
    Fact::fine(format!("poller {}", poller.name), state)
}

#[cfg(test)]
mod tests {
    use super::super::fact::{Level, count, text};
    use super::*;

    fn system() -> System {
        System {
            kernel: ("Linux".to_owned(), "6.1.0-13-amd64".to_owned()),
            descriptors: Limit {
                soft: Some(524_288),
                hard: Some(524_288),
            },
            somaxconn: Some(4096),
        }
    }

    fn poller(name: &'static str, refusal: Option<i32>) -> Poller {
        Poller {
            name,
            summary: "",
            refusal: refusal.map(std::io::Error::from_raw_os_error),
            auto: refusal.is_none(),
        }
    }

    fn report(system: &System, pollers: &[Poller]) -> String {
        text(&facts(system, pollers))
    }

    #[test]
    fn a_good_machine_needs_no_advice() {
        assert_eq!(
            report(&system(), &[poller("epoll", None)]),
            "kernel               Linux 6.1.0-13-amd64\n\
             file descriptors     524288 (soft), 524288 (hard)\n\
             poller epoll         works; \"auto\" chooses it\n\
             Nothing to complain of.\n"
        );
    }

    #[test]
    fn what_limits_comes_with_a_word_of_advice() {
        let text = report(
            &System {
                kernel: ("Linux".to_owned(), "2.6.32-5".to_owned()),
                descriptors: Limit {
                    soft: Some(1024),
                    hard: Some(4096),
                },
                somaxconn: Some(128),
            },
            &[poller("epoll", Some(38)), poller("select", None)],
        );
        for advice in [
            "!! too old: trochee needs Linux 3.2",
            "LimitNOFILE",
            "does not work: Function not implemented",
            "1024",
        ] {
            assert!(text.contains(advice), "{advice:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_soft_limit_is_no_reason_to_act() {
        let descriptors = Limit {
            soft: Some(1024),
            ..system().descriptors
        };
        let found = facts(
            &System {
                descriptors,
                ..system()
            },
            &[poller("epoll", None)],
        );
        assert_eq!(count(&found, Level::Advice), 0);
        assert!(text(&found).contains("raises the soft limit"));
    }

    #[test]
    fn a_queue_shorter_than_asked_for_comes_with_the_command_that_mends_it() {
        let short = queue(Some(128), 4096);
        assert_eq!(short.level, Level::Advice);
        assert!(
            short
                .advice
                .unwrap()
                .contains("sysctl -w net.core.somaxconn=4096")
        );
        assert_eq!(queue(Some(4096), 4096).level, Level::Fine);
    }

    #[test]
    fn no_poller_no_server() {
        let found = facts(&system(), &[poller("epoll", Some(38))]);
        assert_eq!(count(&found, Level::Problem), 1);
        assert!(text(&found).contains("cannot run"));
    }
}
