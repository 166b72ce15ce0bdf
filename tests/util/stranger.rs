//! Somebody at the receiver's port who speaks the protocol himself.

use super::connect;
use millipede::proto::hello::{Features, Hello, Id, Reply};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Such as a sender says, of a session by this name.
pub fn hello(session: u64) -> Hello {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&session.to_be_bytes());
    Hello { attempt: 1, ..Hello::of(Id::new(id), Features::NONE, 4 << 20) }
}

/// Says this and hears the answer, if one comes before the end.
pub fn say(port: u16, bytes: &[u8]) -> (TcpStream, Option<Reply>) {
    let mut stream = connect(port);
    // one who is sent away in mid-sentence has an answer waiting too
    let _ = stream.write_all(bytes);
    let mut heard = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        if let Ok(Some((reply, _))) = Reply::decode(&heard) {
            return (stream, Some(reply));
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => heard.extend_from_slice(&chunk[..n]),
            _ => return (stream, None),
        }
    }
}
