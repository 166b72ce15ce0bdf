//! What follows from everything that may happen, in every state of a file.

use super::tests::{found, seen};
use super::*;

/// What the tables say of a state.
fn name(state: Option<&State>) -> &'static str {
    match state {
        None => "-",
        Some(State::Looking { at: Some(_), .. }) => "unseen",
        Some(State::Looking { new: true, .. }) => "named",
        Some(State::Looking { complete: false, done: None, .. }) => "look",
        Some(State::Looking { complete: true, done: None, .. }) => "closed",
        Some(State::Looking { complete: false, done: Some(_), .. }) => "recheck",
        Some(State::Looking { complete: true, done: Some(_), .. }) => "reclosed",
        Some(State::Quiet { new: true, .. }) => "new",
        Some(State::Quiet { asked: false, .. }) => "quiet",
        Some(State::Quiet { asked: true, .. }) => "asked",
        Some(State::Ready { .. }) => "ready",
        Some(State::Sending { meanwhile: Meanwhile::Nothing, .. }) => "sending",
        Some(State::Sending { meanwhile: Meanwhile::Changed, .. }) => "again",
        Some(State::Sending { meanwhile: Meanwhile::Complete, .. }) => "twice",
        Some(State::Sending { meanwhile: Meanwhile::New, .. }) => "anew",
        Some(State::Done { owed: false, .. }) => "done",
        Some(State::Done { owed: true, .. }) => "owed",
        Some(State::Failed { .. }) => "failed",
    }
}

/// A watch with an archive whose file `a` of version 1 is in this state, with nothing left to do or to send.
fn watch_in(state: Option<State>, now: Instant) -> Ripe {
    let mut ripe = Ripe::new(vec![], true);
    ripe.poll(now);
    ripe.due = state.as_ref().and_then(State::due);
    ripe.ready.extend(matches!(state, Some(State::Ready { .. })).then(|| "a".to_owned()));
    ripe.files.extend(state.map(|state| ("a".to_owned(), state)));
    ripe
}

/// Every state of a file, in the order of the columns of the table below.
fn states(since: Instant) -> [Option<State>; 18] {
    let (seen, done) = (seen(1), Some((seen(1), true)));
    let looking = |complete, done| Some(State::Looking { complete, new: false, done, at: None });
    let quiet = |asked, new| Some(State::Quiet { seen, since, asked, new });
    let sending = |meanwhile| Some(State::Sending { seen, failures: 1, meanwhile });
    [
        None,
        Some(State::Looking { complete: false, new: true, done: None, at: None }),
        looking(false, None),
        looking(true, None),
        looking(false, done),
        looking(true, done),
        Some(State::Looking { complete: false, new: false, done: None, at: Some(since + QUIET) }),
        quiet(false, true),
        quiet(false, false),
        quiet(true, false),
        Some(State::Ready { seen, failures: 1 }),
        sending(Meanwhile::Nothing),
        sending(Meanwhile::Changed),
        sending(Meanwhile::New),
        sending(Meanwhile::Complete),
        Some(State::Done { seen, owed: false }),
        Some(State::Done { seen, owed: true }),
        Some(State::Failed { seen, failures: 1, at: since + QUIET }),
    ]
}

/// What may happen to a file.
#[derive(Debug)]
enum Happens {
    Change(FolderChange),
    Sent(Sent),
    Time,
}

/// What follows for a file in each of the states: the state that it is in then, `?` if it is to be looked at, `!` if it is to
/// be archived, `>` if it stands among
/// those to be sent, `#` if the folder is to be scanned.
fn follows(happens: &Happens) -> String {
    let (since, mut cells) = (Instant::now(), Vec::new());
    for state in states(since) {
        let (mut ripe, mut now) = (watch_in(state, since), since);
        match happens {
            Happens::Change(change) => ripe.hear(now, change.clone()),
            Happens::Sent(outcome) => _ = ripe.sent(now, "a", *outcome),
            Happens::Time => now += QUIET,
        }
        let tasks: String = std::iter::from_fn(|| ripe.poll(now))
            .map(|task| match task {
                FolderTask::Look(_) => '?',
                FolderTask::Archive(..) => '!',
                FolderTask::Scan(_) | FolderTask::Unnameable(..) => '#',
            })
            .collect();
        let queued = if ripe.ready.is_empty() { "" } else { ">" };
        cells.push(format!("{}{tasks}{queued}", name(ripe.files.get("a"))));
    }
    cells.join(" ")
}

/// What happens, and what follows of it in the states of a file that is not sent yet, and in the others.
type Row = (Happens, &'static str, &'static str);

const COLUMNS: &str = "- named look closed recheck reclosed unseen new quiet asked ready \
    sending again anew twice done owed failed";

/// The same as before, in the states of a file that is not sent yet.
const STAYS: &str = "- named look closed recheck reclosed unseen new quiet asked ready>";

#[test]
fn the_columns_are_all_states() {
    let all = states(Instant::now());
    assert_eq!(all.each_ref().map(|state| name(state.as_ref())).join(" "), COLUMNS);
}

fn hold(rows: impl IntoIterator<Item = Row>) {
    for (happens, before_it_is_sent, after) in rows {
        assert_eq!(follows(&happens), format!("{before_it_is_sent} {after}"), "{happens:?}");
    }
}

#[test]
fn what_is_found_in_every_state() {
    use FolderChange::{Complete, Named};
    use Happens::Change;
    let found = |version, writing| Change(found("a", version, writing));
    let named = |size| Change(Named { path: "a".into(), seen: Seen { size, ..seen(1) } });
    hold([
        (
            Change(Complete("a".into())),
            "closed? closed? closed? closed? reclosed? reclosed? closed? closed? closed? closed? closed?>",
            "twice twice twice twice reclosed? reclosed? closed?",
        ),
        (named(0), "new new new new new new new new new new new>", "anew anew anew anew new new new"),
        (
            named(1),
            "named? named? named? named? named? named? named? named? named? named? named?>",
            "anew anew anew anew named? named? named?",
        ),
        (
            found(1, Some(false)),
            "ready> ready> ready> ready> owed! owed! ready> ready> ready> ready> ready>",
            "sending again anew twice done owed! failed",
        ),
        (
            found(1, Some(true)),
            "quiet new quiet quiet owed owed quiet quiet quiet quiet ready>",
            "sending again anew twice done owed failed",
        ),
        (
            found(1, None),
            "quiet - quiet ready> owed! owed! quiet quiet quiet asked ready>",
            "sending again anew twice done owed! failed",
        ),
        (
            found(2, Some(false)),
            "ready> ready> ready> ready> ready> ready> ready> ready> ready> ready> ready>",
            "again again anew twice ready> ready> ready>",
        ),
        (
            found(2, Some(true)),
            "quiet new quiet quiet quiet quiet quiet quiet quiet quiet quiet>",
            "again again anew twice quiet quiet quiet",
        ),
        (
            found(2, None),
            "quiet - quiet ready> quiet ready> quiet quiet quiet quiet quiet>",
            "again again anew twice quiet quiet quiet",
        ),
    ]);
}

#[test]
fn whatever_else_happens_in_every_state() {
    use FolderChange::{Gone, Kept, Overflow, Unseen};
    use Happens::{Change, Time};
    hold([
        (Change(Gone("a".into())), "- - - - - - - - - - ->", "again again again again - - -"),
        (
            Change(Unseen("a".into())),
            "unseen unseen unseen unseen unseen unseen unseen unseen unseen unseen ready>",
            "again again anew twice unseen unseen failed",
        ),
        (Change(Kept("a".into())), STAYS, "sending again anew twice done done failed"),
        (
            Change(Overflow),
            "-# look# look# closed# recheck# reclosed# unseen# quiet# quiet# asked# ready#>",
            "sending# again# again# twice# done# owed# failed#",
        ),
        (Happens::Sent(Sent::Stored), STAYS, "owed! recheck? named? reclosed? done owed failed"),
        (Happens::Sent(Sent::Failed), STAYS, "failed look? named? closed? done owed failed"),
        (Happens::Sent(Sent::Changed), STAYS, "look? look? named? closed? done owed failed"),
        (Happens::Sent(Sent::Refused), STAYS, "done recheck? named? reclosed? done owed failed"),
        (Happens::Sent(Sent::Unknown), STAYS, "ready> look? named? closed? done owed failed"),
        (
            Time,
            "- named look closed recheck reclosed look? new? asked? asked ready>",
            "sending again anew twice done owed ready>",
        ),
    ]);
}
