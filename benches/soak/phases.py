"""What strangers do, one phase after the other. To add a kind, add a row; what it does is in benches/tls/."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    name: str
    title: str
    shape: str  # of tls_load
    arguments: tuple  # before the seconds
    port: str = "c2s_tls_port"
    reload_every: float = 0  # seconds; 0: never


def strangers(name, title, kind, at_a_time, **more):
    return Phase(name, title, "strangers", (kind, at_a_time), **more)


PHASES = [
    strangers("bare", "TCP, then drop", "bare", 64, port="c2s_port"),
    strangers("half-hello", "half a ClientHello, then drop", "half-hello", 64),
    strangers("hello", "200 ClientHellos at a time, dropped at the first byte of the answer", "hello", 200),
    strangers("tls", "a TLS handshake, then drop", "tls", 32),
    strangers("header", "TLS and a stream header, then drop", "header", 32),
    strangers("password", "a login with a wrong password, then drop", "password", 32),
    strangers("slow", "500 that send a ClientHello, one byte in 250 ms", "slow", 500),
    Phase("stalled", "4 that log in, have 9 MB sent to each, and do not read", "stall", (4,)),
    strangers("junk", "64 KiB that are no XML in a stream", "junk", 32, port="c2s_port"),
    Phase("storm", "300 log in at once, leave, and come back", "come-back", (300,)),
    strangers("reload", "TLS handshakes, and a reload every three seconds", "tls", 4, reload_every=3),
]
