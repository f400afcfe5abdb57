"""Programs that terminate TLS in front of a server: each with a configuration of its own, all with the same certificate, TLS 1.3,
two threads or workers, and the C loop's echo behind."""

import socket
import time

from .subjects import BUILD

THREADS = 2
WAIT = 10  # seconds for a relay to listen

STUNNEL = """\
foreground = yes
pid =
debug = err
[echo]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {certificate}.crt
key = {certificate}.key
sslVersionMin = TLSv1.3
TIMEOUTclose = 0
"""

HAPROXY = """\
global
    nbthread {threads}
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen echo
    bind 127.0.0.1:{port} ssl crt {certificate}.pem
    server behind 127.0.0.1:{behind}
"""

NGINX = """\
load_module {modules}/ngx_stream_module.so;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_processes {threads};
worker_rlimit_nofile 20000;
events {{ worker_connections 9000; }}
stream {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} ssl reuseport;
        ssl_certificate {certificate}.crt;
        ssl_certificate_key {certificate}.key;
        ssl_protocols TLSv1.3;
        ssl_session_cache shared:tickets:10m;
        proxy_timeout 1h;
        proxy_pass 127.0.0.1:{behind};
    }}
}}
"""

TROCHEE = """\
[server]
threads = {threads}
[[relay]]
listen = ["127.0.0.1:{port}"]
tls = ["{certificate}.crt,{certificate}.key"]
to = "127.0.0.1:{behind}"
"""

CONFIGURATIONS = {"stunnel": STUNNEL, "haproxy": HAPROXY, "nginx": NGINX, "trochee-relay": TROCHEE}


def command(subject, program, port, behind, certificate):
    """Writes the configuration of a relay on `port` to the server at `behind`; the command line that runs it."""
    folder = BUILD / "relays"
    folder.mkdir(parents=True, exist_ok=True)
    # HAProxy wants both in one file.
    certificate.with_suffix(".pem").write_text(certificate.with_suffix(".crt").read_text() + certificate.with_suffix(".key").read_text())
    path = folder / f"{subject.name}.conf"
    path.write_text(CONFIGURATIONS[subject.name].format(
        port=port, behind=behind, certificate=certificate, threads=THREADS, folder=folder, modules="/usr/lib/nginx/modules"))
    return [*program, str(path)]


def listens(server, port):
    """Whether the relay listens before it ends or the time is up: it prints nothing that could be waited for."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False
