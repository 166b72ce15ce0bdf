//! Plain TCP on loopback: clients and servers of tunnels, and whoever else connects. No port is fixed.

use super::data::{check, feed};
use super::wait::DEADLINE;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::{mem, thread};

/// A port on which nobody listens, and which nobody else is given as a free one while this test program runs: it is
/// bound here. Who is told to listen on it, as all do with SO_REUSEADDR, still may. Only for what cannot be given the
/// port 0.
pub fn free_port() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    // it stays bound: whoever asked may look for somebody there long after this
    mem::forget(socket);
    port
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
