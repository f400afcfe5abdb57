//! One client downloads a file again and again, as fast as it comes.

use std::io::{Read, Write};
use std::time::Duration;

use rustls::StreamOwned;
use rustls::client::Resumption;

use crate::again::again;
use crate::config;
use crate::pump::{BLOCK, pattern};
use crate::usage::Server;

/// Bytes of a head at most.
const HEAD: usize = 8192;

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// The line of JSON. The file `/files/data` is of the pattern that pump.rs has; it is asked for once before anything counts.
pub fn run(port: u16, server: Server, scheme: &str, seconds: Duration) -> Result<String, String> {
    let mut stream: Box<dyn Stream> = match scheme {
        "http" => Box::new(config::connected(port)?),
        "https" => {
            let configuration = config::configuration(Resumption::disabled())?;
            let client = config::client(&configuration)?;
            Box::new(StreamOwned::new(client, config::connected(port)?))
        }
        _ => return Err(format!("SCHEME cannot be {scheme:?}")),
    };
    let pattern = pattern();
    again(server, seconds, |_| download(&mut *stream, &pattern))
}

/// Asks for the file, and looks at each byte of it; how many there are.
fn download(stream: &mut dyn Stream, pattern: &[u8]) -> Result<usize, String> {
    stream
        .write_all(b"GET /files/data HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .and_then(|()| stream.flush())
        .map_err(|why| format!("request: {why}"))?;
    let mut buffer = vec![0; BLOCK];
    let mut got = 0;
    let end = loop {
        got += receive(stream, &mut buffer[got..HEAD])?;
        if let Some(end) = buffer[..got]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            break end + 4;
        }
        if got == HEAD {
            return Err("the head of the answer has no end".to_owned());
        }
    };
    let length = length(&buffer[..end])?;
    let mut received = got - end;
    if buffer[end..got] != pattern[..received] {
        return Err("the file differs in its beginning".to_owned());
    }
    while received < length {
        let most = BLOCK.min(length - received);
        let got = receive(stream, &mut buffer[..most])?;
        if buffer[..got] != pattern[received % BLOCK..][..got] {
            return Err(format!("the file differs at byte {received}"));
        }
        received += got;
    }
    Ok(received)
}

fn receive(stream: &mut dyn Stream, into: &mut [u8]) -> Result<usize, String> {
    match stream.read(into) {
        Ok(0) => Err("closed by the server".to_owned()),
        Ok(got) => Ok(got),
        Err(why) => Err(format!("receive: {why}")),
    }
}

/// What the head of an answer says of the file.
fn length(head: &[u8]) -> Result<usize, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("the answer is {status:?}"));
    }
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| "the answer has no Content-Length".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_is_read() {
        assert_eq!(
            length(b"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 12\r\n\r\n"),
            Ok(12)
        );
        assert!(length(b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\n").is_err());
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
