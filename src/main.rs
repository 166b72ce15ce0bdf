//! Glue: parse, run, exit status.

use std::env;
use std::io::{self, Write as _};
use std::panic;
use std::path::Path;
use std::process::{self, ExitCode};

use millipede::cli::{self, Stop};
use millipede::endpoint::exec;
use millipede::error::Status;
use millipede::message;
use millipede::plan::{Plan, Progress, Task};
use millipede::run::{self, signals};
use millipede::sys::refusal::Allocator;
use millipede::sys::signal::end_by;
use millipede::trust::keygen;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        message::say_at_last(format_args!("internal error, please report it: {panic}"));
        // before the command's stdin closes, which it would take for the end of the stream
        exec::kill();
        process::exit(Status::Incomplete.code().into());
    }));
    let status = match cli::parse(env::args_os().skip(1)) {
        Ok(Task::Carry(plan)) => carry_out(&plan),
        Ok(Task::Keygen(file)) => make_key(&file),
        Err(Stop::Print(text)) => print(&text),
        Err(Stop::Usage(lines)) => {
            message::say_block(&lines);
            Status::Usage
        }
    };
    message::finish();
    // a process that was asked to end by a signal ends by it, so that a shell knows
    if let Some(signal) = signals::ending() {
        end_by(signal);
    }
    status.into()
}

fn carry_out(plan: &Plan) -> Status {
    message::set_level(plan.common.verbose);
    message::set_quiet(plan.common.progress == Progress::Never);
    match run::run(plan) {
        Ok(()) => Status::Complete,
        Err(failure) => {
            message::say(&failure);
            failure.status
        }
    }
}

/// Shows the public half, as it belongs into the far end's list.
fn make_key(file: &Path) -> Status {
    match keygen(file) {
        Ok(made) => {
            message::announce(|| made.to_string());
            print(&format!("{}\n", made.line))
        }
        Err(failure) => {
            message::say(&failure);
            failure.status
        }
    }
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
