//! A proxy that looks at what passes: it may change it, keep a copy, end the connection, or let nothing more through.
//! For a network whose faults come at any time, see [`super::relay`].

use super::relay::{Back, There, Way};
use super::tcp::server;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is about to pass on one connection.
pub struct Piece<'a> {
    /// The connections are counted from 0.
    pub connection: usize,
    pub way: Way,
    /// How much has passed before in this direction.
    pub offset: usize,
    pub bytes: &'a mut Vec<u8>,
}

impl Piece<'_> {
    /// Flips a bit of the byte at this offset of the direction, if that is in here. Whether it is.
    pub fn flip(&mut self, at: usize, bit: u8) -> bool {
        let byte = at.checked_sub(self.offset).and_then(|at| self.bytes.get_mut(at));
        byte.map(|byte| *byte ^= 1 << bit).is_some()
    }
}

type Look = dyn FnMut(Piece<'_>) + Send;

/// A proxy to this port on a port of its own; `look` is shown everything before it passes.
pub fn proxy(target: u16, look: impl FnMut(Piece<'_>) + Send + 'static) -> u16 {
    let look: Arc<Mutex<Look>> = Arc::new(Mutex::new(look));
    let count = Arc::new(AtomicUsize::new(0));
    server(move |near| {
        let connection = count.fetch_add(1, Ordering::Relaxed);
        let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
        [&near, &far].into_iter().for_each(|side| side.set_nodelay(true).unwrap());
        let (back, look) = ((far.try_clone().unwrap(), near.try_clone().unwrap()), look.clone());
        let answers = {
            let look = look.clone();
            thread::spawn(move || pass(connection, Back, back.0, back.1, &look))
        };
        pass(connection, There, near, far, &look);
        let _ = answers.join();
    })
}

fn pass(connection: usize, way: Way, mut from: TcpStream, mut to: TcpStream, look: &Mutex<Look>) {
    let (mut offset, mut chunk) = (0, vec![0; 64 << 10]);
    while let Ok(n) = from.read(&mut chunk)
        && n > 0
    {
        let mut bytes = chunk[..n].to_vec();
        (look.lock().unwrap())(Piece { connection, way, offset, bytes: &mut bytes });
        offset += n;
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
