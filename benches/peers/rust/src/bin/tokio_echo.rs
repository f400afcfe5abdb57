//! tokio, as its own example has it: a task for each connection, which reads and writes back. `tokio_echo PORT [THREADS]`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    // A buffer of each connection's own, or one connection would hold it while it waits.
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn serve(port: String) -> io::Result<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("ready {port} epoll");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(echo(stream));
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_default();
    let threads = arguments.next().and_then(|threads| threads.parse().ok());
    let mut builder = match threads {
        Some(threads) if threads > 1 => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
        _ => Builder::new_current_thread(),
    };
    builder.enable_io().build()?.block_on(serve(port))
}
