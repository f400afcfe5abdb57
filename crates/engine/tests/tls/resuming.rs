//! Resumption, and what an idle connection costs.

use super::*;

/// One connection with data both ways, so that tickets arrive; whether it was resumed.
fn visit(driver: &mut Driver, server: &Context, client: &Context) -> bool {
    let ends = driver.pair(server.clone(), client.clone());
    driver.reactor.write(ends.server, b"greeting").unwrap();
    driver.expect_data(ends.client, b"greeting");
    let resumed = driver.reactor.tls_info(ends.client).unwrap().resumed;
    assert_eq!(
        driver.reactor.tls_info(ends.server).unwrap().resumed,
        resumed
    );
    driver.reactor.close(ends.client);
    driver.expect_closed(ends.server);
    resumed
}

#[test]
fn sessions_are_resumed_across_connections() {
    let mut driver = driver!();
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let server = server();
        let client = context(&with!(client_settings(), protocol: Some(protocol.into())));
        assert!(!visit(&mut driver, &server, &client));
        for _ in 0..3 {
            assert!(visit(&mut driver, &server, &client), "{protocol}");
        }
        // Another context has other keys.
        assert!(!visit(&mut driver, &self::server(), &client), "{protocol}");
    }
}

#[test]
fn without_tickets_nothing_is_resumed() {
    let mut driver = driver!();
    let server = context(&with!(server_settings(server_pair()), tickets: false));
    let client = client();
    assert!(!visit(&mut driver, &server, &client));
    assert!(!visit(&mut driver, &server, &client));
}

#[test]
fn a_resumed_session_still_knows_the_peers_certificate() {
    let mut driver = driver!();
    let own = self_signed("s2s.test");
    let server = context(&with!(server_settings(server_pair()),
        verify: words(&["peer"]),
        verifyext: words(&["lsec_continue"]),
    ));
    let client = context(&with!(client_settings(),
        certificate: Some(own.certificate.clone()),
        key: Some(own.key.clone()),
    ));
    visit(&mut driver, &server, &client);
    let before = driver.reactor.stats();
    let ends = driver.pair(server, client);
    assert!(driver.reactor.tls_info(ends.server).unwrap().resumed);
    // Both ends are here.
    let after = driver.reactor.stats();
    assert_eq!(after.handshakes - before.handshakes, 2);
    assert_eq!(after.handshakes_resumed - before.handshakes_resumed, 2);
    assert_eq!(after.handshakes_tls13 - before.handshakes_tls13, 2);
    assert_eq!(after.handshakes_tls12, 0);
    let took = after.handshake_seconds;
    assert_eq!(took.count(), after.handshakes);
    assert!(took.sum(trochee::Unit::Seconds) > 0.0);
    let cipher = driver.reactor.tls_info(ends.server).unwrap().cipher;
    let ciphers = driver.reactor.tallies().agreed_ciphers;
    assert_eq!(ciphers.get(cipher), after.handshakes, "{ciphers:?}");
    let gauges = driver.reactor.gauges();
    assert!(gauges.tls_sessions >= 2 && gauges.tls_contexts >= 2);
    assert!(gauges.tls_memory_bytes > gauges.tls_sessions * 100);
    assert_eq!(
        driver.reactor.peer_certificates(ends.server),
        [der(&own.certificate)]
    );
    assert_eq!(
        driver.reactor.peer_verification(ends.server),
        [[trochee::tls::VerifyError::DepthZeroSelfSignedCert]]
    );
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes = line.trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[test]
fn an_idle_connection_costs_little_memory() {
    if !support::alone(concat!(
        module_path!(),
        "::an_idle_connection_costs_little_memory"
    )) {
        return;
    }
    const COUNT: usize = 400;
    let mut driver = driver!();
    let (server, client) = (server(), client());
    let mut fill = |count: usize| {
        for _ in 0..count {
            let ends = driver.pair(server.clone(), client.clone());
            driver.reactor.write(ends.client, &pattern(20_000)).unwrap();
            driver.expect_data(ends.server, &pattern(20_000));
            driver.reactor.write(ends.server, &pattern(20_000)).unwrap();
            driver.expect_data(ends.client, &pattern(20_000));
        }
    };
    if poller_name() == "select" {
        return;
    }
    fill(50);
    let before = resident();
    fill(COUNT);
    let each = (resident() - before) / (2 * COUNT);
    println!("{each} bytes per idle TLS connection");
    assert!(each < 8_000, "{each} bytes per idle TLS connection");
}
