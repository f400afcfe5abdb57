//! What the screen shows: two reports, of which the difference gives the rates, and what the keys have chosen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rows::List;
use crate::statistics::Report;
use crate::statistics::report::{Numbers, number};

/// What is shown.
pub struct State {
    pub report: Report,
    before: Option<Report>,
    /// Why the report is not new.
    pub trouble: Option<String>,
    pub list: List,
    /// Which order each list has, by its place in [`List::orders`].
    orders: [usize; List::ALL.len()],
    /// Rows have to have this text.
    pub filter: String,
    /// The filter is being typed.
    pub types: bool,
    pub helps: bool,
    /// The first row that is shown.
    pub first: usize,
}

impl State {
    pub fn new(report: Report) -> State {
        State {
            report,
            before: None,
            trouble: None,
            list: List::Connections,
            orders: [0; List::ALL.len()],
            filter: String::new(),
            types: false,
            helps: false,
            first: 0,
        }
    }

    /// The server has answered.
    pub fn learn(&mut self, report: Report) {
        let before = std::mem::replace(&mut self.report, report);
        // One that was restarted counts from the beginning.
        let goes_on = before.uptime <= self.report.uptime && before.time < self.report.time;
        self.before = goes_on.then_some(before);
        self.trouble = None;
    }

    /// A key was pressed. False: it was the last one.
    pub fn press(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return !matches!(key.code, KeyCode::Char('c'));
        }
        if self.types {
            self.type_filter(key.code);
            return true;
        }
        if std::mem::take(&mut self.helps) {
            return key.code != KeyCode::Char('q');
        }
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('?' | 'h') => self.helps = true,
            KeyCode::Char('/') => self.types = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('s') => {
                let count = self.list.orders().len();
                let order = &mut self.orders[self.list as usize];
                *order = (*order + 1) % count.max(1);
            }
            KeyCode::Tab => self.turn_to(self.list as usize + 1),
            KeyCode::BackTab => self.turn_to(self.list as usize + List::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='4') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Down => self.first += 1,
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown => self.first += 10,
            KeyCode::PageUp => self.first = self.first.saturating_sub(10),
            KeyCode::Home => self.first = 0,
            _ => {}
        }
        true
    }

    fn type_filter(&mut self, key: KeyCode) {
        self.first = 0;
        match key {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => self.types = false,
            KeyCode::Esc => {
                self.types = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    fn turn_to(&mut self, list: usize) {
        self.list = List::ALL[list % List::ALL.len()];
        self.first = 0;
    }

    /// The place of the order in [`List::orders`].
    pub fn order(&self) -> usize {
        self.orders[self.list as usize]
    }

    /// How much a counter has grown a second; `None` until the server has answered twice.
    pub fn rate(&self, counter: &str) -> Option<f64> {
        let before = self.before.as_ref()?;
        Some(self.growth(&before.counters, &self.report.counters, counter))
    }

    /// What half and what 99 % of a histogram are not above, of what has come since the report before.
    pub fn spread(&self, histogram: &str) -> Option<(f64, f64)> {
        let now = self.report.histograms.get(histogram)?;
        let before = self.before.as_ref()?.histograms.get(histogram)?;
        let new = now.since(before);
        Some((new.quantile(0.5)?, new.quantile(0.99)?))
    }

    /// Which part of its time each thread was busy.
    pub fn busy(&self) -> Vec<f64> {
        let Some(before) = &self.before else {
            return Vec::new();
        };
        let threads = before.threads.iter().zip(&self.report.threads);
        threads
            .map(|(before, now)| self.growth(before, now, "busy_nanoseconds") / 1e9)
            .collect()
    }

    fn growth(&self, before: &Numbers, now: &Numbers, counter: &str) -> f64 {
        let time = self
            .before
            .as_ref()
            .map_or(1.0, |before| self.report.time - before.time);
        (number(now, counter) - number(before, counter)).max(0.0) / time.max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::report::Histogram;

    fn report(time: f64, turns: u64) -> Report {
        let mut report = Report {
            time,
            uptime: time - 100.0,
            ..Report::default()
        };
        report.counters.insert("turns".into(), turns.into());
        let turned = Histogram {
            bounds: vec![0.001, 0.002],
            counts: vec![turns, 2 * turns, 2 * turns],
            sum: 0.0,
        };
        report.histograms.insert("turn_seconds".into(), turned);
        report.threads = vec![Numbers::from([(
            "busy_nanoseconds".into(),
            (turns * 1_000_000).into(),
        )])];
        report
    }

    #[test]
    fn rates_are_those_between_two_answers_of_the_same_server() {
        let mut state = State::new(report(200.0, 1000));
        assert_eq!(state.rate("turns"), None);
        state.learn(report(204.0, 1400));
        assert_eq!(state.rate("turns"), Some(100.0));
        assert_eq!(state.busy(), [0.1]);
        assert_eq!(state.spread("turn_seconds"), Some((0.001, 0.002)));
        assert_eq!(state.spread("lag_seconds"), None);
        // Restarted.
        state.trouble = Some("reconnecting".into());
        state.learn(Report {
            uptime: 1.0,
            ..report(206.0, 3)
        });
        assert_eq!((state.rate("turns"), &state.trouble), (None, &None));
        state.learn(Report {
            uptime: 3.0,
            ..report(208.0, 5)
        });
        assert_eq!(state.rate("turns"), Some(1.0));
    }

    #[test]
    fn keys_choose_lists_orders_and_filters_and_end() {
        let mut state = State::new(Report::default());
        let press = |state: &mut State, code| state.press(KeyEvent::from(code));
        assert!(press(&mut state, KeyCode::Tab));
        assert_eq!(state.list, List::Addresses);
        assert!(press(&mut state, KeyCode::Char('s')));
        assert_eq!(state.order(), 1);
        assert!(press(&mut state, KeyCode::Char('1')));
        assert_eq!((state.list, state.order()), (List::Connections, 0));
        for letter in "/qx".chars() {
            // Here q is a letter.
            assert!(press(&mut state, KeyCode::Char(letter)));
        }
        press(&mut state, KeyCode::Backspace);
        press(&mut state, KeyCode::Enter);
        assert_eq!((&*state.filter, state.types), ("q", false));
        press(&mut state, KeyCode::Esc);
        assert_eq!(state.filter, "");
        assert!(!press(&mut state, KeyCode::Char('q')));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        state.types = true;
        assert!(!state.press(control_c));
    }
}
