//! The timers against a model that is too simple to be wrong: a sorted map.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use timers::{Due, TimerId, Timers};

// Timers are internal to the crate.
#[path = "../src/timers.rs"]
mod timers;

/// What the model knows. Its order is that of the map: by deadline, then by sequence.
#[derive(Default)]
struct Model {
    timers: BTreeMap<(u64, u64), (TimerId, u32)>,
    keys: HashMap<TimerId, (u64, u64)>,
    next_sequence: u64,
    floor: u64,
}

impl Model {
    fn stamp(&mut self, deadline: u64) -> (u64, u64) {
        self.next_sequence += 1;
        (deadline.max(self.floor), self.next_sequence)
    }

    fn insert(&mut self, id: TimerId, deadline: u64, payload: u32) {
        let key = self.stamp(deadline);
        self.timers.insert(key, (id, payload));
        assert_eq!(self.keys.insert(id, key), None, "{id:?} names two timers");
    }

    fn cancel(&mut self, id: TimerId) -> Option<u32> {
        let key = self.keys.remove(&id)?;
        self.timers.remove(&key).map(|(_, payload)| payload)
    }

    fn reschedule(&mut self, id: TimerId, deadline: u64) -> bool {
        let Some(old) = self.keys.remove(&id) else {
            return false;
        };
        let timer = self.timers.remove(&old).unwrap();
        let key = self.stamp(deadline);
        self.timers.insert(key, timer);
        self.keys.insert(id, key);
        true
    }

    /// All that is due before `limit`, found by looking at every timer.
    fn pop(&mut self, now: u64, limit: u64) -> Option<(TimerId, u32)> {
        let key = *self
            .timers
            .keys()
            .find(|(deadline, sequence)| *deadline <= now && *sequence <= limit)?;
        let timer = self.timers.remove(&key)?;
        self.keys.remove(&timer.0);
        Some(timer)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    /// The index is into all ids ever given, so that most of them are stale after a while.
    Cancel(prop::sample::Index),
    Reschedule(prop::sample::Index, u64),
    /// Lets time pass and draws a line.
    BeginDue(u64),
    /// Pops up to so many of what the last line set aside.
    Pop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Few distinct deadlines, so that ties are common.
    let deadline = 0_u64..40;
    prop_oneof![
        6 => deadline.clone().prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        3 => (any::<prop::sample::Index>(), deadline).prop_map(|(id, at)| Step::Reschedule(id, at)),
        1 => (0_u64..5).prop_map(Step::BeginDue),
        2 => (0_usize..4).prop_map(Step::Pop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 0..400)) {
        let mut timers = Timers::new();
        let mut model = Model::default();
        let mut ids: Vec<TimerId> = Vec::new();
        let mut now = 0;
        let mut line: Option<(Due, u64, u64)> = None;

        for (payload, step) in (0..).zip(steps) {
            match step {
                Step::Insert(deadline) => {
                    let id = timers.insert(deadline, payload);
                    prop_assert_eq!(id.to_bits() >> 53, 0);
                    prop_assert_eq!(TimerId::from_bits(id.to_bits()), id);
                    model.insert(id, deadline, payload);
                    ids.push(id);
                }
                Step::Cancel(index) if !ids.is_empty() => {
                    let id = *index.get(&ids);
                    prop_assert_eq!(timers.cancel(id), model.cancel(id));
                }
                Step::Reschedule(index, deadline) if !ids.is_empty() => {
                    let id = *index.get(&ids);
                    prop_assert_eq!(timers.reschedule(id, deadline), model.reschedule(id, deadline));
                }
                Step::BeginDue(passed) => {
                    now += passed;
                    model.floor = now;
                    line = Some((timers.begin_due(now), now, model.next_sequence));
                }
                Step::Pop(count) => if let Some((due, now, limit)) = line {
                    for _ in 0..count {
                        prop_assert_eq!(timers.pop(due), model.pop(now, limit));
                    }
                }
                Step::Cancel(_) | Step::Reschedule(..) => {}
            }

            prop_assert_eq!(timers.len(), model.timers.len());
            prop_assert_eq!(timers.next_deadline(), model.timers.keys().next().map(|key| key.0));
            for id in &ids {
                let key = model.keys.get(id);
                prop_assert_eq!(timers.deadline(*id), key.map(|key| key.0));
                prop_assert_eq!(timers.get(*id), key.map(|key| &model.timers[key].1));
            }
        }
    }

    /// Ids come back from Lua as plain numbers: any of them must be harmless.
    #[test]
    fn made_up_ids_name_nothing(bits: u64, live in 0_u64..20, cancelled in 0_usize..20) {
        let mut timers = Timers::new();
        let mut ids: Vec<_> = (0..live).map(|deadline| timers.insert(deadline, ())).collect();
        for id in ids.drain(..cancelled.min(ids.len())) {
            timers.cancel(id);
        }
        // The low half decides where to look: try it large and small.
        for bits in [bits, bits & 0xff, bits & 0xff_0000_001f, bits | 1 << 63] {
            let id = TimerId::from_bits(bits);
            prop_assert_eq!(timers.get(id).is_some(), ids.contains(&id));
        }
    }
}

/// The rule of the turn: due timers are set aside before any runs.
#[test]
fn a_timer_that_rearms_itself_runs_once_a_turn() {
    let mut timers = Timers::new();
    for name in ["a", "b", "c"] {
        timers.insert(10, name);
    }
    for now in [20, 20, 30] {
        let due = timers.begin_due(now);
        let mut ran = Vec::new();
        while let Some((_, name)) = timers.pop(due) {
            ran.push(name);
            // Now, in the past, and before all others: none of it runs in this turn, nor hides those that do.
            timers.insert([now, 5, 0][ran.len() % 3], name);
        }
        assert_eq!(ran, ["a", "b", "c"], "at {now}");
    }
}

#[test]
fn rescheduling_counts_as_inserting() {
    let mut timers = Timers::new();
    let first = timers.insert(10, "first");
    let second = timers.insert(10, "second");
    let due = timers.begin_due(10);
    assert!(timers.reschedule(first, 0));
    assert_eq!(timers.pop(due), Some((second, "second")));
    assert_eq!(timers.pop(due), None);
    let due = timers.begin_due(10);
    assert_eq!(timers.pop(due), Some((first, "first")));
}

#[test]
fn a_due_timer_can_be_cancelled_by_the_one_before_it() {
    let mut timers = Timers::new();
    let first = timers.insert(1, "first");
    let second = timers.insert(2, "second");
    let due = timers.begin_due(5);
    assert_eq!(timers.pop(due), Some((first, "first")));
    assert_eq!(timers.cancel(second), Some("second"));
    assert_eq!(timers.pop(due), None);
    assert_eq!(timers.cancel(second), None);
}

#[test]
fn a_stale_id_misses_whoever_got_the_slot() {
    let mut timers = Timers::new();
    let stale = timers.insert(1, "old");
    timers.cancel(stale);
    let fresh = timers.insert(1, "new");
    assert_ne!(stale, fresh);
    assert_eq!(timers.get(stale), None);
    assert!(!timers.reschedule(stale, 9));
    assert_eq!(timers.cancel(stale), None);
    assert_eq!(timers.get(fresh), Some(&"new"));
}

/// The id that the slot would give out next is not one yet.
#[test]
fn a_guessed_id_names_nothing() {
    let mut timers = Timers::new();
    let ids: Vec<_> = (0..6).map(|deadline| timers.insert(deadline, ())).collect();
    for id in &ids[..3] {
        timers.cancel(*id);
    }
    for id in &ids[..3] {
        let next = TimerId::from_bits(id.to_bits() + (1 << 28));
        assert_eq!(timers.get(next), None, "{next:?}");
        assert_eq!(timers.cancel(next), None, "{next:?}");
    }
    assert_eq!(timers.len(), 3);
    assert!(timers.memory() >= 3 * size_of::<(u64, u64)>());
}

/// What a server with a million idle connections does to its timers.
#[test]
fn a_million_deadlines() {
    const COUNT: u64 = 1_000_000;
    const SPAN: u64 = 600_000_000_000;
    // A full-period generator: spread out and the same in every run.
    let scatter = |n: u64| n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) >> 24;

    let mut timers = Timers::new();
    let mut expected: Vec<(u64, u64)> = Vec::new();
    let ids: Vec<_> = (0..COUNT)
        .map(|n| timers.insert(scatter(n) % SPAN, n))
        .collect();
    for (n, id) in (0..).zip(&ids) {
        let deadline = scatter(n ^ 0x5555) % SPAN;
        assert!(timers.reschedule(*id, deadline));
        if n % 2 == 0 {
            assert_eq!(timers.cancel(*id), Some(n));
        } else {
            expected.push((deadline, n));
        }
    }
    // Rescheduled in the order of their payloads, so that is how ties are broken.
    expected.sort_unstable();

    let due = timers.begin_due(SPAN);
    for (deadline, n) in expected {
        assert_eq!(timers.next_deadline(), Some(deadline));
        let (id, payload) = timers.pop(due).unwrap();
        assert_eq!((id, payload), (ids[n as usize], n));
    }
    assert_eq!(timers.pop(due), None);
    assert_eq!(timers.len(), 0);
}
