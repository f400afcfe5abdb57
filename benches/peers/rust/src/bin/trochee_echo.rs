//! trochee's Rust front: `trochee_echo PORT [THREADS]`.

use trochee::{Config, Conn, Handler, Server, server};

struct Echo;

impl Handler for Echo {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let _ = conn.write(data);
    }
}

fn main() -> Result<(), server::Error> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_default();
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse());
    let mut config = Config::default();
    let most = std::env::var("BENCH_MAX_CONNECTIONS");
    config.max_connections = most.ok().and_then(|most| most.parse().ok());
    let server = Server::builder()
        .config(config)
        .backend("epoll")
        .threads(threads.unwrap_or(0))
        .listen(&*format!("127.0.0.1:{port}"), || Echo)
        .build()?;
    println!("ready {port} epoll");
    server.run()
}
