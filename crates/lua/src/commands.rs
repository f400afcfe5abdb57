//! One reactor as a table of Lua functions.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::path::Path;

use mlua::{Function, Lua, MultiValue, Result, Table, Value, Variadic};
use rustix::time::{ClockId, clock_gettime};
use trochee::{
    Authentication, EventLoop, Gauges, Interest, Key, Network, NotANetwork, ReadSize, SocketKind,
    Stage, Stats,
};

use crate::capi::WRITES_TOLD_TO;
use crate::convert::{self, answer, done, key, opened};
use crate::core::Functions;
use crate::{blocked, capi, connections, descriptor, proxied, socket_option, statistics, tls};

/// Makes a reactor and the functions to command it.
pub(crate) fn new(lua: &Lua) -> Result<Table> {
    let functions = Functions::new(lua)?;
    backend(&functions)?;
    connections::register(&functions)?;
    openers(&functions)?;
    commands(&functions)?;
    options(&functions)?;
    timers(&functions)?;
    proxied::register(&functions)?;
    tls::register(&functions)?;
    capi::register(lua, &functions.table, functions.owner.clone())?;
    Ok(functions.table)
}

fn backend(functions: &Functions<'_>) -> Result<()> {
    // backend() → name of the poller
    functions.add("backend", |_, core, ()| {
        Ok(core.with(|reactor| reactor.backend()))
    })?;
    // stats() → counters by name
    functions.add("stats", |lua, core, ()| {
        let stats = core.with(|reactor| reactor.stats()).unwrap_or_default();
        lua.create_table_from(stats.iter())
    })?;
    // thread_stats() → array of counters by name: the loop's own, then those of each I/O thread
    functions.add("thread_stats", |lua, core, ()| {
        let all = core.with(|reactor| reactor.stats_of_threads());
        let tables = all.unwrap_or_default().into_iter();
        let tables = tables.map(|stats| lua.create_table_from(stats.iter()));
        lua.create_sequence_from(tables.collect::<Result<Vec<_>>>()?)
    })?;
    // gauges() → what is in use, and how much there may be of it, by name
    functions.add("gauges", |lua, core, ()| {
        let gauges = core.with(|reactor| reactor.gauges()).unwrap_or_default();
        lua.create_table_from(gauges.iter())
    })?;
    // describe_gauges() → what each of them measures, by name
    functions.add("describe_gauges", |lua, _, ()| {
        lua.create_table_from(Gauges::describe())
    })?;
    // blocked_at() → the traceback of the callback that SLOW has told of, without a title | nil: it was not taken
    functions.add("blocked_at", |_, core, ()| {
        Ok(blocked::place(core.slow_since.get()))
    })?;
    // describe_stats() → what each counter counts, by name
    functions.add("describe_stats", |lua, _, ()| {
        lua.create_table_from(Stats::describe())
    })?;
    statistics::register(functions)?;
    // stages() → number of connections by stage
    functions.add("stages", |lua, core, ()| {
        let counts = core.with(|reactor| reactor.stages()).unwrap_or_default();
        let names = Stage::ALL.iter().map(|stage| stage.as_str());
        lua.create_table_from(names.zip(counts))
    })?;
    // set_backend(name) → true | nil, why not
    functions.add_fallible("set_backend", |core, name: String| {
        core.command(|reactor| done(reactor.set_backend(&name)))
    })?;
    // configure(network_settings) → settings in force by name, array of {level, text} to log
    functions.add("configure", |lua, core, given: Value| {
        let mut settings = core.settings.borrow_mut();
        let messages = core.with(|reactor| {
            let messages = settings.apply(&given, reactor)?;
            core.read_size.set(settings.config.usual_read_size());
            core.slow_callback.set(settings.slow_callback());
            core.max_wait.set(settings.max_wait());
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
fn openers(functions: &Functions<'_>) -> Result<()> {
    // listen(address, port, read_size)
    functions.add_fallible(
        "listen",
        |core, (host, port, read_size): (Value, Value, Value)| {
            let (host, port) = (convert::host(&host)?, convert::port(&port)?);
            let read_size = convert::read_size(&read_size, core.read_size.get())?;
            core.command(|reactor| opened(reactor.listen(&host, port, read_size)))
        },
    )?;
    // listen_on(fd, read_size): a copy of a descriptor that listens already
    functions.add_fallible("listen_on", |core, (fd, read_size): (Value, Value)| {
        let fd = descriptor::duplicate(convert::descriptor(&fd)?)?;
        let read_size = convert::read_size(&read_size, core.read_size.get())?;
        core.command(|reactor| opened(reactor.listen_on(fd, read_size)))
    })?;
    // listen_at(path, mode) → key, function that removes the file | nil, why not. A UNIX socket. Without that call the file stays:
    // processes that were forked share it
    functions.add("listen_at", |lua, core, (path, mode): (String, u32)| {
        let mut made = None;
        let opened = core.command(|reactor| {
            let backlog = reactor.config().backlog;
            let (fd, file) = trochee::listen_at_path(Path::new(&path), Some(mode), backlog)
                .map_err(|error| error.to_string())?;
            let key = opened(reactor.listen_on(fd, ReadSize::All))?;
            made = Some(ManuallyDrop::new(file));
            Ok(key)
        });
        let mut results = answer(lua, opened)?;
        if let Some(file) = made {
            let file = Cell::new(Some(file));
            let remove = lua.create_function(move |_, ()| {
                drop(file.take().map(ManuallyDrop::into_inner));
                Ok(())
            })?;
            results.push_back(Value::Function(remove));
        }
        Ok(results)
    })?;
    // connect(address, port, 4 | 6 | nil, datagram, read_size)
    type Connect = (Value, Value, Option<u8>, bool, Value);
    functions.add_fallible(
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
    functions.add_fallible("adopt", |core, (fd, read_size): (Value, Value)| {
        let fd = descriptor::duplicate(convert::descriptor(&fd)?)?;
        let read_size = convert::read_size(&read_size, core.read_size.get())?;
        core.command(|reactor| opened(reactor.adopt(fd, read_size)))
    })?;
    // is_ip(address): whether it needs no looking up
    functions.add("is_ip", |_, _, host: Value| {
        Ok(convert::host(&host).is_ok_and(|host| host.parse::<std::net::IpAddr>().is_ok()))
    })?;
    // is_in_network(address, network) → whether the one is in the other | nil, why network is none
    functions.add_fallible(
        "is_in_network",
        |_, (address, network): (Option<String>, String)| {
            let network: Network = network
                .parse()
                .map_err(|error: NotANetwork| error.to_string())?;
            let address = address.and_then(|address| address.parse::<IpAddr>().ok());
            let inside = address.is_some_and(|address| network.contains(address));
            Ok(Value::Boolean(inside))
        },
    )?;
    // is_datagram(fd)
    functions.add("is_datagram", |_, _, fd: Value| {
        Ok(convert::descriptor(&fd).is_ok_and(descriptor::is_datagram))
    })?;
    // inherited(fd) → address, port | nil (no listening TCP socket) | false (not open)
    functions.add("inherited", |lua, _, fd: Value| {
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
    functions.add_fallible(
        "watch",
        |core, (fd, readable, writable): (Value, bool, bool)| {
            let fd = convert::descriptor(&fd)?;
            core.command(|reactor| {
                opened(descriptor::watch(
                    reactor,
                    fd,
                    Interest { readable, writable },
                ))
            })
        },
    )?;
    // watch_signal(number)
    functions.add_fallible("watch_signal", |core, signal: i32| {
        core.command(|reactor| opened(reactor.watch_signal(signal)))
    })
}

fn commands(functions: &Functions<'_>) -> Result<()> {
    functions.add_command("pause", EventLoop::pause)?;
    functions.add_command("resume", EventLoop::resume)?;
    functions.add_command("pause_writes", EventLoop::pause_writes)?;
    functions.add_command("resume_writes", EventLoop::resume_writes)?;
    // notify_flush(key, on)
    functions.add(
        "notify_flush",
        |_, core, (number, on): (Option<i64>, bool)| {
            core.with(|reactor| reactor.notify_flush(key(number), on));
            Ok(())
        },
    )?;
    // tell_writes(f | nil): has f(handle, data, and what write returns) called after each write
    functions.add("tell_writes", |lua, core, f: Option<Function>| {
        core.tells_writes.set(f.is_some());
        lua.set_named_registry_value(&WRITES_TOLD_TO.to_string_lossy(), f)
    })?;
    // pending(key) → bytes not yet handed to the system
    functions.add("pending", |_, core, number: Option<i64>| {
        Ok(core
            .with(|reactor| reactor.pending(key(number)))
            .unwrap_or(0))
    })?;
    // set_watch(key, readable, writable) → true | nil, why not
    functions.add_fallible(
        "set_watch",
        |core, (number, readable, writable): (Option<i64>, bool, bool)| {
            core.command(|reactor| {
                done(reactor.set_watch(key(number), Interest { readable, writable }))
            })
        },
    )
}

fn options(functions: &Functions<'_>) -> Result<()> {
    // set_read_size(key, size, whether it grows while reads come back full) → true | nil, why not
    functions.add_fallible(
        "set_read_size",
        |core, (number, size, grows): (Option<i64>, Value, Option<bool>)| {
            let size = match convert::read_size(&size, core.read_size.get())? {
                ReadSize::UpTo(size) if grows == Some(true) => ReadSize::Growing(size),
                size => size,
            };
            core.command(|reactor| Ok(Value::Boolean(reactor.set_read_size(key(number), size))))
        },
    )?;
    // set_abortive(key, on)
    functions.add(
        "set_abortive",
        |_, core, (number, on): (Option<i64>, bool)| {
            core.with(|reactor| reactor.set_abortive(key(number), on));
            Ok(())
        },
    )?;
    // set_rate_limit(key, bytes per second; 0 for none)
    functions.add(
        "set_rate_limit",
        |_, core, (number, rate): (Option<i64>, f64)| {
            Ok(core.with(|reactor| reactor.set_rate_limit(key(number), rate)))
        },
    )?;
    // set_read_timeout(key, seconds | false), set_write_timeout(key, seconds | false)
    add_timeout(functions, "set_read_timeout", EventLoop::set_read_timeout)?;
    add_timeout(functions, "set_write_timeout", EventLoop::set_write_timeout)?;
    // set_authentication(key, true: has authenticated | false: has to | "request": has to make one | nil: nobody tells)
    functions.add(
        "set_authentication",
        |_, core, (number, has): (Option<i64>, Value)| {
            let authentication = match has {
                Value::Nil => Authentication::NotAsked,
                Value::Boolean(false) => Authentication::Awaited,
                Value::String(what) if what.as_bytes() == b"request".as_slice() => {
                    Authentication::RequestAwaited
                }
                _ => Authentication::Done,
            };
            Ok(core
                .with(|reactor| reactor.set_authentication(key(number), authentication))
                .unwrap_or(false))
        },
    )?;
    // set_option(key, name, value) → true | nil, why not
    functions.add_fallible(
        "set_option",
        |core, (number, name, value): (Option<i64>, Value, Value)| {
            let option = match &name {
                Value::String(name) => convert::socket_option(&name.to_string_lossy(), &value)?,
                other => return Err(convert::option_name(other)),
            };
            core.command(|reactor| done(reactor.set_option(key(number), option)))
        },
    )?;
    // option(key, name) → value | nil, why not
    functions.add(
        "option",
        |lua, core, (number, name): (Option<i64>, Value)| {
            let fd = core.with(|reactor| reactor.fd(key(number))).flatten();
            let value = match (fd, &name) {
                (None, _) => Err("closed".into()),
                (Some(fd), Value::String(name)) => {
                    socket_option::read(lua, fd, &name.to_string_lossy())
                }
                (Some(_), other) => Err(convert::option_name(other)),
            };
            convert::answer(lua, value)
        },
    )?;
    // tcp_info(key) → table, as trochee.TcpInfo of types.d.lua says | nil
    functions.add("tcp_info", |lua, core, number: Option<i64>| {
        let info = core.with(|reactor| reactor.tcp_info(key(number)));
        let Some(info) = info.flatten() else {
            return Ok(None);
        };
        let table = lua.create_table()?;
        table.raw_set("unacknowledged", info.unacknowledged)?;
        table.raw_set("attempts", info.attempts)?;
        table.raw_set("retransmits", info.retransmits)?;
        for (name, time) in [
            ("unacknowledged_for", info.unacknowledged_for),
            ("since_acknowledged", info.since_acknowledged),
            ("since_sent", info.since_sent),
            ("since_received", info.since_received),
            ("round_trip", info.round_trip),
        ] {
            table.raw_set(name, time.as_secs_f64())?;
        }
        Ok(Some(table))
    })?;
    // fd(key) → number | nil
    functions.add("fd", |_, core, number: Option<i64>| {
        Ok(core.with(|reactor| reactor.fd(key(number))).flatten())
    })
}

fn timers(functions: &Functions<'_>) -> Result<()> {
    // begin_turn(longest wait in seconds): a turn that has begun waits no longer
    functions.add("begin_turn", |_, core, max_wait: f64| {
        core.with(|reactor| reactor.begin_turn(Some(convert::seconds(max_wait))));
        Ok(())
    })?;
    // reset_timer(id, seconds) → whether it was still to come
    functions.add("reset_timer", |_, core, (id, after): (i64, f64)| {
        Ok(core.with(|reactor| reactor.reset_timer(convert::timer(id), convert::seconds(after))))
    })?;
    // timer_due(id) → when on the clock of timers, nil for one that is over
    functions.add("timer_due", |_, core, id: i64| {
        let left = core.with(|reactor| reactor.time_left(convert::timer(id)));
        Ok(left.flatten().map(|left| monotonic() + left.as_secs_f64()))
    })?;
    // monotonic() → seconds of the clock that timers follow
    functions.add("monotonic", |_, _, _: Variadic<Value>| Ok(monotonic()))
}

fn add_timeout(
    functions: &Functions<'_>,
    name: &str,
    f: impl Fn(&mut EventLoop, Key, Option<std::time::Duration>) -> bool + 'static,
) -> Result<()> {
    functions.add(
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

/// The clock that timers follow, in seconds.
fn monotonic() -> f64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
