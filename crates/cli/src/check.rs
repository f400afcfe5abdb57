//! `trochee check`

use std::fmt::Write;
use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::backends::Poller;

/// A limit of descriptors below this gets advice: a public server may have this many users at once.
const FEW_DESCRIPTORS: u64 = 16_384;

/// The oldest Linux on which Rust's standard library works.
const OLDEST_KERNEL: (u32, u32) = (3, 2);

/// What an operator can change.
pub struct System {
    /// The kernel's name and release.
    pub kernel: (String, String),
    /// How many descriptors a process may have; `None` is no limit.
    pub soft: Option<u64>,
    /// How far it may raise that limit itself.
    pub hard: Option<u64>,
    /// `net.core.somaxconn`, where it can be read.
    pub somaxconn: Option<u32>,
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
            soft: limit.current,
            hard: limit.maximum,
            somaxconn: fs::read_to_string("/proc/sys/net/core/somaxconn")
                .ok()
                .and_then(|text| text.trim().parse().ok()),
        }
    }
}

/// One line for each fact, and below it, indented, what to do about it if anything.
pub fn report(system: &System, pollers: &[Poller]) -> String {
    let facts = [
        kernel(&system.kernel),
        descriptors(system.soft, system.hard),
        queue(system.somaxconn),
    ];
    let mut text = String::new();
    for (subject, state, advice) in facts.into_iter().chain(pollers.iter().map(poller)) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{subject:<20} {state}");
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<20} -> {advice}", "");
        }
    }
    if !pollers.iter().any(|poller| poller.refusal.is_none()) {
        text.push_str("No poller works here: a server cannot run.\n");
    }
    text
}

type Fact = (String, String, Option<String>);

fn kernel((name, release): &(String, String)) -> Fact {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    let old = name == "Linux" && version.is_some_and(|version| version < OLDEST_KERNEL);
    let advice = old.then(|| {
        let (major, minor) = OLDEST_KERNEL;
        format!("too old: trochee needs Linux {major}.{minor} or later")
    });
    ("kernel".to_owned(), format!("{name} {release}"), advice)
}

fn descriptors(soft: Option<u64>, hard: Option<u64>) -> Fact {
    let number =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let state = format!("{} (soft), {} (hard)", number(soft), number(hard));
    let advice = match hard {
        Some(hard) if hard < FEW_DESCRIPTORS => Some(format!(
            "every connection takes one, so fewer than {hard} at a time: raise the hard limit \
             (LimitNOFILE= in the systemd unit, nofile in limits.conf)"
        )),
        _ if soft != hard => Some(
            "no need to act: trochee raises the soft limit to the hard limit itself".to_owned(),
        ),
        _ => None,
    };
    ("file descriptors".to_owned(), state, advice)
}

fn queue(somaxconn: Option<u32>) -> Fact {
    let wanted = trochee::Config::default().backlog;
    let state = somaxconn.map_or("unknown".to_owned(), |limit| limit.to_string());
    let advice = match somaxconn {
        Some(limit) if limit < wanted => Some(format!(
            "when everybody reconnects at once, all but {limit} wait a second or more: \
             sysctl -w net.core.somaxconn={wanted}"
        )),
        Some(_) => None,
        None => Some(format!(
            "could not be read; it should be {wanted} or more for many clients to reconnect at once"
        )),
    };
    ("net.core.somaxconn".to_owned(), state, advice)
}

fn poller(poller: &Poller) -> Fact {
    let state = match &poller.refusal {
        None if poller.auto => "works; \"auto\" chooses it".to_owned(),
        None => "works".to_owned(),
        Some(reason) => format!("does not work: {reason}"),
    };
    let advice = (poller.name == "select").then(|| {
        "cannot hold a descriptor numbered 1024 or higher, whatever the limit: for small servers only"
            .to_owned()
    });
    (format!("poller {}", poller.name), state, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        System {
            kernel: ("Linux".to_owned(), "6.1.0-13-amd64".to_owned()),
            soft: Some(524_288),
            hard: Some(524_288),
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

    #[test]
    fn a_good_machine_needs_no_advice() {
        assert_eq!(
            report(&system(), &[poller("epoll", None)]),
            "kernel               Linux 6.1.0-13-amd64\n\
             file descriptors     524288 (soft), 524288 (hard)\n\
             net.core.somaxconn   4096\n\
             poller epoll         works; \"auto\" chooses it\n"
        );
    }

    #[test]
    fn what_limits_comes_with_a_word_of_advice() {
        let text = report(
            &System {
                kernel: ("Linux".to_owned(), "2.6.32-5".to_owned()),
                soft: Some(1024),
                hard: Some(4096),
                somaxconn: Some(128),
            },
            &[poller("epoll", Some(38)), poller("select", None)],
        );
        for advice in [
            "needs Linux 3.2",
            "LimitNOFILE",
            "sysctl -w net.core.somaxconn=4096",
            "does not work: Function not implemented",
            "1024",
        ] {
            assert!(text.contains(advice), "{advice:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_soft_limit_is_no_reason_to_act() {
        let soft = Some(1024);
        let text = report(&System { soft, ..system() }, &[poller("epoll", None)]);
        assert!(text.contains("no need to act"), "{text}");
    }

    #[test]
    fn no_poller_no_server() {
        let text = report(&system(), &[poller("epoll", Some(38))]);
        assert!(text.contains("cannot run"), "{text}");
    }
}
