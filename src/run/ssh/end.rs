//! What a command at another host comes to, as ssh has it.

use crate::proto::outcome::{CommandEnd, Outcome, Status};
use crate::run::conclusion::Outcomes;
use crate::sys::child::Exit;

/// The exit status of ssh for its own failures, and so of this.
pub(crate) const FAILED: u8 = 255;

/// What has come of a session, here.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionEnd {
    /// How its streams were judged.
    pub(crate) outcomes: Outcomes,
    /// The reader of our stdout went before it had all.
    pub(crate) unwanted: bool,
    /// No connection was ever up, and ssh had ended so by then.
    pub(crate) unmet: Option<Exit>,
}

/// The exit status of the near end, and what the user is to be told. `host`: what messages call the far end.
pub(crate) fn result(ended: &SessionEnd, host: &str) -> (u8, Option<String>) {
    let SessionEnd { outcomes, unwanted, .. } = ended;
    let (output, input) = (outcomes.incoming.as_ref(), outcomes.outgoing.as_ref());
    let Some((end, sentence)) = input.and_then(|input| Some((input.command?, input.sentence.clone()))) else {
        return (FAILED, Some(unknown_end(ended, host)));
    };
    let told_there = Some(sentence).filter(|sentence| !sentence.is_empty());
    match output {
        Some(output) if output.is_complete() => (status(end), told_there),
        Some(output) if output.status == Status::Output && !output.by_peer => match *unwanted {
            // the command has noticed, or does not mind
            true => (status(end), told_there),
            // it may have ended well before the first byte that was lost
            false => (FAILED, Some(output.sentence.clone())),
        },
        Some(output) => (FAILED, Some(not_whole(output, host))),
        None => (FAILED, Some("the output of the command is not whole".to_owned())),
    }
}

/// What the user is to be told where it is not known how the command ended.
fn unknown_end(ended: &SessionEnd, host: &str) -> String {
    let failed = |outcome: &&Outcome| !outcome.is_complete();
    let output = ended.outcomes.incoming.as_ref().filter(failed);
    let input = ended.outcomes.outgoing.as_ref().filter(failed);
    let Some(why) = input.or(output) else { return "the session has ended".to_owned() };
    if why.by_peer || why.status != Status::Incomplete {
        return told(why, host);
    }
    if let Some(exit) = ended.unmet {
        // what each link says then is what follows from it
        return too_early(exit);
    }
    match output.filter(|_| !ended.unwanted) {
        // all of the input may have arrived: that is no comfort to who wants the output
        Some(output) if output.status == Status::Incomplete && output.sentence != why.sentence => {
            not_whole(output, host)
        }
        Some(output) => told(output, host),
        None => format!("how the command ended is not known: {}", why.sentence),
    }
}

fn not_whole(output: &Outcome, host: &str) -> String {
    format!("the output of the command is not whole: {}", told(output, host))
}

/// What ssh makes of the end of a command: a signal has no number there.
fn status(end: CommandEnd) -> u8 {
    match end {
        CommandEnd::Exit(status) => status,
        CommandEnd::Signal(_) => FAILED,
    }
}

/// ssh has ended so, and the far end was never heard but for its greeting.
fn too_early(exit: Exit) -> String {
    let how = match exit {
        Exit::Status(status) => format!("ssh ended with status {status}"),
        Exit::Signal(signal) => format!("ssh was killed by signal {signal}"),
    };
    format!("{how} before the session began")
}

fn told(outcome: &Outcome, host: &str) -> String {
    match outcome.by_peer {
        true => format!("{host}: {}", outcome.sentence),
        false => outcome.sentence.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::way::PerWay;

    fn ended(end: CommandEnd) -> Option<Outcome> {
        Some(Outcome::there(Status::Complete, "").of_command(Some(end)))
    }

    fn result([incoming, outgoing]: &[Option<Outcome>; 2], unwanted: bool) -> (u8, Option<String>) {
        let outcomes = PerWay { incoming: incoming.clone(), outgoing: outgoing.clone() };
        super::result(&SessionEnd { outcomes, unwanted, unmet: None }, "backup")
    }

    #[test]
    fn the_status_of_the_command_is_the_result() {
        let whole = || Some(Outcome::here(Status::Complete, ""));
        for n in [0, 1, 7, 127, 255] {
            assert_eq!(result(&[whole(), ended(CommandEnd::Exit(n))], false), (n, None));
        }
        assert_eq!(result(&[whole(), ended(CommandEnd::Signal(15))], false), (FAILED, None));
        let gone = Some(Outcome::here(Status::Output, "whoever read stdout has gone"));
        assert_eq!(result(&[gone, ended(CommandEnd::Exit(3))], true), (3, None));
        let full = Some(Outcome::here(Status::Output, "cannot write to stdout: no space left"));
        let (status, told) = result(&[full, ended(CommandEnd::Exit(0))], false);
        assert_eq!((status, told.as_deref()), (FAILED, Some("cannot write to stdout: no space left")));
        let lost =
            ended(CommandEnd::Exit(0)).map(|outcome| Outcome { sentence: "7 bytes".into(), ..outcome });
        assert_eq!(result(&[whole(), lost], false), (0, Some("7 bytes".into())));
    }

    #[test]
    fn an_output_that_is_not_whole_and_a_session_that_failed_are_ours() {
        let failed = Some(Outcome::here(Status::Incomplete, "the receiver is gone"));
        let (status, told) = result(&[failed.clone(), ended(CommandEnd::Exit(0))], false);
        assert!(status == FAILED && told.unwrap().ends_with("not whole: the receiver is gone"));
        assert_eq!(result(&[None, ended(CommandEnd::Exit(0))], false).0, FAILED);
        let (status, told) = result(&[failed.clone(), failed], false);
        assert_eq!((status, told.as_deref()), (FAILED, Some("the receiver is gone")));
        let there = Some(Outcome::there(Status::Input, "cannot run it"));
        assert_eq!(result(&[None, there], false).1.as_deref(), Some("backup: cannot run it"));
        assert_eq!(result(&[None, None], false), (FAILED, Some("the session has ended".into())));
    }

    #[test]
    fn an_input_that_has_arrived_is_no_word_on_an_output_that_is_cut() {
        let doubtful =
            || Some(Outcome::here(Status::Incomplete, "all has arrived, but no verdict: it is gone"));
        let cut = || Some(Outcome::here(Status::Incomplete, "it is gone"));
        let (status, told) = result(&[cut(), doubtful()], false);
        assert_eq!(status, FAILED);
        assert_eq!(told.as_deref(), Some("the output of the command is not whole: it is gone"));
        let whole = Some(Outcome::here(Status::Complete, ""));
        let unwanted = Some(Outcome::here(Status::Output, "whoever read stdout has gone"));
        for (output, unwanted) in [(whole, false), (unwanted, true)] {
            let (status, told) = result(&[output, doubtful()], unwanted);
            assert_eq!(status, FAILED);
            let line = "how the command ended is not known: all has arrived, but no verdict: it is gone";
            assert_eq!(told.as_deref(), Some(line));
        }
        let full = Some(Outcome::here(Status::Output, "cannot write to stdout: no space left"));
        assert_eq!(result(&[full, cut()], false).1.as_deref(), Some("cannot write to stdout: no space left"));
    }

    #[test]
    fn an_ssh_that_ends_before_anybody_was_met_is_what_is_told() {
        let links = Some(Outcome::here(Status::Incomplete, "host:1: connection refused; ssh: closed"));
        let told = |outcome: Option<Outcome>, unmet| {
            let outcomes = PerWay { incoming: outcome.clone(), outgoing: outcome };
            super::result(&SessionEnd { outcomes, unwanted: false, unmet }, "backup")
        };
        for (exit, line) in [
            (Exit::Status(255), "ssh ended with status 255 before the session began"),
            (Exit::Signal(9), "ssh was killed by signal 9 before the session began"),
        ] {
            assert_eq!(told(links.clone(), Some(exit)), (FAILED, Some(line.into())));
        }
        assert_eq!(told(links.clone(), None).1, links.map(|links| links.sentence));
        let ours = Some(Outcome::here(Status::Input, "cannot read stdin"));
        assert_eq!(told(ours, Some(Exit::Status(1))).1.as_deref(), Some("cannot read stdin"));
        let theirs = Some(Outcome::there(Status::Incomplete, "no shell"));
        assert_eq!(told(theirs, Some(Exit::Status(1))).1.as_deref(), Some("backup: no shell"));
    }
}
