//! Glue: parse, run, exit status.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use millipede::cli::{self, Stop};
use millipede::error::Status;
use millipede::message;

fn main() -> ExitCode {
    let status = match cli::parse(env::args_os().skip(1)) {
        Ok(plan) => {
            message::set_level(plan.common.verbose);
            Status::Complete
        }
        Err(Stop::Print(text)) => print(&text),
        Err(Stop::Usage(lines)) => {
            message::say_block(&lines);
            Status::Usage
        }
    };
    status.into()
}

/// Prints what was asked for; unlike `print!`, without a panic where stdout is closed.
fn print(text: &str) -> Status {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Status::Complete,
        Err(error) => {
            message::say(format_args!("cannot write to stdout: {error}"));
            Status::Output
        }
    }
}
