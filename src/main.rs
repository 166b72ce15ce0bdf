//! Glue: parse, run, exit status.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::panic;
use std::path::Path;
use std::process::{self, ExitCode};

use millipede::cli::{self, Stop};
use millipede::endpoint::exec;
use millipede::error::{Failure, Status, reason};
use millipede::message;
use millipede::plan::{Common, Progress, Task};
use millipede::run::{self, signals, ssh};
use millipede::sys::out_of_memory::{self, Allocator};
use millipede::sys::wards;
use millipede::trust::keygen;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        if out_of_memory::is_why(panic) {
            out_of_memory::stay();
        }
        message::say_at_last(format_args!("internal error, please report it: {panic}"));
        // before the command's stdin closes, which it would take for the end of the stream
        exec::kill();
        // as where memory is refused: not a status that may be that of the command of `ssh`
        process::exit(out_of_memory::status());
    }));
    let status = match cli::parse(arguments()) {
        Ok(Task::Carry(plan)) => carry_out(&plan.common, || run::run(&plan)).into(),
        Ok(Task::Serve(plan)) => carry_out(&plan.common, || run::serve::serve(&plan)).into(),
        Ok(Task::Put(plan)) => carry_out(&plan.common, || run::put::put(&plan)).into(),
        Ok(Task::Watch(plan)) => carry_out(&plan.put.common, || run::watch::watch(&plan)).into(),
        Ok(Task::Keygen(file)) => make_key(&file).into(),
        Ok(Task::Ssh(plan)) => ssh::near(&plan).into(),
        Ok(Task::Far(plan)) => ssh::far(&plan).into(),
        Err(Stop::Print(text)) => print(&text).into(),
        Err(Stop::Usage(lines)) => {
            message::say_block(&lines);
            Status::Usage.into()
        }
    };
    message::finish();
    wards::dismiss();
    // a process that was asked to end by a signal ends by it, so that a shell knows
    signals::end_as_asked();
    status
}

/// The command line without the program's own name, which may be a word itself: `millipede-ssh` for programs that take
/// the name of an ssh and no arguments for it.
fn arguments() -> impl Iterator<Item = OsString> {
    let mut args = env::args_os();
    let is_ssh =
        args.next().is_some_and(|name| Path::new(&name).file_name() == Some("millipede-ssh".as_ref()));
    is_ssh.then(|| OsString::from("ssh")).into_iter().chain(args)
}

fn carry_out(common: &Common, task: impl FnOnce() -> Result<(), Failure>) -> Status {
    message::set_level(common.verbose);
    message::set_quiet(common.progress == Progress::Never);
    match task() {
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
            message::say(format_args!("cannot write to stdout: {}", reason(&error)));
            Status::Output
        }
    }
}
