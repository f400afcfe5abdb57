//! A server that runs for as long as its test.

use super::*;

/// How many threads each test runs with.
pub const THREADS: [usize; 2] = [1, 4];

pub struct Running {
    pub handle: ServerHandle,
    /// What the log was told.
    pub notices: Arc<Mutex<Vec<String>>>,
    thread: Option<thread::JoinHandle<Result<(), trochee::server::Error>>>,
}

/// Builds and runs a server on the poller of this copy of the suite.
#[track_caller]
pub fn run(threads: usize, with: impl FnOnce(Builder) -> Builder) -> Running {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&notices);
    let builder = Server::builder()
        .backend(poller_name())
        .threads(threads)
        .on_notice(move |level, text| {
            if level >= Level::Warn {
                log.lock().unwrap().push(text.to_owned());
            }
        });
    let server = with(builder).build().unwrap();
    Running {
        handle: server.handle(),
        notices,
        thread: Some(thread::spawn(move || server.run())),
    }
}

/// The same for one listener and one kind of handler.
#[track_caller]
pub fn serve<H: Handler>(threads: usize, make: impl Fn() -> H + Send + Sync + 'static) -> Running {
    run(threads, |builder| builder.listen("127.0.0.1:0", make))
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        match &self.handle.addresses()[0] {
            Name::Inet(address) => *address,
            other => panic!("a listener named {other:?}"),
        }
    }

    pub fn connect(&self) -> TcpStream {
        peer(self.address())
    }

    /// Ends the server; gives how long that took.
    #[track_caller]
    pub fn end(mut self, within: Duration) -> Duration {
        let began = Instant::now();
        self.handle.shutdown(within);
        self.thread.take().unwrap().join().unwrap().unwrap();
        began.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            thread.join().unwrap().unwrap();
        }
    }
}

/// RFC 862.
pub struct Echo;

impl Handler for Echo {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let _ = conn.write(data);
    }
}

/// What [`Probe`] saw.
#[derive(Debug, PartialEq)]
pub enum Call {
    Connect,
    Incoming(Vec<u8>),
    Disconnect(Reason),
    End,
    Drain,
    ReadTimeout,
    Secured(Option<String>),
    Timer(TimerId),
    Shutdown,
}

/// Tells of every call, and does what `act` does with it.
pub struct Probe<F> {
    pub calls: Sender<Call>,
    pub act: F,
}

/// A factory of probes, and where their calls arrive.
pub fn probe<F>(act: F) -> (impl Fn() -> Probe<F> + Send + Sync, Receiver<Call>)
where
    F: FnMut(&mut Conn<'_>, &Call) + Clone + Send + Sync + 'static,
{
    let (calls, seen) = mpsc::channel();
    let make = move || Probe {
        calls: calls.clone(),
        act: act.clone(),
    };
    (make, seen)
}

/// What a probe does with a call.
pub type Act = Box<dyn FnMut(&mut Conn<'_>, &Call)>;

/// A factory of probes that also gives the handles of its connections away.
pub fn handles() -> (
    impl Fn() -> Probe<Act> + Send + Sync,
    Receiver<Call>,
    Receiver<Handle>,
) {
    let (calls, seen) = mpsc::channel();
    let (give, handles) = mpsc::channel();
    let make = move || {
        let give = give.clone();
        let act: Act = Box::new(move |conn, call| {
            if *call == Call::Connect {
                give.send(conn.handle().unwrap()).unwrap();
            }
        });
        Probe {
            calls: calls.clone(),
            act,
        }
    };
    (make, seen, handles)
}

impl<F: FnMut(&mut Conn<'_>, &Call) + 'static> Probe<F> {
    fn tell(&mut self, conn: &mut Conn<'_>, call: Call) {
        (self.act)(conn, &call);
        let _ = self.calls.send(call);
    }
}

impl<F: FnMut(&mut Conn<'_>, &Call) + 'static> Handler for Probe<F> {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        self.tell(conn, Call::Connect);
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        self.tell(conn, Call::Incoming(data.to_vec()));
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        self.tell(conn, Call::Disconnect(reason.clone()));
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        self.tell(conn, Call::End);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        self.tell(conn, Call::Drain);
    }

    fn on_read_timeout(&mut self, conn: &mut Conn<'_>) -> bool {
        self.tell(conn, Call::ReadTimeout);
        false
    }

    fn on_status(&mut self, conn: &mut Conn<'_>, status: Status) {
        assert_eq!(status, Status::Secured);
        let name = conn.tls_info().and_then(|info| info.server_name);
        self.tell(conn, Call::Secured(name));
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, timer: TimerId) {
        self.tell(conn, Call::Timer(timer));
    }

    fn on_shutdown(&mut self, conn: &mut Conn<'_>, _deadline: Instant) {
        self.tell(conn, Call::Shutdown);
    }
}

/// The next thing of a channel, within the patience of the tests.
#[track_caller]
pub fn next<T>(seen: &Receiver<T>) -> T {
    seen.recv_timeout(PATIENCE).expect("waited in vain")
}

/// The bytes of `wanted` from a stream.
#[track_caller]
pub fn expect(stream: &mut impl Read, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == wanted, "not what was sent");
}
