//! `trochee top`: a running server, on a screen that goes on.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use trochee::{Event, Reactor};

use crate::statistics::{Client, Report};
use state::State;

mod rows;
mod state;
mod view;

/// How long a key may wait.
const TICK: Duration = Duration::from_millis(50);

/// How long the screen has to end by itself after a signal.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections are asked for in each order.
const MOST: usize = 100;

/// `trochee top`
#[derive(Args)]
pub struct Options {
    /// The UNIX socket of the server: network_settings.stats_socket of Prosody, --stats-socket of the relay. Unless named, where
    /// Debian's Prosody has it
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How often the server is asked
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,
}

/// What the screen hears of.
enum News {
    Report(Box<Report>),
    /// The server does not answer, and is asked again.
    Trouble(String),
    /// Somebody wants us to end.
    End,
}

/// Shows the server until somebody has seen enough.
///
/// # Errors
///
/// In words for the operator: above all that no server answers. Once one has, it may go and come back.
pub fn run(options: &Options) -> Result<(), String> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("top needs a terminal; `trochee stats` prints once".into());
    }
    let mut client = Client::new(options.socket.as_deref());
    let (_, report) = client.ask(MOST)?;
    let (tell, news) = mpsc::channel();
    watch_signals(tell.clone())?;
    let interval = options.interval;
    thread::spawn(move || keep_asking(client, interval, &tell));
    // A panic puts the terminal right as well.
    let mut terminal =
        ratatui::try_init().map_err(|error| format!("the terminal cannot be used: {error}"))?;
    let outcome = show(&mut terminal, report, &news);
    ratatui::restore();
    outcome.map_err(|error| format!("the terminal is gone: {error}"))
}

fn show(terminal: &mut DefaultTerminal, first: Report, news: &Receiver<News>) -> io::Result<()> {
    let mut state = State::new(first);
    let mut size = terminal.size()?;
    let mut is_new = true;
    loop {
        if is_new {
            terminal.draw(|frame| view::draw(frame, &mut state))?;
        }
        is_new = false;
        match wait_for_input()? {
            Waited::Gone => return Ok(()),
            Waited::Nothing => {}
            Waited::Input => {
                while event::poll(Duration::ZERO)? {
                    is_new = true;
                    if let Input::Key(key) = event::read()?
                        && key.kind == KeyEventKind::Press
                        && !state.press(key)
                    {
                        return Ok(());
                    }
                }
            }
        }
        let before = std::mem::replace(&mut size, terminal.size()?);
        is_new |= size != before;
        loop {
            match news.try_recv() {
                Ok(News::Report(report)) => state.learn(*report),
                Ok(News::Trouble(what)) => state.trouble = Some(what),
                Ok(News::End) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => break,
            }
            is_new = true;
        }
    }
}

/// What a wait for the keyboard has brought.
enum Waited {
    Input,
    Nothing,
    /// The terminal has hung up.
    Gone,
}

/// Waits for a moment. crossterm does not come back from a terminal that has hung up: it reads the end of file for ever.
fn wait_for_input() -> io::Result<Waited> {
    let stdin = io::stdin();
    let mut watched = [PollFd::new(&stdin, PollFlags::IN)];
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: TICK.as_nanos() as _,
    };
    match poll(&mut watched, Some(&tick)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Waited::Nothing),
        result => result?,
    };
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(if watched[0].revents().intersects(gone) {
        Waited::Gone
    } else {
        Waited::Input
    })
}

/// Asks until nobody listens any more.
fn keep_asking(mut client: Client, interval: Duration, tell: &Sender<News>) {
    loop {
        thread::sleep(interval);
        let news = match client.ask(MOST) {
            Ok((_, report)) => News::Report(Box::new(report)),
            Err(problem) => News::Trouble(problem),
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

/// Has the signals that end a program told, so that the terminal is put right first. Ctrl-C is a key here.
///
/// Whoever draws may be stuck, such as at a terminal that takes nothing. So after [`GRACE`] the thread that has heard the signal
/// ends the program itself.
fn watch_signals(tell: Sender<News>) -> Result<(), String> {
    let (ready, readied) = mpsc::channel();
    thread::spawn(move || {
        let mut reactor = Reactor::new();
        let signals = [Signal::TERM, Signal::HUP, Signal::INT];
        let watched: Result<Vec<_>, _> = signals
            .iter()
            .map(|signal| reactor.watch_signal(signal.as_raw()))
            .collect();
        let _ = ready.send(watched.map(drop).map_err(|error| error.to_string()));
        loop {
            reactor.begin_turn(None);
            while let Some(event) = reactor.next_event() {
                if matches!(event, Event::Signal { .. }) {
                    let _ = tell.send(News::End);
                    thread::sleep(GRACE);
                    ratatui::restore();
                    std::process::exit(0);
                }
            }
        }
    });
    let outcome = readied.recv().unwrap_or_else(|_| Err("no thread".into()));
    outcome.map_err(|error| format!("signals cannot be watched: {error}"))
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("from 0.1 to 3600 seconds".into())
    }
}
