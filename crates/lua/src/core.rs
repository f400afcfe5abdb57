//! What every function of a core stands on: the reactor behind it, and how it is added to the table that Lua gets.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mlua::{Lua, Result, Table, UserData};
use trochee::{EndInfo, EventLoop, Key, ReadSize, fork_generation};

use crate::blocked::{self, Busy};
use crate::convert::{Answer, answer, key};
use crate::sample::Sample;
use crate::settings::Settings;

/// What the functions of one core share.
///
/// Lua may use a handle after its core was finalised: when `lua_close` finalises everything, a finaliser of the user may still
/// close a connection. So the few bytes of a `Core` are never freed. What it holds is freed by [`Owner`].
pub(crate) struct Core {
    reactor: RefCell<Option<EventLoop>>,
    pub(crate) settings: RefCell<Settings>,
    /// Keeps a text alive until Lua has copied it, so that no Rust value is on the stack when Lua raises.
    pub(crate) text: RefCell<String>,
    /// The same for bytes that need not be UTF-8.
    pub(crate) bytes: RefCell<Vec<u8>>,
    /// The read size of a connection that has none of its own. It is kept here because every new connection asks for it.
    pub(crate) read_size: Cell<ReadSize>,
    /// The longest wait of a turn.
    pub(crate) max_wait: Cell<Duration>,
    /// Whether Lua deals with an event.
    pub(crate) busy: &'static Busy,
    /// What the connection has come to that Lua was told of last that it is over.
    pub(crate) ended: Cell<Option<(Key, EndInfo)>>,
    /// The event that Lua has been given last: its kind and its key.
    pub(crate) last: Cell<(i64, i64)>,
    /// From how many nanoseconds on Lua is told how long it took.
    pub(crate) slow_callback: Cell<Option<i64>>,
    /// What the clock said when Lua had dealt with the event before; 0 where nobody has looked.
    pub(crate) looked: Cell<i64>,
    /// What it said when the reactor had looked last.
    pub(crate) turned: Cell<i64>,
    /// What is measured of how long Lua takes.
    pub(crate) sample: Sample,
    /// Whether Lua is told of each write.
    pub(crate) tells_writes: Cell<bool>,
    /// When the last one began that took so long: see [`Busy`].
    pub(crate) slow_since: Cell<i64>,
    /// In which process the loop is watched, and from how many nanoseconds on.
    pub(crate) watched: Cell<Option<(u32, Option<i64>)>>,
}

impl Core {
    /// Runs `f` on the reactor. `None` once the end of the Lua state has begun, and in a finaliser that the garbage collector runs
    /// in the middle of another command.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut EventLoop) -> R) -> Option<R> {
        self.reactor.try_borrow_mut().ok()?.as_mut().map(f)
    }

    /// Has a thread look whether callbacks take too long, as the settings say. Once for each process and change of settings.
    #[inline]
    pub(crate) fn watch(&self) {
        let wanted = Some((fork_generation(), self.slow_callback.get()));
        if self.watched.get() != wanted {
            self.watched.set(wanted);
            blocked::watch(self.busy, self.slow_callback.get());
        }
    }

    /// What a connection has come to, be it there or the one that Lua was told of last that it is over.
    pub(crate) fn end_info(&self, key: Key) -> Option<EndInfo> {
        let ended = self.ended.get().filter(|(ended, _)| *ended == key);
        self.with(|reactor| reactor.end_info(key))
            .flatten()
            .or(ended.map(|(_, info)| info))
    }

    /// Runs a command that may be refused.
    pub(crate) fn command(&self, f: impl FnOnce(&mut EventLoop) -> Answer) -> Answer {
        self.with(f).unwrap_or_else(|| Err("closed".into()))
    }
}

/// Where all cores are, so that whoever looks for leaks sees that they are kept.
static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Every function of a core holds it; the last one to be collected ends the reactor and with it all connections.
#[derive(Clone)]
pub(crate) struct Owner(Rc<Ending>);

struct Ending(&'static Core);

impl Owner {
    pub(crate) fn core(&self) -> &'static Core {
        self.0.0
    }
}

impl UserData for Owner {}

impl Drop for Ending {
    fn drop(&mut self) {
        let reactor = self
            .0
            .reactor
            .try_borrow_mut()
            .map(|mut reactor| reactor.take());
        drop(reactor);
        blocked::forget_loop(self.0.busy);
    }
}

/// The table of functions of one core, while it is being filled. What each function expects is said where it is added.
pub(crate) struct Functions<'a> {
    lua: &'a Lua,
    pub(crate) table: Table,
    pub(crate) owner: Owner,
}

impl Functions<'_> {
    /// An empty table, round a core with a reactor of its own.
    pub(crate) fn new(lua: &Lua) -> Result<Functions<'_>> {
        let reactor = EventLoop::new();
        let settings = Settings::default();
        let core: &'static Core = Box::leak(Box::new(Core {
            read_size: Cell::new(reactor.config().usual_read_size()),
            max_wait: Cell::new(settings.max_wait()),
            busy: Box::leak(Box::new(Busy::new())),
            ended: Cell::new(None),
            last: Cell::new((0, 0)),
            slow_callback: Cell::new(None),
            looked: Cell::new(0),
            turned: Cell::new(0),
            sample: Sample::new(),
            tells_writes: Cell::new(false),
            slow_since: Cell::new(0),
            watched: Cell::new(None),
            reactor: RefCell::new(Some(reactor)),
            settings: RefCell::new(settings),
            text: RefCell::new(String::new()),
            bytes: RefCell::new(Vec::new()),
        }));
        KEPT.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ptr::from_ref(core).addr());
        Ok(Functions {
            lua,
            table: lua.create_table()?,
            owner: Owner(Rc::new(Ending(core))),
        })
    }

    /// Adds a function. Its name, arguments and results are those that Lua sees.
    pub(crate) fn add<A, R, F>(&self, name: &str, f: F) -> Result<()>
    where
        A: mlua::FromLuaMulti + 'static,
        R: mlua::IntoLuaMulti + 'static,
        F: Fn(&Lua, &Core, A) -> Result<R> + 'static,
    {
        let owner = self.owner.clone();
        self.table.set(
            name,
            self.lua
                .create_function(move |lua, arguments: A| f(lua, owner.core(), arguments))?,
        )
    }

    /// Like [`add`](Self::add), for a function that may fail: it returns `nil` and a text then.
    pub(crate) fn add_fallible<A, F>(&self, name: &str, f: F) -> Result<()>
    where
        A: mlua::FromLuaMulti + 'static,
        F: Fn(&Core, A) -> Answer + 'static,
    {
        self.add(name, move |lua, core, arguments: A| {
            answer(lua, f(core, arguments))
        })
    }

    /// Like [`add`](Self::add), for a command that only takes a key: it returns false if nothing has that key any more.
    pub(crate) fn add_command(
        &self,
        name: &str,
        f: impl Fn(&mut EventLoop, Key) -> bool + 'static,
    ) -> Result<()> {
        self.add(name, move |_, core, number: Option<i64>| {
            Ok(core
                .with(|reactor| f(reactor, key(number)))
                .unwrap_or(false))
        })
    }
}
