//! `trochee backends`

use std::fmt::Write;
use std::io;

use trochee::poller::Backend;

/// A poller of this build, and whether it works here.
pub struct Poller {
    pub name: &'static str,
    pub summary: &'static str,
    /// Why it does not work here.
    pub refusal: Option<io::Error>,
    /// Whether "auto" chooses it.
    pub auto: bool,
}

/// Opens each of them once. The order stays.
pub fn probe(backends: &[Backend]) -> Vec<Poller> {
    let mut best = None;
    let mut pollers = Vec::new();
    for backend in backends {
        let refusal = (backend.open)().err();
        if refusal.is_none() && best.is_none_or(|(preference, _)| backend.preference > preference) {
            best = Some((backend.preference, pollers.len()));
        }
        pollers.push(Poller {
            name: backend.name,
            summary: backend.summary,
            refusal,
            auto: false,
        });
    }
    if let Some((_, index)) = best {
        pollers[index].auto = true;
    }
    pollers
}

/// A line for each poller, and one for "auto".
pub fn list(pollers: &[Poller]) -> String {
    let mut text = String::new();
    for poller in pollers {
        let state = match &poller.refusal {
            None => "available".to_owned(),
            Some(reason) => format!("not available: {reason}"),
        };
        // Writing to a String does not fail, here and below.
        let _ = writeln!(text, "{:<8} {state}", poller.name);
        let _ = writeln!(text, "{:<8} {}", "", poller.summary);
    }
    let auto = match pollers.iter().find(|poller| poller.auto) {
        Some(poller) => format!("chooses {}", poller.name),
        None => "finds nothing that works here".to_owned(),
    };
    let _ = writeln!(text, "{:<8} {auto}", "auto");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn works() -> io::Result<Box<dyn trochee::Poller>> {
        trochee::poller::open("poll").map_err(io::Error::other)
    }

    fn refuses() -> io::Result<Box<dyn trochee::Poller>> {
        Err(io::Error::from_raw_os_error(38))
    }

    fn backend(
        name: &'static str,
        preference: u8,
        open: fn() -> io::Result<Box<dyn trochee::Poller>>,
    ) -> Backend {
        let mut backend = trochee::poller::BACKENDS[0];
        backend.name = name;
        backend.preference = preference;
        backend.summary = "one of them";
        backend.open = open;
        backend
    }

    #[test]
    fn auto_takes_the_best_that_works() {
        let table = [
            backend("low", 1, works),
            backend("high", 2, works),
            backend("broken", 3, refuses),
        ];
        assert_eq!(
            list(&probe(&table)),
            "low      available\n         one of them\n\
             high     available\n         one of them\n\
             broken   not available: Function not implemented (os error 38)\n         one of them\n\
             auto     chooses high\n"
        );
    }

    #[test]
    fn where_nothing_works_it_says_so() {
        let text = list(&probe(&[backend("broken", 3, refuses)]));
        assert!(text.ends_with("auto     finds nothing that works here\n"));
    }
}
