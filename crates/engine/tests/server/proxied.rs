//! Listeners of which proxies speak for their clients.

use trochee::{Network, ProxyProtocol};

use super::*;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

fn fronts(networks: &[&str]) -> Vec<Network> {
    networks.iter().map(|it| it.parse().unwrap()).collect()
}

/// Tells the client its name, and whether a proxy has spoken for it.
struct Telling;

impl Handler for Telling {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        let Some(Name::Inet(peer)) = conn.peer_name() else {
            panic!("no name")
        };
        let text = format!("{} {}", peer.ip(), conn.proxied().is_some());
        let _ = conn.write(text.as_bytes());
    }
}

#[test]
fn a_handler_begins_with_the_client_behind_the_header_and_behind_tls() {
    available!();
    for threads in THREADS {
        let contexts = Contexts::new(server());
        for tls in [false, true] {
            let server = run(threads, |builder| {
                let listen = Listen::on("127.0.0.1:0").proxy_protocol(fronts(&["127.0.0.1"]));
                let listen = if tls { listen.tls(&contexts) } else { listen };
                builder.listen(listen, || Telling)
            });
            let mut stream = server.connect();
            stream.write_all(HEADER).unwrap();
            if tls {
                expect(&mut peer_client(stream, "example.test"), b"192.0.2.7 true");
            } else {
                expect(&mut stream, b"192.0.2.7 true");
            }
        }
    }
}

#[test]
fn who_is_no_front_is_served_and_the_settings_count_where_the_listener_has_none() {
    available!();
    let server = run(1, |builder| {
        let listen = Listen::on("127.0.0.1:0").proxy_protocol(fronts(&["192.0.2.0/24"]));
        builder.listen(listen, || Telling)
    });
    expect(&mut server.connect(), b"127.0.0.1 false");
    let trusted = trochee::Networks::named(["loopback"]).unwrap();
    let server = run(1, |builder| {
        let config = with!(Config::default(),
            proxy_protocol: with!(ProxyProtocol::default(), trusted: trusted),
        );
        builder.config(config).listen("127.0.0.1:0", || Telling)
    });
    let mut stream = server.connect();
    stream.write_all(HEADER).unwrap();
    expect(&mut stream, b"192.0.2.7 true");
}

/// Its handler hears of the end alone, and a server that ends does not wait for headers.
#[test]
fn no_header_is_the_end() {
    available!();
    let (make, calls) = probe(|_, _| {});
    let server = run(1, |builder| {
        let listen = Listen::on("127.0.0.1:0").proxy_protocol(fronts(&["127.0.0.1"]));
        builder.listen(listen, make)
    });
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let text = format!("{}: no PROXY header", stream.local_addr().unwrap());
    let wanted = Call::Disconnect(Reason::ProxyHeader(text));
    assert_eq!(next(&calls), wanted);

    let mut waiting = server.connect();
    waiting.write_all(b"PROXY ").unwrap();
    thread::sleep(SILENCE);
    let took = server.end(PATIENCE);
    assert!(took < PATIENCE / 2, "{took:?}");
    assert_eq!(next(&calls), Call::Disconnect(Reason::Local));
}
