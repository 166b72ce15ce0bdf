//! Plain TCP on loopback: clients and servers of tunnels, and whoever else connects. No port is fixed.

use super::data::{check, feed};
use super::wait::DEADLINE;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// A port that nobody listened on a moment ago. Only for what cannot be given the port 0.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listener.local_addr().unwrap().port()
}

/// Connects to this port of 127.0.0.1.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // a test that would hang fails in place of it
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A server on a free port: `serve` is given each connection, in a thread of its own.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers with what it is sent, up to the end.
pub fn echo(mut stream: TcpStream) {
    let mut chunk = [0; 65536];
    while let Ok(n) = stream.read(&mut chunk)
        && n > 0
        && stream.write_all(&chunk[..n]).is_ok()
    {}
    let _ = stream.shutdown(Shutdown::Write);
}

/// One byte there and back.
pub fn ping(stream: &mut TcpStream, byte: u8) {
    stream.write_all(&[byte]).unwrap();
    let mut back = [0];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, [byte]);
}

/// Writes the pattern in the background, ends, and checks that all of it comes back.
pub fn there_and_back(mut stream: TcpStream, bytes: u64) {
    let mut writer = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back.len() as u64, bytes);
    check(0, &back);
    feeder.join().unwrap();
}
