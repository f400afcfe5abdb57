//! What a reactor counts by the name of a kind: why connections ended, which ciphers they have.

use std::borrow::Cow;
use std::ops::AddAssign;

/// So many names are told apart. What has another one is counted as [`OTHER`], so that no peer can make it grow.
const MOST_NAMES: usize = 64;

/// A name is cut off behind so many bytes.
const LONGEST_NAME: usize = 80;

const OTHER: &str = "other";

/// How often something happened, by the name of its kind: see [`Tallies`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(Vec<(Cow<'static, str>, u64)>);

impl Tally {
    pub(crate) fn add(&mut self, name: impl Into<Cow<'static, str>>) {
        self.add_many(name.into(), 1);
    }

    fn add_many(&mut self, name: Cow<'static, str>, count: u64) {
        let name = short(name);
        if self.count(&name, count) || self.0.len() >= MOST_NAMES && self.count(OTHER, count) {
            return;
        }
        let is_last = self.0.len() + 1 >= MOST_NAMES;
        self.0
            .push((if is_last { OTHER.into() } else { name }, count));
    }

    /// Counts under a name that is there. False: it is not.
    fn count(&mut self, name: &str, count: u64) -> bool {
        let found = self.0.iter_mut().find(|(known, _)| known == name);
        if let Some((_, sum)) = found {
            *sum += count;
            return true;
        }
        false
    }

    /// The names, and how often each was counted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (&**name, *count))
    }

    /// How often this name was counted.
    pub fn get(&self, name: &str) -> u64 {
        let mut all = self.iter();
        all.find(|(known, _)| *known == name)
            .map_or(0, |(_, count)| count)
    }
}

fn short(name: Cow<'static, str>) -> Cow<'static, str> {
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let mut name = name.into_owned();
    let end = (0..=LONGEST_NAME)
        .rev()
        .find(|end| name.is_char_boundary(*end));
    name.truncate(end.unwrap_or(0));
    name.into()
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        for (name, count) in &other.0 {
            self.add_many(name.clone(), *count);
        }
    }
}

/// The tallies, each with what it counts and what its names are. A new one is a line here, the place that adds to it, and a row in
/// docs/counters.md.
macro_rules! tallies {
    ($($(#[doc = $about:literal])* $name:ident by $label:ident;)*) => {
        /// What has happened since the start, by kind: as [`Stats`](crate::Stats), with a number for each name. Names are added when
        /// they are needed.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Tallies {
            $($(#[doc = $about])* pub $name: Tally,)*
        }

        impl Tallies {
            /// What each tally counts, in the order of their declaration: its name, what the kinds are called, and the text.
            pub fn describe() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> + Clone {
                [$((stringify!($name), stringify!($label), concat!($($about),*).trim_ascii())),*].into_iter()
            }

            /// All tallies by name, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Tally)> {
                [$((stringify!($name), &self.$name)),*].into_iter()
            }
        }

        impl AddAssign<&Tallies> for Tallies {
            fn add_assign(&mut self, other: &Tallies) {
                $(self.$name += &other.$name;)*
            }
        }
    };
}

tallies! {
    /// Connections that are over, by the reason that the log has for it.
    closed_connections by reason;
    /// TLS handshakes and sessions that failed, by the reason that the log has for it.
    failed_tls by reason;
    /// TLS handshakes that were completed, by the cipher suite that they agreed on.
    agreed_ciphers by cipher;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_added_up() {
        let mut tally = Tally::default();
        tally.add("a");
        tally.add(String::from("a"));
        tally.add("b");
        let mut sum = tally.clone();
        sum += &tally;
        assert_eq!((sum.get("a"), sum.get("b"), sum.get("c")), (4, 2, 0));
        assert_eq!(sum.iter().map(|(_, count)| count).sum::<u64>(), 6);
    }

    #[test]
    fn whoever_invents_names_makes_it_no_larger() {
        let mut tally = Tally::default();
        for number in 0..1000 {
            tally.add(format!("name {number}"));
        }
        let count = tally.iter().count();
        assert_eq!(count, 64, "fails its handshakes in ever new ways");
        assert_eq!(tally.get(OTHER), 1000 - (MOST_NAMES as u64 - 1));
        assert_eq!(tally.get("name 5"), 1);
        let mut long = Tally::default();
        long.add("é".repeat(1000));
        assert_eq!(long.get(&"é".repeat(LONGEST_NAME / 2)), 1);
    }
}
