"""How it is measured: one row for each shape of load, and what must hold. To add a shape, add a row."""

from dataclasses import dataclass, replace

from .subjects import FLOOR, LIBEVENT, OURS, RUST, STOCK, THREADED


@dataclass(frozen=True)
class Metric:
    key: str  # in the line of JSON that the load (or the script itself) prints
    title: str
    unit: str
    digits: int = 2
    compared: bool = True  # has ratios, a place in the tables and a bar; less is better
    shown: bool = False  # not compared, but in a second table of the page
    group: str = ""  # where it is shown, if not with its shape


@dataclass(frozen=True)
class Shape:
    name: str
    group: str  # a table and a chart of its own
    title: str
    metrics: tuple
    load: tuple = ()  # arguments of the load generator; "{seconds}" is filled in. Empty: the script measures itself
    script: str = "echo_server"
    service: str = "c2s"  # of the script "prosody": which of its services the load is for
    argument: str = "{port}"
    connections: int = 1  # at one time, for the limits of descriptors
    certificate: str = ""  # over TLS, with this kind of certificate
    program: str = "load"  # of peers/, or that of tls/
    shared: bool = False  # server and load have all cores together, for what several threads are there for
    repeats: int = 1  # samples of each subject in a round: more where a neighbour of the machine makes the most of a difference


LOOP = Metric("loop_us", "Lua thread per message", "µs", group="lua-message")

PER_SECOND = Metric("per_second", "per second", "", 0, compared=False)

RATE = replace(PER_SECOND, shown=True)

LATENCY = (
    Metric("p50_us", "median", "µs", 0, compared=False),
    Metric("p99_us", "99th", "µs", 0, compared=False),
    PER_SECOND,
)


def ping_pong(name, title, active, idle=0, **more):
    return Shape(name, "echo", title, (Metric("cpu_us", "CPU per message", "µs"), LOOP, *LATENCY),
                 ("ping-pong", active, idle, "{seconds}"), connections=active + idle, **more)


def talk(name, group, title, clients, actors, room, mix):
    return Shape(name, group, title,
                 (Metric("wall_us", "time", "µs", 0), Metric("cpu_us", "CPU", "µs", 0),
                  Metric("loop_us", "of it Lua thread", "µs", 0, compared=False, shown=True), RATE),
                 ("talk", clients, actors, room, mix, "{seconds}"), "prosody", connections=clients, certificate="p256",
                 program="tls_load", shared=True)


def download(scheme):
    return Shape(f"download-{scheme}", "download", f"100 MB by {scheme}",
                 (Metric("ms", "time", "ms", 0), Metric("cpu_us", "CPU per MB", "µs", 0),
                  replace(LOOP, title="of it Lua thread", digits=0, compared=False, shown=True, group="")),
                 ("download", scheme, "{seconds}"), "prosody", scheme, certificate="p256", program="tls_load", shared=True)


def transfer(name, title, load, service, per_file):
    """Bytes that clients send through a real Prosody."""
    time = (Metric("ms", "time", "ms", 0),) if per_file else ()
    return Shape(name, name, title,
                 (*time, Metric("cpu_us", "CPU per MB", "µs", 0),
                  replace(LOOP, title="of it Lua thread", digits=0, compared=False, shown=True, group=""), RATE),
                 (load, "{seconds}"), "prosody", service, certificate="p256", program="tls_load", shared=True)


def logins(phase, group, until):
    """The figures of one storm."""
    def more(key, title, unit, digits=0):
        return Metric(f"{phase}_{key}", title, unit, digits, compared=False, shown=True, group=group)

    return (
        Metric(f"{phase}_ms", until, "ms", 0, group=group),
        Metric(f"{phase}_pair_p99_ms", "the pair's delay, 99th", "ms", 0, group=group),
        Metric(f"{phase}_cpu_us", "CPU per login", "µs", 0, group=group),
        Metric(f"{phase}_loop_us", "of it Lua thread", "µs", 0, group=group),
        more("p50_ms", "login, median", "ms"),
        more("p99_ms", "login, 99th", "ms"),
        more("pair_p50_ms", "pair's delay, median", "ms", 1),
        more("pair_max_ms", "pair's delay, most", "ms"),
        more("resumed", "resumed", ""),
        more("load_us", "the load's own CPU per login", "µs"),
    )


def relayed(name, title, load, metrics, connections):
    return Shape(name, "relay", title, metrics, load, "relay", connections=connections, certificate="p256",
                 program="tls_load", shared=True)


def handshakes(name, title, load, certificate):
    """32 clients: enough that a stalled one, or the way there and back, does not leave the server idle."""
    return Shape(name, "tls-handshake", title, (Metric("cpu_us", "CPU per handshake", "µs", 0),
                                          Metric("loop_us", "Lua thread per handshake", "µs", 0, group="lua-handshake"), *LATENCY),
                 (load, 32, "{seconds}"), connections=32, certificate=certificate, program="tls_load")


GROUPS = {
    "echo": ("Echo: server CPU per 256-byte message",
             "Each connection sends 256 bytes, waits until all of them are back, and sends the next. mio, libuv, tokio and libevent are "
             "other event loops, each with a plain echo; trochee's Rust front has no Lua in it. Its two threads share the one core of the server."),
    "idle": ("Idle crowd: memory per connection",
             "Growth of the server's resident memory, in bytes per connection. First with 5000 opened and silent, then "
             "after each has had one message echoed. The kernel's own memory for the sockets is not in it."),
    "stream": ("Pump: server CPU per megabyte",
               "One connection echoes a stream, never more than 256 KiB of it on the way."),
    "accept": ("Accept burst: server CPU per connection",
               "Connections are opened in batches of 64 and closed, nothing said."),
    "timers": ("Timers: CPU per timer",
               "100 000 timers with spread deadlines are set and stopped again; the loop turns between rounds."),
    "tls-handshake": ("TLS handshakes: server CPU per handshake",
                      "32 clients connect, complete a TLS 1.3 handshake, and close, one connection after the other. Accepting and "
                      "closing are in the figure. Resumed: with the ticket of the client's connection before. In TLS 1.3 this "
                      "saves the certificate and its signature, and nothing else: key exchange and key schedule are as in a full "
                      "handshake, and the proof in the ticket has to be checked. An RSA signature is most of a handshake. One by "
                      "P-256 is a sixth of our instructions, so there is little to gain."),
    "tls-login": ("TLS login: time until the first answer",
                  "One client, one login after the other: connect, TLS 1.3 handshake, one message of 256 bytes echoed. Median of "
                  "the time on the clock, P-256 certificate."),
    "tls-echo": ("Echo over TLS: server CPU per 256-byte message",
                 "As the echo above, over TLS 1.3 with AES-256-GCM."),
    "lua-message": ("The Lua thread's share of a message",
                    "CPU of the process's main thread alone, in the echoes above, plain and over TLS: what is left of Prosody's one "
                    "core for it. With I/O threads other threads do the rest, which run on other cores, and on the same core here."),
    "lua-handshake": ("The Lua thread's share of a TLS handshake",
                      "The same for the handshakes above: accepting, the callbacks and closing are in the figure."),
    "tls-idle": ("Idle crowd over TLS: memory per connection",
                 "As the idle crowd above, with 2000 connections: after the handshake, then after one message each."),
    "stanzas": ("A real Prosody over TLS: time and CPU per stanza",
                "Prosody itself, both cores for server and clients together, direct TLS 1.3. In pairs: each of 100 clients sends a "
                "message to its neighbour, who answers. A room of 500: one member's message goes to all, then the next. Mixed: 100 of "
                "200 clients, in rooms of 20, send messages to a neighbour, pings to the server, presence, and messages to their "
                "room. Counted is every stanza that a client gets."),
    "download": ("Downloads from a real Prosody: time and CPU",
                 "The same Prosody's `mod_http_files`: one client downloads a file of 100 MB again and again on one connection, and looks "
                 "at every byte of it."),
    "upload": ("Uploads to a real Prosody: time and CPU",
               "The same Prosody's `mod_http_file_share`: one client uploads 5 MB again and again on one connection, over HTTP without TLS."),
    "proxy65": ("A transfer through a real Prosody: CPU per megabyte",
                "The same Prosody's `mod_proxy65`: a stream from one client to another, never more than 256 KiB of it on the way."),
    "storm": ("Reconnect storm: 2000 clients log in at once",
              "The same Prosody. All connect at the same moment and log in: a full TLS 1.3 handshake with P-256, SCRAM-SHA-1, bind, "
              "roster, presence. A pair that was online before exchanges a message each 10 ms meanwhile. Every login succeeds, or "
              "there is no figure."),
    "storm-again": ("Reconnect storm: all come back",
                    "The same clients at once again, after they had left, with the TLS tickets of their first session where the server "
                    "gave any."),
    "relay": ("The relay beside others: CPU and memory",
              "`trochee relay`, stunnel, HAProxy and nginx stream, each with two threads or workers (stunnel: one a connection), the "
              "same P-256 certificate, TLS 1.3 and the C loop's echo behind; both cores for load, relay and echo together. The CPU "
              "is the relay's; a stream has 256 KiB on its way at most, there and back. Memory is that of all its processes, per "
              "connection."),
}

SHAPES = [
    ping_pong("ping-pong-1", "1 connection", 1),
    ping_pong("ping-pong-50", "50 connections", 50, repeats=4),
    ping_pong("ping-pong-400", "400 connections", 400, repeats=4),
    ping_pong("ping-pong-50-of-5000", "50 active among 5000 idle", 50, 5000),
    Shape("idle-crowd", "idle", "5000 connections",
          (Metric("silent_bytes", "silent", "B", 0), Metric("spoken_bytes", "after one message", "B", 0)),
          ("idle-crowd", 5000), connections=5000),
    Shape("pump", "stream", "1 connection",
          (Metric("cpu_us", "CPU per MB", "µs", 0), Metric("per_second", "MB per second", "", 0, compared=False)),
          ("pump", "{seconds}")),
    Shape("accept-burst", "accept", "connect and close", (Metric("cpu_us", "CPU per connection", "µs", 1),),
          ("accept", 8000), connections=80),
    Shape("timers", "timers", "set and stop", (Metric("cpu_us", "CPU per timer", "µs"),),
          script="timers", argument="100000"),
    handshakes("tls-handshake-rsa2048", "full, RSA-2048", "full", "rsa2048"),
    handshakes("tls-handshake-p256", "full, P-256", "full", "p256"),
    handshakes("tls-handshake-resumed-rsa2048", "resumed, RSA-2048", "resumed", "rsa2048"),
    handshakes("tls-handshake-resumed-p256", "resumed, P-256", "resumed", "p256"),
    Shape("tls-login-latency", "tls-login", "1 client",
          (Metric("p50_us", "time per login", "µs", 0), Metric("p99_us", "99th", "µs", 0, compared=False),
           Metric("per_second", "per second", "", 0, compared=False), Metric("cpu_us", "CPU µs", "µs", 0, compared=False)),
          ("login", "{seconds}"), certificate="p256", program="tls_load"),
    Shape("tls-ping-pong-50", "tls-echo", "50 connections over TLS", (Metric("cpu_us", "CPU per message", "µs"), LOOP, *LATENCY),
          ("ping-pong", 50, "{seconds}"), connections=50, certificate="p256", program="tls_load", repeats=4),
    Shape("tls-idle-crowd", "tls-idle", "2000 connections over TLS",
          (Metric("silent_bytes", "silent", "B", 0), Metric("spoken_bytes", "after one message", "B", 0)),
          ("idle-crowd", 2000), connections=2000, certificate="p256", program="tls_load"),
    talk("stanzas", "stanzas", "100 clients, in pairs", 100, 100, 0, "c"),
    talk("fan-out", "stanzas", "a room of 500", 500, 1, 500, "m"),
    talk("mixed", "stanzas", "200 clients, mixed", 200, 100, 20, "cccicpm"),
    download("http"),
    download("https"),
    transfer("upload", "5 MB by http", "upload", "http", True),
    transfer("proxy65", "1 stream", "proxy65", "proxy65", False),
    Shape("storm", "storm", "2000 clients",
          (*logins("full", "storm", "until all are online"), Metric("session_bytes", "memory per session", "B", 0, compared=False, shown=True, group="storm"),
           *logins("again", "storm-again", "until all are back")),
          ("storm", 2000), "prosody", connections=2002, certificate="p256", program="tls_load", shared=True),
    relayed("relay-handshakes", "full handshake, P-256", ("full", 32, "{seconds}"), (Metric("cpu_us", "CPU", "µs", 0), RATE), 32),
    relayed("relay-stream", "MB of 1 stream", ("pump", 1, "{seconds}"), (Metric("cpu_us", "CPU", "µs", 0), RATE), 1),
    relayed("relay-streams", "MB of 50 streams", ("pump", 50, "{seconds}"), (Metric("cpu_us", "CPU", "µs", 0), RATE), 50),
    relayed("relay-idle", "1000 connections", ("idle-crowd", 1000),
            (Metric("silent_bytes", "silent", "B", 0), Metric("spoken_bytes", "after one message", "B", 0)), 2000),
]


@dataclass(frozen=True)
class Budget:
    """A promise: a figure of ours is at most `limit`, or at most `limit` times the figure of `against`, in `against_shape`
    where that is another."""

    shape: str
    metric: str
    limit: float
    against: str | None = None
    against_shape: str | None = None
    subject: str = OURS


BUDGETS = [
    Budget("ping-pong-50", "cpu_us", 0.45, STOCK),
    Budget("ping-pong-400", "cpu_us", 0.45, STOCK),
    Budget("ping-pong-50", "cpu_us", 1.35, FLOOR),
    Budget("ping-pong-400", "cpu_us", 1.35, FLOOR),
    Budget("ping-pong-50", "cpu_us", 1.05, FLOOR, subject=RUST),
    Budget("ping-pong-400", "cpu_us", 1.05, FLOOR, subject=RUST),
    Budget("ping-pong-50-of-5000", "cpu_us", 1.05, FLOOR, subject=RUST),
    Budget("ping-pong-50", "cpu_us", 1.15, OURS, subject=LIBEVENT),
    Budget("ping-pong-50-of-5000", "cpu_us", 1.15, OURS, subject=LIBEVENT),
    Budget("idle-crowd", "silent_bytes", 400, subject=RUST),
    Budget("idle-crowd", "silent_bytes", 2000),
    Budget("idle-crowd", "spoken_bytes", 2000),
    Budget("pump", "cpu_us", 1.4, FLOOR),
    Budget("pump", "cpu_us", 1.1, FLOOR, subject=RUST),
    Budget("tls-handshake-rsa2048", "cpu_us", 0.65, STOCK),
    Budget("tls-handshake-p256", "cpu_us", 0.35, STOCK),
    Budget("tls-handshake-resumed-rsa2048", "cpu_us", 0.5, OURS, "tls-handshake-rsa2048"),
    Budget("tls-handshake-resumed-p256", "cpu_us", 0.5, OURS, "tls-handshake-p256"),
    Budget("tls-login-latency", "p50_us", 10_000),  # stock: 40 ms in which it waits for an acknowledgement
    Budget("tls-ping-pong-50", "cpu_us", 0.5, STOCK),
    Budget("tls-ping-pong-50", "loop_us", 2, subject=THREADED),
    Budget("tls-ping-pong-50", "loop_us", 0.15, STOCK, subject=THREADED),
    Budget("tls-handshake-rsa2048", "loop_us", 60, subject=THREADED),
    Budget("tls-handshake-p256", "loop_us", 60, subject=THREADED),
    Budget("download-http", "cpu_us", 0.15, STOCK),
    Budget("download-https", "cpu_us", 0.2, STOCK),
    Budget("upload", "cpu_us", 0.3, STOCK),
    Budget("proxy65", "cpu_us", 0.3, STOCK),
    Budget("storm", "full_ms", 0.4, STOCK, subject=THREADED),
    Budget("storm", "again_ms", 0.4, STOCK, subject=THREADED),
    Budget("tls-idle-crowd", "silent_bytes", 8000),
    Budget("tls-idle-crowd", "spoken_bytes", 8000),
]
