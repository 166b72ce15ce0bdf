//! The ends of a measured pipe, the same for every program that is measured: a source of zeroes, a sink that
//! counts, and a plain copy as the limit for whoever reads and writes.
//!
//! `ends source BYTES | ends copy | ends sink BYTES`

use std::env;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// As large as a pipe that was grown: fewer calls, the same for all.
const CHUNK: usize = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let bytes = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let result = match args.first().map(String::as_str) {
        Some("source") => source(bytes),
        Some("copy") => copy().map(|_| true),
        Some("sink") => sink(bytes),
        _ => Err(io::Error::other("usage: ends source BYTES | ends copy | ends sink BYTES")),
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
