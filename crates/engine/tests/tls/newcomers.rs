//! Newcomers over TLS: the time for the first data begins with the end of the handshake.

use trochee::{Authentication, Stage};

use super::*;

#[test]
fn a_newcomer_that_says_nothing_over_tls_ends() {
    const SHORT: Duration = Duration::from_millis(300);
    let mut driver = driver!(newcomer_data_timeout: SHORT);
    let (key, stream) = driver.serve();
    let awaited = Authentication::Awaited;
    assert!(driver.reactor.set_authentication(key, awaited));
    driver.reactor.start_tls(key, named(server())).unwrap();
    let mut stages = Vec::new();
    let mut reason = None;
    let received = driver.drive_peer(
        move || {
            // Later than the first data would have to come without TLS.
            std::thread::sleep(2 * SHORT);
            let mut tls = peer_client(stream, "example.test");
            // A read goes through the handshake, and the server says nothing until the end.
            tls.read_to_end(&mut Vec::new()).is_ok()
        },
        |reactor, event| match event {
            Seen::Secured(_) => {
                let counts = reactor.stages();
                stages.extend(
                    Stage::ALL
                        .into_iter()
                        .filter(|stage| counts[*stage as usize] > 0),
                );
            }
            Seen::Closed(_, why) => reason = Some(why),
            _ => {}
        },
    );
    assert!(received, "the end was not one that TLS knows");
    assert_eq!(stages, [Stage::Secured]);
    assert_eq!(reason, Some(Reason::NewcomerSilent));
}
