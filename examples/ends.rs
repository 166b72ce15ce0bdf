//! The ends of a measured pipe, the same for every program that is measured: a source of zeroes, a sink that
//! counts, and the limits of what a program between them could do: a plain copy, and bytes that are moved from pipe to
//! pipe over one connection without being copied, with and without a copy kept until it is acknowledged.
//!
//! ```text
//! ends source BYTES [PIPE] | ends copy | ends sink BYTES [PIPE]
//! ends source BYTES [PIPE] | ends send PORT [keep]        ends receive PORT [keep] | ends sink BYTES [PIPE]
//! ends sendfile PORT < FILE                               ends read PORT
//! ```
//!
//! `sendfile` is the limit for a program whose input is a file, `read` the cheapest far end of it.
//!
//! PIPE: how large the source makes the pipe that it writes to, and the sink the one that it reads from, in bytes.

use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice, tee};
use std::collections::VecDeque;
use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

/// As large as a pipe that was grown: fewer calls, the same for all.
const CHUNK: usize = 1 << 20;

/// Legs that are kept until they are acknowledged.
const KEPT: usize = 8;

const USAGE: &str = "usage: ends source|sink BYTES [PIPE] | ends copy | ends send|receive PORT [keep] |\n       \
                     ends sendfile PORT < FILE | ends read PORT";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    let (bytes, pipe) = (number(1).unwrap_or(u64::MAX), number(2).map(|size| size as usize));
    let port = number(1).and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let keeps = args.get(2).is_some_and(|word| word == "keep");
    let result = match args.first().map(String::as_str) {
        Some("source") => sized(io::stdout().as_fd(), pipe).and_then(|()| source(bytes)),
        Some("copy") => copy().map(|()| true),
        Some("sink") => sized(io::stdin().as_fd(), pipe).and_then(|()| sink(bytes)),
        Some("send") if keeps => send_and_keep(port).map(|()| true),
        Some("send") => send(port).map(|()| true),
        Some("receive") => receive(port, keeps).map(|()| true),
        Some("sendfile") => send_file(port).map(|()| true),
        Some("read") => read(port).map(|()| true),
        _ => Err(io::Error::other(USAGE)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sized(end: BorrowedFd<'_>, size: Option<usize>) -> io::Result<()> {
    size.map_or(Ok(()), |size| Ok(fcntl_setpipe_size(end, size).map(drop)?))
}

fn source(mut bytes: u64) -> io::Result<bool> {
    let (chunk, mut stdout) = (vec![0; CHUNK], io::stdout().lock());
    while bytes > 0 {
        let n = bytes.min(CHUNK as u64);
        stdout.write_all(&chunk[..n as usize])?;
        bytes -= n;
    }
    Ok(true)
}

/// Whether exactly that many bytes came.
fn sink(bytes: u64) -> io::Result<bool> {
    let (mut chunk, mut stdin, mut seen) = (vec![0; CHUNK], io::stdin().lock(), 0);
    loop {
        match stdin.read(&mut chunk)? {
            0 => return Ok(seen == bytes),
            n => seen += n as u64,
        }
    }
}

fn copy() -> io::Result<()> {
    let (mut chunk, mut stdin, mut stdout) = (vec![0; CHUNK], io::stdin().lock(), io::stdout().lock());
    loop {
        match stdin.read(&mut chunk)? {
            0 => return Ok(()),
            n => stdout.write_all(&chunk[..n])?,
        }
    }
}

// ---- without copying ---------------------------------------------------------------------------------------

/// Moves up to so many bytes; 0 at the end. Waits for them.
fn moved(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    loop {
        match splice(from, None, to, None, len, SpliceFlags::MOVE) {
            Err(rustix::io::Errno::INTR) => {}
            moved => return Ok(moved?),
        }
    }
}

fn move_all(from: BorrowedFd<'_>, to: BorrowedFd<'_>, mut len: usize) -> io::Result<()> {
    while len > 0 {
        match moved(from, to, len)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => len -= n,
        }
    }
    Ok(())
}

fn dialled(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn send(port: u16) -> io::Result<()> {
    let (stdin, stream) = (io::stdin(), dialled(port)?);
    while moved(stdin.as_fd(), stream.as_fd(), CHUNK)? > 0 {}
    Ok(())
}

/// The whole of stdin, which is a file.
fn send_file(port: u16) -> io::Result<()> {
    let (stdin, stream) = (io::stdin(), dialled(port)?);
    while rustix::fs::sendfile(&stream, &stdin, None, CHUNK)? > 0 {}
    Ok(())
}

/// One connection, whose bytes are read and forgotten.
fn read(port: u16) -> io::Result<()> {
    let (mut chunk, mut stream) =
        (vec![0; CHUNK], TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.accept()?.0);
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}

/// A pipe of [`CHUNK`] bytes.
fn large_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (out, into) = pipe()?;
    fcntl_setpipe_size(&into, CHUNK)?;
    Ok((out, into))
}

/// Every leg stays in a pipe of its own until the far end has acknowledged it.
fn send_and_keep(port: u16) -> io::Result<()> {
    let (stdin, mut stream) = (io::stdin(), dialled(port)?);
    let nothing = File::options().write(true).open("/dev/null")?;
    let (work_out, work_in) = large_pipe()?;
    let mut empty = (0..KEPT).map(|_| large_pipe()).collect::<io::Result<Vec<_>>>()?;
    let mut kept = VecDeque::new();
    let (mut sent, mut acknowledged) = (0, 0);
    loop {
        while empty.is_empty() {
            let mut so_far = [0; 8];
            stream.read_exact(&mut so_far)?;
            acknowledged = acknowledged.max(u64::from_be_bytes(so_far));
            let done = kept.iter().take_while(|(_, _, end)| *end <= acknowledged).count();
            for (leg, len, _) in kept.drain(..done) {
                let (out, _): &(OwnedFd, OwnedFd) = &leg;
                move_all(out.as_fd(), nothing.as_fd(), len)?;
                empty.push(leg);
            }
        }
        let Some(leg) = empty.pop() else { continue };
        let len = moved(stdin.as_fd(), leg.1.as_fd(), CHUNK)?;
        if len == 0 {
            // to close with answers unread would be a reset, and the far end would lose the rest
            stream.shutdown(Shutdown::Write)?;
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
        if tee(&leg.0, &work_in, len, SpliceFlags::empty())? != len {
            return Err(io::Error::other("a leg that cannot be kept whole"));
        }
        move_all(work_out.as_fd(), stream.as_fd(), len)?;
        sent += len as u64;
        kept.push_back((leg, len, sent));
    }
}

/// One connection, whose bytes go to stdout; how many it was is told after each piece, if the sender keeps them.
fn receive(port: u16, keeps: bool) -> io::Result<()> {
    let stream = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.accept()?.0;
    let (stdout, mut seen) = (io::stdout(), 0u64);
    loop {
        match moved(stream.as_fd(), stdout.as_fd(), CHUNK)? {
            0 => return Ok(()),
            n => seen += n as u64,
        }
        if keeps {
            // a sender that has sent everything is gone
            let _ = (&stream).write_all(&seen.to_be_bytes());
        }
    }
}
