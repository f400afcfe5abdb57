//! The screen: what is counted above, a list below. It needs 80 columns and no colours.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table};

use super::rows::{List, shown};
use super::state::State;
use crate::statistics::report::number;
use crate::statistics::units::{bytes, count, part, time};

const HELP: [&str; 15] = [
    "1 2 3 4, Tab   connections, addresses, errors, slow callbacks",
    "s              another order of the list",
    "/              only rows with a text; Enter keeps it, Esc removes it",
    "up, down, PgUp, PgDn, Home   scroll",
    "q, Ctrl-C      quit",
    "",
    "new: accepted connections. late: newcomers that said nothing, or did",
    "not log in, in time. turn: what the loop does between two waits; who",
    "comes meanwhile waits for as long. queued: what a peer has yet to take.",
    "half/99 %: how long most turns and callbacks took, how late timers",
    "came, how long TLS handshakes took. The bounds are powers of two, and",
    "what has come since the screen before counts.",
    "used: how much of what there may be. Where it is full, others wait.",
    "",
    "Of connections, those with most traffic, queue and round trip are listed.",
];

pub fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let head = head(state);
    let [top, tabs, list, bottom] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    let rows = state.list.rows(
        &state.report,
        state.order(),
        &state.filter,
        frame.area().width,
    );
    // The last row stays on the screen.
    state.first = state.first.min(rows.len().saturating_sub(1));
    frame.render_widget(tab_line(state, rows.len()), tabs);
    draw_list(frame, state, rows, list);
    frame.render_widget(bottom_line(state), bottom);
    if state.helps {
        draw_help(frame);
    }
}

fn head(state: &State) -> Vec<Line<'static>> {
    let report = &state.report;
    let rate = |counter| shown(state.rate(counter));
    let size = |counter| {
        let rate = state.rate(counter);
        rate.map_or_else(|| "-".into(), |rate| format!("{}/s", bytes(rate)))
    };
    let refused = [
        "refused_by_rate",
        "refused_by_count",
        "refused_handshakes",
        "turned_away",
    ];
    let refused = refused
        .iter()
        .map(|name| state.rate(name))
        .sum::<Option<f64>>();
    let busy: Vec<String> = state
        .busy()
        .iter()
        .map(|part| format!("{:.0}", part * 100.0))
        .collect();
    let turn = match (state.rate("busy_nanoseconds"), state.rate("turns")) {
        (Some(busy), Some(turns)) if turns > 0.0 => format!("{:.1} ms", busy / turns / 1e6),
        _ => "-".into(),
    };
    let limit = |seconds: f64| {
        if seconds.is_finite() {
            time(seconds)
        } else {
            "more".into()
        }
    };
    let spread = |name| {
        let found = state.spread(name);
        found.map_or_else(
            || "-".into(),
            |(half, most)| format!("{}/{}", limit(half), limit(most)),
        )
    };
    let gauge = |name: &str| number(&report.gauges, name);
    vec![
        Line::styled(
            format!(
                "trochee top: {}, poller {}, up {}",
                report.serves,
                report.poller,
                time(report.uptime)
            ),
            Modifier::BOLD,
        ),
        Line::from(format!(
            "connections {}: {}",
            report.connection_count,
            report.by_stage()
        )),
        Line::from(format!(
            "new {}, logged in {}, ended {}, refused {}, timed out {}, late {}",
            rate("accepted"),
            rate("authenticated"),
            rate("ended"),
            shown(refused),
            rate("timed_out"),
            rate("newcomers_late"),
        )),
        Line::from(format!(
            "in {}, out {}; TLS {}, {} of it resumed, {} failed",
            size("received_bytes"),
            size("sent_bytes"),
            rate("handshakes"),
            rate("handshakes_resumed"),
            rate("tls_failures"),
        )),
        Line::from(format!(
            "busy {} %; turns {} of {turn}; over 10 ms {}, 100 ms {}, 1 s {}",
            if busy.is_empty() {
                "-".into()
            } else {
                busy.join(" ")
            },
            rate("turns"),
            rate("turns_over_10ms"),
            rate("turns_over_100ms"),
            rate("turns_over_1s"),
        )),
        Line::from(format!(
            "half/99 % up to: turns {}, late {}, calls {}, TLS {}",
            spread("turn_seconds"),
            spread("lag_seconds"),
            spread("callback_seconds"),
            spread("handshake_seconds"),
        )),
        Line::from(format!(
            "used: descriptors {}, places {}, queued {}, handshakes {}",
            part(gauge("descriptors"), gauge("descriptors_allowed"), count),
            part(gauge("places"), gauge("places_allowed"), count),
            part(
                gauge("queued_memory_bytes"),
                gauge("queued_memory_allowed_bytes"),
                bytes
            ),
            part(
                gauge("waiting_handshakes"),
                gauge("waiting_handshakes_allowed"),
                count
            ),
        )),
    ]
}

fn tab_line(state: &State, rows: usize) -> Line<'static> {
    let reversed = Style::from(Modifier::REVERSED);
    let mut spans = Vec::new();
    for (place, list) in List::ALL.into_iter().enumerate() {
        let style = if list == state.list {
            reversed
        } else {
            Style::new()
        };
        spans.push(Span::styled(
            format!(" {} {} ", place + 1, list.name()),
            style,
        ));
    }
    let all = match state.list {
        List::Connections => state.report.connection_count,
        List::Addresses => state.report.address_count,
        List::Errors | List::Slow => rows,
    };
    let order = state
        .list
        .orders()
        .get(state.order())
        .copied()
        .unwrap_or_default();
    spans.push(Span::raw(format!("  by {order}, {rows} of {all}")));
    Line::from(spans)
}

fn draw_list(frame: &mut Frame<'_>, state: &State, rows: Vec<Vec<String>>, area: Rect) {
    let columns = state.list.columns(frame.area().width);
    let titles = columns.iter().map(|(title, _)| *title);
    let shown = rows.into_iter().skip(state.first).take(area.height.into());
    let table = Table::new(shown.map(Row::new), columns.iter().map(|(_, width)| *width))
        .header(Row::new(titles).style(Modifier::UNDERLINED))
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn bottom_line(state: &State) -> Line<'static> {
    if state.types {
        return Line::from(format!("/{}_", state.filter));
    }
    if let Some(trouble) = &state.trouble {
        return Line::styled(format!("reconnecting: {trouble}"), Modifier::REVERSED);
    }
    let filter = if state.filter.is_empty() {
        String::new()
    } else {
        format!("   only rows with {:?}", state.filter)
    };
    Line::from(format!(
        "q quit   Tab list   s sort   / filter   ? help{filter}"
    ))
}

fn draw_help(frame: &mut Frame<'_>) {
    let width = HELP.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 4;
    let height = HELP.len() as u16 + 2;
    let area = frame.area();
    let area = Rect {
        x: area.width.saturating_sub(width) / 2,
        y: area.height.saturating_sub(height) / 2,
        width: width.min(area.width),
        height: height.min(area.height),
    };
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|line| Line::from(format!(" {line}")))
        .collect();
    let block = Block::bordered().title(" trochee top ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::*;
    use crate::statistics::Report;
    use crate::statistics::report::{Connection, Entry};

    fn screen(state: &mut State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let lines = cells.chunks(width.into()).map(|line| line.concat());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn busy_server() -> State {
        let connection = |number: u32| Connection {
            id: format!("conn{number}"),
            stage: "established".into(),
            address: Some(format!("192.0.2.{number}")),
            service: "c2s".into(),
            tls: Some("TLSv1.3".into()),
            idle: 12.0,
            queued: u64::from(number) * 1000,
            rate: 1000.0 / f64::from(number),
            round_trip: Some(0.012),
            session: format!("user{number}@example.org/phone (c2s)"),
            ..Connection::default()
        };
        State::new(Report {
            serves: "Prosody 13.0.2".into(),
            poller: "epoll".into(),
            connections: (1..=40).map(connection).collect(),
            connection_count: 1234,
            errors: vec![Entry {
                what: "a handshake failed".into(),
                ..Entry::default()
            }],
            ..Report::default()
        })
    }

    #[test]
    fn a_screen_of_80_columns_is_enough() {
        let mut state = busy_server();
        let shown = screen(&mut state, 80, 24);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[0].starts_with("trochee top: Prosody 13.0.2, poller epoll"),
            "{shown}"
        );
        assert!(lines[7].contains("by rate, 40 of 1234"), "{shown}");
        assert!(
            lines[9].contains("conn1 ") && lines[9].contains("1.3"),
            "{shown}"
        );
        assert!(
            lines[9].contains("12 ms") && lines[9].contains("user1@ex"),
            "{shown}"
        );
        assert!(lines[23].starts_with("q quit"), "{shown}");
        // Much smaller ones are no reason to fall.
        for size in [(80, 5), (20, 24), (1, 1)] {
            screen(&mut state, size.0, size.1);
        }
    }

    #[test]
    fn keys_change_what_is_shown() {
        let mut state = busy_server();
        let press = |state: &mut State, code| assert!(state.press(KeyEvent::from(code)));
        press(&mut state, KeyCode::Char('s'));
        let shown = screen(&mut state, 80, 24);
        assert!(shown.lines().nth(9).unwrap().contains("conn40"), "{shown}");
        for key in "/192.0.2.7".chars() {
            press(&mut state, KeyCode::Char(key));
        }
        press(&mut state, KeyCode::Enter);
        let shown = screen(&mut state, 80, 24);
        assert!(
            shown.contains("1 of 1234") && shown.contains("conn7 "),
            "{shown}"
        );
        press(&mut state, KeyCode::Char('3'));
        press(&mut state, KeyCode::Esc);
        assert!(screen(&mut state, 80, 24).contains("a handshake failed"));
        press(&mut state, KeyCode::Char('?'));
        assert!(screen(&mut state, 80, 24).contains("another order"));
        press(&mut state, KeyCode::Char('?'));
        state.trouble = Some("no server answers".into());
        assert!(screen(&mut state, 80, 24).contains("reconnecting: no server answers"));
    }

    #[test]
    fn scrolling_ends_with_the_last_row() {
        let mut state = busy_server();
        for _ in 0..10 {
            state.press(KeyEvent::from(KeyCode::PageDown));
        }
        let shown = screen(&mut state, 200, 24);
        assert!(
            shown.contains("conn40") && !shown.contains("conn39 "),
            "{shown}"
        );
        assert_eq!(state.first, 39);
    }
}
