//! One reactor as a table of Lua functions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Lua, MultiValue, Result, Table, UserData, Value, Variadic};
use rustix::time::{ClockId, clock_gettime};
use trochee::{Close, EventLoop, Interest, Key, Name, SocketKind};

use crate::convert::{self, Answer, answer, key, key_number};
use crate::descriptor;
use crate::fast;
use crate::settings::Settings;
use crate::tls;

/// What the functions of one core share.
///
/// Handles are garbage to Lua long after their core is: when `lua_close` finalises everything, a finaliser of the user may
/// still close a connection. The few bytes of a `Core` are therefore never freed; what it holds is, by [`Owner`].
pub(crate) struct Core {
    reactor: RefCell<Option<EventLoop>>,
    settings: RefCell<Settings>,
    /// Keeps a text alive until Lua has copied it, so that no Rust value is on the stack when Lua raises.
    pub(crate) text: RefCell<String>,
    /// The same for what need not be text.
    pub(crate) bytes: RefCell<Vec<u8>>,
    /// The largest read where nobody says how much, kept here because every new connection asks.
    read_size: Cell<usize>,
}

impl Core {
    /// Runs `f` on the reactor. `None` after the end of the Lua state has begun, and from within a finaliser that the
    /// garbage collector runs in the middle of another command.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut EventLoop) -> R) -> Option<R> {
        self.reactor.try_borrow_mut().ok()?.as_mut().map(f)
    }

    pub(crate) fn command(&self, f: impl FnOnce(&mut EventLoop) -> Answer) -> Answer {
        self.with(f).unwrap_or_else(|| Err("closed".into()))
    }
}

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
    }
}

/// Makes a reactor and the functions to command it.
pub(crate) fn new(lua: &Lua) -> Result<Table> {
    let reactor = EventLoop::new();
    let core = Box::leak(Box::new(Core {
        read_size: Cell::new(reactor.config().read_size),
        reactor: RefCell::new(Some(reactor)),
        settings: RefCell::new(Settings::default()),
        text: RefCell::new(String::new()),
        bytes: RefCell::new(Vec::new()),
    }));
    let functions = Functions {
        lua,
        table: lua.create_table()?,
        owner: Owner(Rc::new(Ending(core))),
    };
    functions.backend()?;
    functions.openers()?;
    functions.commands()?;
    functions.options()?;
    functions.timers()?;
    tls::register(&functions)?;
    fast::register(lua, &functions.table, functions.owner.clone())?;
    Ok(functions.table)
}

/// The table under construction; what each function expects is said where it is added.
pub(crate) struct Functions<'a> {
    lua: &'a Lua,
    table: Table,
    owner: Owner,
}

impl Functions<'_> {
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

    /// Like [`add`](Self::add), for what the system or the arguments may refuse.
    pub(crate) fn add_fallible<A, F>(&self, name: &str, f: F) -> Result<()>
    where
        A: mlua::FromLuaMulti + 'static,
        F: Fn(&Core, A) -> Answer + 'static,
    {
        self.add(name, move |lua, core, arguments: A| {
            answer(lua, f(core, arguments))
        })
    }

    /// Like [`add`](Self::add), for a command to a key that may be over: the answer is whether it was not.
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

    fn backend(&self) -> Result<()> {
        // backend() → name of the poller
        self.add("backend", |_, core, ()| {
            Ok(core.with(|reactor| reactor.backend()))
        })?;
        // set_backend(name) → true | nil, why not
        self.add_fallible("set_backend", |core, name: String| {
            core.command(|reactor| done(reactor.set_backend(&name)))
        })?;
        // configure(network_settings) → settings in force by name, array of {level, text} to log
        self.add("configure", |lua, core, given: Value| {
            let mut settings = core.settings.borrow_mut();
            let messages = core.with(|reactor| {
                let messages = settings.apply(&given, reactor)?;
                core.read_size.set(settings.config.read_size);
                Ok::<_, mlua::Error>(messages)
            });
            let log = lua.create_table()?;
            for (level, text) in messages.transpose()?.unwrap_or_default() {
                log.raw_push(lua.create_sequence_from([level.to_owned(), text])?)?;
            }
            Ok((settings.in_force(lua)?, log))
        })
    }

    /// What makes keys: key | nil, why not.
    fn openers(&self) -> Result<()> {
        // listen(address, port, read_size)
        self.add_fallible(
            "listen",
            |core, (host, port, read_size): (Value, Value, Value)| {
                let (host, port) = (convert::host(&host)?, convert::port(&port)?);
                let read_size = convert::read_size(&read_size, core.read_size.get())?;
                core.command(|reactor| opened(reactor.listen(&host, port, read_size)))
            },
        )?;
        // listen_on(fd, read_size): a copy of a descriptor that listens already
        self.add_fallible("listen_on", |core, (fd, read_size): (Value, Value)| {
            let fd = descriptor::duplicate(convert::descriptor(&fd)?)?;
            let read_size = convert::read_size(&read_size, core.read_size.get())?;
            core.command(|reactor| opened(reactor.listen_on(fd, read_size)))
        })?;
        // connect(address, port, 4 | 6 | nil, datagram, read_size)
        type Connect = (Value, Value, Option<u8>, bool, Value);
        self.add_fallible(
            "connect",
            |core, (host, port, family, datagram, read_size): Connect| {
                let peer = convert::peer(&convert::host(&host)?, convert::port(&port)?, family)?;
                let read_size = convert::read_size(&read_size, core.read_size.get())?;
                let kind = if datagram {
                    SocketKind::Datagram
                } else {
                    SocketKind::Stream
                };
                core.command(|reactor| opened(reactor.connect(peer, kind, read_size)))
            },
        )?;
        // adopt(fd, read_size): a copy of a descriptor that is connected or connecting, or of a UDP socket
        self.add_fallible("adopt", |core, (fd, read_size): (Value, Value)| {
            let fd = descriptor::duplicate(convert::descriptor(&fd)?)?;
            let read_size = convert::read_size(&read_size, core.read_size.get())?;
            core.command(|reactor| opened(reactor.adopt(fd, read_size)))
        })?;
        // is_ip(address): whether it needs no looking up
        self.add("is_ip", |_, _, host: Value| {
            Ok(convert::host(&host).is_ok_and(|host| host.parse::<std::net::IpAddr>().is_ok()))
        })?;
        // is_datagram(fd)
        self.add("is_datagram", |_, _, fd: Value| {
            Ok(convert::descriptor(&fd).is_ok_and(descriptor::is_datagram))
        })?;
        // inherited(fd) → address, port | nil (no listening TCP socket) | false (not open)
        self.add("inherited", |lua, _, fd: Value| {
            let listening = convert::descriptor(&fd).and_then(descriptor::inherited);
            Ok(match listening {
                Ok(Some(at)) => MultiValue::from_iter([
                    Value::String(lua.create_string(at.ip().to_string())?),
                    Value::Integer(at.port().into()),
                ]),
                Ok(None) => MultiValue::from_iter([Value::Nil]),
                Err(_) => MultiValue::from_iter([Value::Boolean(false)]),
            })
        })?;
        // watch(fd, readable, writable): the descriptor stays the caller's
        self.add_fallible(
            "watch",
            |core, (fd, readable, writable): (Value, bool, bool)| {
                let fd = convert::descriptor(&fd)?;
                core.command(|reactor| opened(reactor.watch(fd, Interest { readable, writable })))
            },
        )?;
        // watch_signal(number)
        self.add_fallible("watch_signal", |core, signal: i32| {
            core.command(|reactor| opened(reactor.watch_signal(signal)))
        })
    }

    fn commands(&self) -> Result<()> {
        // close(key) → true (over, no event follows) | false (an event follows once all is sent) | nil (was over)
        self.add("close", |_, core, number: Option<i64>| {
            Ok(core.with(|reactor| match reactor.close(key(number)) {
                Close::Done => Some(true),
                Close::Flushing => Some(false),
                Close::Gone => None,
            }))
        })?;
        self.add_command("destroy", EventLoop::destroy)?;
        self.add_command("pause", EventLoop::pause)?;
        self.add_command("resume", EventLoop::resume)?;
        self.add_command("pause_writes", EventLoop::pause_writes)?;
        self.add_command("resume_writes", EventLoop::resume_writes)?;
        // notify_flush(key, on)
        self.add(
            "notify_flush",
            |_, core, (number, on): (Option<i64>, bool)| {
                core.with(|reactor| reactor.notify_flush(key(number), on));
                Ok(())
            },
        )?;
        // pending(key) → bytes not yet handed to the system
        self.add("pending", |_, core, number: Option<i64>| {
            Ok(core
                .with(|reactor| reactor.pending(key(number)))
                .unwrap_or(0))
        })?;
        // set_watch(key, readable, writable) → true | nil, why not
        self.add_fallible(
            "set_watch",
            |core, (number, readable, writable): (Option<i64>, bool, bool)| {
                core.command(|reactor| {
                    done(reactor.set_watch(key(number), Interest { readable, writable }))
                })
            },
        )
    }

    fn options(&self) -> Result<()> {
        // set_read_size(key, size) → true | nil, why not
        self.add_fallible(
            "set_read_size",
            |core, (number, size): (Option<i64>, Value)| {
                let size = convert::read_size(&size, core.read_size.get())?;
                core.command(|reactor| Ok(Value::Boolean(reactor.set_read_size(key(number), size))))
            },
        )?;
        // set_rate_limit(key, bytes per second; 0 for none)
        self.add(
            "set_rate_limit",
            |_, core, (number, rate): (Option<i64>, f64)| {
                Ok(core.with(|reactor| reactor.set_rate_limit(key(number), rate)))
            },
        )?;
        // set_read_timeout(key, seconds | false), set_write_timeout(key, seconds | false)
        self.add_timeout("set_read_timeout", EventLoop::set_read_timeout)?;
        self.add_timeout("set_write_timeout", EventLoop::set_write_timeout)?;
        // set_option(key, name, value) → true | nil, why not
        self.add_fallible(
            "set_option",
            |core, (number, name, value): (Option<i64>, Value, Value)| {
                let option = match &name {
                    Value::String(name) => convert::socket_option(&name.to_string_lossy(), &value)?,
                    other => {
                        return Err(format!(
                            "an option's name must be a string, not {}",
                            convert::described(other)
                        ));
                    }
                };
                core.command(|reactor| done(reactor.set_option(key(number), option)))
            },
        )?;
        // fd(key) → number | nil
        self.add("fd", |_, core, number: Option<i64>| {
            Ok(core.with(|reactor| reactor.fd(key(number))).flatten())
        })?;
        // names(key) → peer's address, port, own address, port; nil where there is none
        self.add("names", |lua, core, number: Option<i64>| {
            let (peer, local) = core
                .with(|reactor| {
                    (
                        reactor.peer_name(key(number)),
                        reactor.local_name(key(number)),
                    )
                })
                .unwrap_or((None, None));
            // LuaSocket's UNIX sockets have no getpeername, and `ip()` is then the path of the listening one.
            let peer = peer.filter(|peer| matches!(peer, Name::Inet(_)));
            let ((peername, peerport), (sockname, sockport)) =
                (convert::name(lua, peer)?, convert::name(lua, local)?);
            Ok(MultiValue::from_iter([
                peername, peerport, sockname, sockport,
            ]))
        })
    }

    fn timers(&self) -> Result<()> {
        // begin_turn(longest wait in seconds): then next_event until it returns nothing
        self.add("begin_turn", |_, core, max_wait: f64| {
            core.with(|reactor| reactor.begin_turn(Some(convert::seconds(max_wait))));
            Ok(())
        })?;
        // reset_timer(id, seconds) → whether it was still to come
        self.add("reset_timer", |_, core, (id, after): (i64, f64)| {
            Ok(core
                .with(|reactor| reactor.reset_timer(convert::timer(id), convert::seconds(after))))
        })?;
        // timer_due(id) → when on the clock of timers, nil for one that is over
        self.add("timer_due", |_, core, id: i64| {
            let left = core.with(|reactor| reactor.time_left(convert::timer(id)));
            Ok(left.flatten().map(|left| monotonic() + left.as_secs_f64()))
        })?;
        // now() → seconds since 1970; monotonic() → seconds of the clock that timers follow
        self.add("now", |_, _, _: Variadic<Value>| {
            Ok(clock(ClockId::Realtime))
        })?;
        self.add("monotonic", |_, _, _: Variadic<Value>| Ok(monotonic()))
    }

    fn add_timeout(
        &self,
        name: &str,
        f: impl Fn(&mut EventLoop, Key, Option<std::time::Duration>) -> bool + 'static,
    ) -> Result<()> {
        self.add(
            name,
            move |_, core, (number, after): (Option<i64>, Value)| {
                let after = match after {
                    Value::Integer(after) => Some(convert::seconds(after as f64)),
                    Value::Number(after) => Some(convert::seconds(after)),
                    _ => None,
                };
                Ok(core
                    .with(|reactor| f(reactor, key(number), after))
                    .unwrap_or(false))
            },
        )
    }
}

fn opened(key: std::result::Result<Key, trochee::Error>) -> Answer {
    key.map(|key| Value::Integer(key_number(key)))
        .map_err(|error| error.to_string())
}

pub(crate) fn done(result: std::result::Result<(), trochee::Error>) -> Answer {
    result
        .map(|()| Value::Boolean(true))
        .map_err(|error| error.to_string())
}

/// The clock that timers follow, in seconds.
pub(crate) fn monotonic() -> f64 {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> f64 {
    let time = clock_gettime(id);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
