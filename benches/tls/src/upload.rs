//! One client uploads a file again and again to mod_http_file_share, each time into a slot of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding as _};

use crate::again::again;
use crate::config;
use crate::pump::{BLOCK, pattern};
use crate::usage::Server;

/// Bytes of a file.
const FILE: usize = 5_000_000;

/// What the slots are signed with: `http_file_share_secret` of the configuration.
const SECRET: &[u8] = b"secret of the benches";

/// The line of JSON. One upload goes before anything counts.
pub fn run(port: u16, server: Server, seconds: Duration) -> Result<String, String> {
    let mut socket = config::connected(port)?;
    let pattern = pattern();
    again(server, seconds, |number| {
        upload(&mut socket, &pattern, number).map(|()| FILE)
    })
}

fn upload(socket: &mut TcpStream, pattern: &[u8], number: usize) -> Result<(), String> {
    let head = format!(
        "PUT /file_share/slot{number}/data HTTP/1.1\r\nHost: files.localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {FILE}\r\n\r\n",
        token(number)?
    );
    let mut send = || {
        socket.write_all(head.as_bytes())?;
        let mut sent = 0;
        while sent < FILE {
            let block = BLOCK.min(FILE - sent);
            socket.write_all(&pattern[..block])?;
            sent += block;
        }
        Ok(())
    };
    send().map_err(|why: std::io::Error| format!("upload: {why}"))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(0) => return Err("closed by the server".to_owned()),
            Ok(_) => answer.push(byte[0]),
            Err(why) => return Err(format!("answer: {why}")),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    match answer.lines().next() {
        Some(status) if status.starts_with("HTTP/1.1 201 ") => Ok(()),
        status => Err(format!("the answer is {status:?}")),
    }
}

/// What mod_http_file_share hands out with a slot: a JSON Web Token (RFC 7519), signed by HMAC-SHA256.
fn token(number: usize) -> Result<String, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|why| why.to_string())?;
    let until = now.as_secs() + 300;
    let payload = format!(
        r#"{{"exp":{until},"slot":"slot{number}","filename":"data","filesize":{FILE},"filetype":"application/octet-stream"}}"#
    );
    let encoded = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let signed = format!(
        "{}.{}",
        encoded(br#"{"alg":"HS256","typ":"JWT"}"#),
        encoded(payload.as_bytes())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    Ok(format!("{signed}.{}", encoded(signature.as_ref())))
}
