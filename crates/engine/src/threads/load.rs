//! Whether there is so much to do that the threads serve, or so little that the loop does so itself.
//!
//! To wake another thread costs more than a message does. So where there is one message at a time, whoever is awake serves it. How busy the
//! loop is does not tell: with one client that answers at once, or downloads something, it is busy all the time. How many connections a turn
//! deals with does: that many have waited for the same turn, or are written to in it.

/// So many turns are looked at together.
const TURNS: u32 = 64;

/// The threads serve when these turns have more reports than so many each, or when the loop is busy and writes to more connections.
const MANY: u32 = 4;

/// The loop serves when turns have no more reports than so many each, and either write to no more connections or come seldom.
const FEW: u32 = 2;

/// How long the loop has to be at leisure for that, and how long a wait is a pause, in nanoseconds.
const QUIET: u64 = 100_000_000;

/// The loop is busy when it waits for less than one part in so many of its time, and at leisure otherwise. Turns come seldom when it waits
/// for the larger part.
const BUSY: u64 = 4;
const SELDOM: u64 = 2;

/// A handshake counts as so many connections that are written to: it costs the time of many messages.
const HANDSHAKE: u32 = 32;

/// For how long the threads serve at least: so long at first, and twice as long each time that the loop has had the reactors back for no
/// longer than [`SHORT`], up to the longest. To change hands costs wakes as well.
const SHORTEST: u64 = 200_000_000;
const LONGEST: u64 = 10_000_000_000;
const SHORT: u64 = 2_000_000_000;

/// Who is to serve from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Threads,
    Loop,
}

/// One turn of the loop, or several together. All times are in nanoseconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Work {
    /// For how long the loop had waited before.
    pub(super) waited: u64,
    /// How many reports of the threads' reactors it has heard.
    pub(super) reports: u32,
    /// How many of their connections it has written to.
    pub(super) written: u32,
}

impl Work {
    /// A handshake is complete.
    pub(super) fn count_handshake(&mut self) {
        self.written = self.written.saturating_add(HANDSHAKE);
    }
}

/// What is known of the load, and who serves.
pub(super) struct Load {
    on_threads: bool,
    since: u64,
    /// For how long the threads serve at least, this time.
    at_least: u64,
    /// What is looked at together: since when, in how many turns, and what there was.
    began: u64,
    turns: u32,
    work: Work,
}

impl Load {
    /// Nobody has come yet: the loop serves.
    pub(super) fn new(now: u64) -> Load {
        Load {
            on_threads: false,
            since: now,
            at_least: SHORTEST,
            began: now,
            turns: 0,
            work: Work::default(),
        }
    }

    pub(super) fn is_on_threads(&self) -> bool {
        self.on_threads
    }

    /// A turn of the loop is over. Says whether somebody else is to serve from now on.
    pub(super) fn turn(&mut self, now: u64, work: Work) -> Option<Change> {
        let sum = &mut self.work;
        sum.reports = sum.reports.saturating_add(work.reports);
        sum.written = sum.written.saturating_add(work.written);
        sum.waited += work.waited;
        self.turns += u32::from(work.reports > 0 || work.written > 0);
        if self.on_threads {
            return self.look_back(now);
        }
        if work.waited >= QUIET {
            self.look_anew(now);
            self.work.reports = work.reports;
            self.work.written = work.written;
        }
        self.look_ahead(now)
    }

    fn look_ahead(&mut self, now: u64) -> Option<Change> {
        let many = MANY * TURNS;
        if self.work.reports > many || self.work.written > many && !self.waits_for(BUSY, now) {
            self.give_to_threads(now);
            return Some(Change::Threads);
        }
        if self.turns >= TURNS {
            self.look_anew(now);
        }
        None
    }

    fn look_back(&mut self, now: u64) -> Option<Change> {
        if now.saturating_sub(self.began) < QUIET {
            return None;
        }
        let few = FEW * self.turns;
        let is_quiet = self.work.reports <= few
            && self.waits_for(BUSY, now)
            && (self.work.written <= few || self.waits_for(SELDOM, now));
        self.look_anew(now);
        if !is_quiet || now.saturating_sub(self.since) < self.at_least {
            return None;
        }
        self.give_to_loop(now);
        Some(Change::Loop)
    }

    /// Whether the loop waits for one part in so many of its time, or more.
    fn waits_for(&self, part: u64, now: u64) -> bool {
        self.work.waited >= now.saturating_sub(self.began) / part
    }

    /// The loop serves from now on.
    pub(super) fn give_to_loop(&mut self, now: u64) {
        (self.on_threads, self.since) = (false, now);
        self.look_anew(now);
    }

    /// The threads serve from now on, for whatever reason.
    pub(super) fn give_to_threads(&mut self, now: u64) {
        if self.on_threads {
            return;
        }
        self.at_least = if now.saturating_sub(self.since) < SHORT {
            (self.at_least * 2).min(LONGEST)
        } else {
            SHORTEST
        };
        (self.on_threads, self.since) = (true, now);
        self.look_anew(now);
    }

    fn look_anew(&mut self, now: u64) {
        (self.began, self.turns, self.work) = (now, 0, Work::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: u64 = 1_000;
    const SECOND: u64 = 1_000_000_000;

    /// A clock, and turns that take no time beside their waits.
    struct Day {
        now: u64,
        load: Load,
    }

    impl Day {
        fn new() -> Day {
            let now = SECOND;
            Day {
                now,
                load: Load::new(now),
            }
        }

        /// So many turns, each with a wait, some work, reports, and as many answers; until somebody else is to serve.
        fn turns(&mut self, count: u32, wait: u64, work: u64, reports: u32) -> Option<Change> {
            self.turns_with(count, wait, work, reports, reports)
        }

        fn turns_with(
            &mut self,
            count: u32,
            waited: u64,
            work: u64,
            reports: u32,
            written: u32,
        ) -> Option<Change> {
            (0..count).find_map(|_| {
                self.now += waited + work;
                self.load.turn(
                    self.now,
                    Work {
                        waited,
                        reports,
                        written,
                    },
                )
            })
        }

        /// How long it takes until the loop serves again, with one client that asks all the time.
        fn until_quiet(&mut self) -> u64 {
            let began = self.now;
            let change = self.turns(1_000_000, 20 * MICROSECOND, 10 * MICROSECOND, 1);
            assert_eq!(change, Some(Change::Loop));
            self.now - began
        }
    }

    #[test]
    fn one_message_at_a_time_is_the_loops_however_many_there_are() {
        let mut day = Day::new();
        for (wait, work) in [(20, 10), (1, 30), (0, 30)] {
            let change = day.turns(10_000, wait * MICROSECOND, work * MICROSECOND, 1);
            assert_eq!(change, None, "{wait} µs of waiting, {work} of work");
        }
    }

    #[test]
    fn many_at_a_time_are_the_threads() {
        let mut day = Day::new();
        let wait = 20 * MICROSECOND;
        assert_eq!(day.turns(64, wait, wait, 8), Some(Change::Threads));
        assert!(day.load.is_on_threads());
        assert_eq!(day.turns(100_000, wait, wait, 8), None);
        // A crowd need not be there for 64 turns.
        let mut day = Day::new();
        assert_eq!(day.turns(5, wait, wait, 64), Some(Change::Threads));
    }

    #[test]
    fn one_message_to_many_is_the_threads_if_the_loop_is_busy() {
        let mut day = Day::new();
        let work = 30_000 * MICROSECOND;
        let change = day.turns_with(10, MICROSECOND, work, 1, 500);
        assert_eq!(change, Some(Change::Threads));
        assert_eq!(day.turns_with(10_000, work, 2 * work, 1, 500), None);
        let mut day = Day::new();
        for waited in [work, QUIET] {
            assert_eq!(day.turns_with(1000, waited, work, 1, 500), None);
        }
    }

    #[test]
    fn handshakes_without_end_are_the_threads() {
        let mut day = Day::new();
        let mut work = Work::default();
        work.count_handshake();
        // A handshake takes a few turns.
        let change = (0..100).find_map(|turn| {
            day.now += 500 * MICROSECOND;
            let of_this = if turn % 4 == 0 { work } else { Work::default() };
            day.load.turn(
                day.now,
                Work {
                    reports: 1,
                    ..of_this
                },
            )
        });
        assert_eq!(change, Some(Change::Threads));
    }

    #[test]
    fn a_few_now_and_then_are_no_crowd() {
        let mut day = Day::new();
        for _ in 0..1000 {
            assert_eq!(day.turns(1, QUIET, MICROSECOND, 100), None);
        }
    }

    #[test]
    fn a_loop_that_does_not_wait_keeps_its_threads() {
        let mut day = Day::new();
        day.load.give_to_threads(day.now);
        assert_eq!(day.turns(100_000, MICROSECOND, 50 * MICROSECOND, 1), None);
        day.until_quiet();
    }

    #[test]
    fn when_nobody_comes_the_next_one_is_the_loops() {
        let mut day = Day::new();
        day.load.give_to_threads(day.now);
        let change = day.turns(1, 60 * SECOND, MICROSECOND, 1);
        assert_eq!(change, Some(Change::Loop));
    }

    #[test]
    fn who_changes_often_changes_less_often() {
        let mut day = Day::new();
        let mut lasted = Vec::new();
        for _ in 0..9 {
            day.load.give_to_threads(day.now);
            lasted.push(day.until_quiet());
            day.turns(10, MICROSECOND, MICROSECOND, 1);
        }
        assert!(lasted[0] < SECOND, "{lasted:?}");
        assert!(lasted.is_sorted(), "{lasted:?}");
        assert!((LONGEST..2 * LONGEST).contains(&lasted[8]), "{lasted:?}");
        // And once it has lasted, as at the beginning.
        assert_eq!(day.turns(1, 60 * SECOND, MICROSECOND, 1), None);
        day.load.give_to_threads(day.now);
        assert!(day.until_quiet() < SECOND);
    }
}
