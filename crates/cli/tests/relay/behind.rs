//! Real servers behind.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::support::*;

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether `program` is there. Where nothing may be skipped it has to be.
fn is_installed(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        let text = format!("SKIP: {program} is not installed; scripts/setup does that");
        assert!(std::env::var_os("TROCHEE_NO_SKIPS").is_none(), "{text}");
        eprintln!("{text}");
    }
    there
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[track_caller]
fn wait_until_it_listens(process: &mut Process, port: u16) {
    wait_for("the server to listen", || {
        assert!(process.0.try_wait().unwrap().is_none(), "it ended");
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

/// Reads until `end` has come.
#[track_caller]
fn read_until(stream: &mut impl Read, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{end:?} is not in {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

/// Direct TLS (XEP-0368).
fn xmpp_client(relay: &Relay, files: &str) -> Tls {
    Tls::new(client(files, "a.test", &["xmpp-client"]), relay.connect())
}

/// With SASL ANONYMOUS; gives the full JID.
#[track_caller]
fn log_in(stream: &mut Tls) -> String {
    let open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                to='a.test' version='1.0'>";
    stream.write_all(open.as_bytes()).unwrap();
    let features = read_until(stream, "</stream:features>");
    assert!(features.contains("ANONYMOUS"), "{features}");
    stream
        .write_all(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
        .unwrap();
    read_until(stream, "<success");
    stream.write_all(open.as_bytes()).unwrap();
    read_until(stream, "</stream:features>");
    stream
        .write_all(b"<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        .unwrap();
    let bound = read_until(stream, "</jid>");
    let (_, jid) = bound.split_once("<jid>").unwrap();
    jid.split_once("</jid>").unwrap().0.to_owned()
}

/// c2s that ends at the relay: a login, and an answer to a stanza.
#[test]
fn prosody() {
    if !is_installed("/usr/bin/prosody") {
        return;
    }
    let folder = Folder::new();
    let port = free_port();
    let config = folder.path("prosody.cfg.lua");
    let text = format!(
        r#"
        run_as_root = true
        data_path = "{folder}"
        pidfile = "{folder}/pid"
        log = {{ info = "{folder}/log" }}
        interfaces = {{ "127.0.0.1" }}
        c2s_ports = {{ {port} }}
        s2s_ports = {{}}
        modules_enabled = {{ "saslauth"; "ping" }}
        modules_disabled = {{ "s2s" }}
        c2s_require_encryption = false
        VirtualHost "a.test"
            authentication = "anonymous"
        "#,
        folder = folder.0.display()
    );
    fs::write(&config, text).unwrap();
    let mut process = Process(
        Command::new("/usr/bin/prosody")
            .args(["-F", "--config", &config])
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_until_it_listens(&mut process, port);
    let files = folder.certificate("a", "a.test");
    let to = format!("127.0.0.1:{port}");
    let relay = Relay::start(&["--to", &to, "--tls", &files, "--alpn", "xmpp-client"]);
    let mut stream = xmpp_client(&relay, &files);
    log_in(&mut stream);
    stream
        .write_all(b"<iq type='get' id='2' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>")
        .unwrap();
    let answer = read_until(&mut stream, "id='2'");
    assert!(answer.contains("result"), "{answer}");
    stream.write_all(b"</stream:stream>").unwrap();
    read_until(&mut stream, "</stream:stream>");
}

/// c2s that ends at the relay: ejabberd learns who the clients are, and what the relay does about its own certificate and
/// end leaves their sessions alone.
#[test]
fn ejabberd() {
    if !is_installed("/usr/sbin/ejabberdctl") {
        return;
    }
    let folder = Folder::new();
    let port = free_port();
    let (config, log) = (folder.path("ejabberd.yml"), folder.path("ejabberd.log"));
    let text = format!(
        r#"
hosts: [a.test]
auth_method: anonymous
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    use_proxy_protocol: true
"#
    );
    fs::write(&config, text).unwrap();
    // As ejabberdctl starts it, which insists on a user of its own, and on a name that Erlang's epmd shall spread.
    let libraries = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut process = Process(
        Command::new("/usr/bin/erl")
            .args(["-noinput", "-s", "ejabberd", "-mnesia", "dir"])
            .arg(format!("{:?}", folder.path("database")))
            .env("HOME", &folder.0)
            .env("ERL_LIBS", libraries)
            .env("ERL_CRASH_DUMP", folder.path("dump"))
            .env("EJABBERD_CONFIG_PATH", &config)
            .env("EJABBERD_LOG_PATH", &log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A helper complains when it loses Erlang at the end.
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_until_it_listens(&mut process, port);
    let files = folder.certificate("a", "a.test");
    let to = format!("127.0.0.1:{port}");
    let mut relay = Relay::start(&[
        "--to",
        &to,
        "--tls",
        &files,
        "--alpn",
        "xmpp-client",
        "--proxy-protocol",
        "v2",
        "--drain-timeout",
        "600",
    ]);
    let mut romeo = xmpp_client(&relay, &files);
    let at_romeo = log_in(&mut romeo);

    // From here on it trusts the second certificate alone.
    folder.certificate("a", "a.test");
    relay.signal(Signal::HUP);
    relay.expect_said(&["reloaded"]);
    let mut juliet = xmpp_client(&relay, &files);
    let at_juliet = log_in(&mut juliet);
    for client in [&romeo, &juliet] {
        let line = format!(
            "Accepted proxied connection {} -> {}",
            client.sock.local_addr().unwrap(),
            relay.addresses[0]
        );
        wait_for(&line, || fs::read_to_string(&log).unwrap().contains(&line));
    }
    write!(
        romeo,
        "<message to='{at_juliet}'><body>hail</body></message>"
    )
    .unwrap();
    read_until(&mut juliet, "<body>hail</body></message>");

    relay.signal(Signal::TERM);
    wait_for("nobody to listen any more", || {
        TcpStream::connect(relay.addresses[0]).is_err()
    });
    write!(
        juliet,
        "<message to='{at_romeo}'><body>farewell</body></message>"
    )
    .unwrap();
    read_until(&mut romeo, "<body>farewell</body></message>");
    for mut client in [romeo, juliet] {
        client.write_all(b"</stream:stream>").unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("</stream:stream>"), "{rest}");
    }
    // Far before the deadline.
    assert!(relay.wait().success());
}

/// HTTP over TLS that ends at the relay; nginx learns who the client is.
#[test]
fn nginx() {
    if !is_installed("/usr/sbin/nginx") {
        return;
    }
    let folder = Folder::new();
    let port = free_port();
    let config = folder.path("nginx.conf");
    let text = format!(
        r#"
        daemon off;
        master_process off;
        pid {folder}/pid;
        error_log {folder}/error.log;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            server {{
                listen 127.0.0.1:{port} proxy_protocol;
                location / {{
                    return 200 "client $proxy_protocol_addr $proxy_protocol_port\n";
                }}
            }}
        }}
        "#,
        folder = folder.0.display()
    );
    fs::write(&config, text).unwrap();
    let mut process = Process(
        Command::new("/usr/sbin/nginx")
            .args(["-c", &config, "-e", &folder.path("error.log")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_until_it_listens(&mut process, port);
    let files = folder.certificate("a", "a.test");
    let to = format!("127.0.0.1:{port}");
    for version in ["v1", "v2"] {
        let relay = Relay::start(&["--to", &to, "--tls", &files, "--proxy-protocol", version]);
        let stream = relay.connect();
        let port = stream.local_addr().unwrap().port();
        let mut stream = tls(stream, &files, "a.test");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            .unwrap();
        let answer = read_until(&mut stream, "client 127.0.0.1 ");
        assert!(
            answer.contains(&format!("client 127.0.0.1 {port}")),
            "{answer}"
        );
    }
}
