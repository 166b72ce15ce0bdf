//! A TCP relay between two ports of this host, whose connections a test can break whenever it likes.

use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// Listens from the start; who connects before the target is known is sent away.
pub struct Relay {
    /// On this port.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: OnceLock<u16>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Listens on a free port.
    pub fn start() -> Relay {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let relay = Relay { port, shared: shared.clone() };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Some(target) = shared.target.get() else { continue };
                if let Ok(far) = TcpStream::connect(("127.0.0.1", *target)) {
                    shared.join(near, far).unwrap();
                }
            }
        });
        relay
    }

    /// Leads to this port from now on.
    pub fn lead_to(&self, port: u16) {
        self.shared.target.set(port).expect("one target");
    }

    /// Breaks every connection; how many there were.
    pub fn kill(&self) -> usize {
        let streams = std::mem::take(&mut *self.shared.streams.lock().unwrap());
        for stream in &streams {
            // one that has ended already needs no breaking
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
        streams.len()
    }
}

impl Shared {
    fn join(&self, near: TcpStream, far: TcpStream) -> io::Result<()> {
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        self.streams.lock().unwrap().extend([near.try_clone()?, far.try_clone()?]);
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            thread::spawn(move || copy(from, to));
        }
        Ok(())
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; 256 << 10];
    while let Ok(n) = from.read(&mut chunk)
        && n > 0
        && to.write_all(&chunk[..n]).is_ok()
    {}
    let _ = to.shutdown(Shutdown::Write);
}
