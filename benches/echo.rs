//! How long a tunnel takes to carry one byte there and back, next to what the kernel takes alone and to a relay of
//! two threads, on loopback and in turns. What a tunnel adds to a keystroke is the difference to the first line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of turns, and echoes in each turn.
const ROUNDS: usize = 7;
const ECHOES: usize = 1000;

fn main() -> io::Result<()> {
    let direct = serve(|stream| {
        let _ = pass(&stream, &stream);
    })?;
    let relay = serve(move |near| {
        let far = TcpStream::connect(direct).expect("the server");
        far.set_nodelay(true).expect("a socket");
        thread::scope(|scope| {
            scope.spawn(|| pass(&near, &far));
            let _ = pass(&far, &near);
        });
    })?;
    let target = direct.port().to_string();
    let (rx, port) = start(&["rx", "127.0.0.1", "0", "duplex", "initiate", "127.0.0.1", &target])?;
    let (tx, entrance) = start(&["tx", "127.0.0.1", &port, "duplex", "terminate", "0"])?;
    let tunnel = SocketAddr::from(([127, 0, 0, 1], entrance.parse().expect("a port")));

    let ways = [("direct", direct), ("relay of two threads", relay), ("millipede, duplex", tunnel)];
    let mut taken = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (taken, (_, at)) in taken.iter_mut().zip(ways) {
            taken.push(echoes(at)?);
        }
    }
    let medians = taken.map(median);
    for ((name, _), took) in ways.iter().zip(medians) {
        let times = took.as_secs_f64() / medians[0].as_secs_f64();
        println!("{name:20} {:6.1} us an echo, {times:.1} times direct", took.as_secs_f64() * 1e6);
    }
    for mut process in [tx, rx] {
        process.kill()?;
        process.wait()?;
    }
    Ok(())
}

/// Somebody who serves each connection in a thread of its own, at this address.
fn serve(each: impl Fn(TcpStream) + Clone + Send + 'static) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).expect("a socket");
            let each = each.clone();
            thread::spawn(move || each(stream));
        }
    });
    Ok(at)
}

/// Passes on what comes, until nothing comes any more.
fn pass(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            n => to.write_all(&chunk[..n])?,
        }
    }
}

/// A millipede and the last word of its first line: the port where it listens.
fn start(words: &[&str]) -> io::Result<(Child, String)> {
    let mut millipede = Command::new(env!("CARGO_BIN_EXE_millipede"));
    let mut process = millipede.args(words).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(process.stderr.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line)?;
    // what else it says must not fill the pipe
    thread::spawn(move || io::copy(&mut said, &mut io::sink()));
    Ok((process, line.split_whitespace().last().unwrap_or_default().to_owned()))
}

/// The median time of one byte there and back.
fn echoes(at: SocketAddr) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    let mut byte = [b'x'];
    let mut taken = Vec::with_capacity(ECHOES);
    for _ in 0..ECHOES {
        let begun = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        taken.push(begun.elapsed());
    }
    Ok(median(taken))
}

fn median(mut taken: Vec<Duration>) -> Duration {
    taken.sort_unstable();
    taken[taken.len() / 2]
}
