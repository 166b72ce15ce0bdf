//! What a sender may say of a file in which phase, and what becomes of a session whose sender says anything else.

use super::*;
use crate::store::beneath::Beneath;
use crate::store::shelf::Rules;
use std::sync::mpsc;
use tempfile::TempDir;

const BYTES: &[u8] = b"all that it has";

/// One sender's files, on a shelf of its own where `old` is finished.
struct Bench {
    to: TempDir,
    receiving: Arc<Receiving<Beneath>>,
    /// One for each time that there was progress.
    progress: mpsc::Receiver<()>,
}

impl Bench {
    /// With a command after each file, which says that all is well as soon as it may.
    fn new(may_end: Option<mpsc::Receiver<()>>) -> Self {
        let to = TempDir::new().unwrap();
        let rules = Rules { replace: true, ..Rules::default() };
        let shelf = Shelf::new(Beneath::open(to.path()).unwrap(), rules).unwrap();
        let may_end = Mutex::new(may_end);
        let then = move |_: &Finished<Beneath>| {
            may_end.lock().unwrap().as_ref().into_iter().for_each(|may| may.recv().unwrap_or(()));
            (true, String::new())
        };
        let (progresses, progress) = mpsc::channel();
        let progresses = Mutex::new(progresses);
        let place = Place {
            progress: Box::new(move || progresses.lock().unwrap().send(()).unwrap_or(())),
            ..Place::sure(|_| false)
        };
        let hooks = Hooks {
            require: Vec::new(),
            commanded: false,
            then: Some(Arc::new(then)),
            place,
            ledger: Ledger::new(),
        };
        let peer = Peer { key: "a".into(), name: "a".into(), visit: 1 };
        let workers = Workers::new(2).unwrap();
        let receiving = Receiving::new(shelf, peer, hooks, workers, Outbox::new().unwrap());
        Bench { to, receiving, progress }
    }

    /// Waits for the jobs of all files, unless they wait themselves.
    fn settle(&self) {
        let jobs = self.receiving.done.wait_while(self.receiving.lock(), |state| state.is_busy());
        drop(jobs.unwrap());
    }

    fn open(&self, file: u32, name: &str) {
        self.receiving.hear(file, open(name)).unwrap();
        self.settle();
    }

    /// Has the file in this phase, under the number 9.
    fn bring(&self, phase: &str) {
        match phase {
            "offered" => self.open(9, "new"),
            "there" => {
                self.receiving.hear(1, Up::Whole(asked("old"), Sum::of(BYTES), BYTES.to_vec())).unwrap();
                self.settle();
                self.open(9, "old");
            }
            "coming" => {
                self.open(9, "new");
                self.receiving.hear(9, Up::From(0)).unwrap();
            }
            "closing" => {
                self.bring("coming");
                self.say("data").unwrap();
                self.say("end").unwrap();
            }
            "over" => {
                self.bring("offered");
                self.say("stop").unwrap();
            }
            // a job takes it from here whenever it likes: nothing else can be said of this phase
            _ => drop(self.receiving.lock().files.insert(9, Phase::Opening)),
        }
        assert_eq!(self.phase(), phase);
    }

    fn phase(&self) -> &'static str {
        match self.receiving.lock().files.get(&9) {
            Some(Phase::Opening) => "opening",
            Some(Phase::Offered(_)) => "offered",
            Some(Phase::There(_)) => "there",
            Some(Phase::Coming(_)) => "coming",
            Some(Phase::Closing) => "closing",
            None => "over",
        }
    }

    fn say(&self, word: &str) -> Result<(), SinkError> {
        let mark = Mark { length: BYTES.len() as u64, sum: Sum::of(BYTES) };
        match word {
            "from" => self.receiving.hear(9, Up::From(0)),
            "data" => {
                let whole: Shared = Arc::new(BYTES.to_vec());
                self.receiving.data(9, &whole, 0..BYTES.len())
            }
            "end" => self.receiving.hear(9, Up::End(mark)),
            "same" => self.receiving.hear(9, Up::Same),
            "reads" => self.receiving.hear(9, Up::Reads),
            _ => self.receiving.hear(9, Up::Stop("unreadable".into())),
        }
    }
}

fn asked(name: &str) -> Open {
    Open { size: Some(BYTES.len() as u64), name: name.into(), meta: Vec::new() }
}

fn open(name: &str) -> Up {
    Up::Open(asked(name))
}

#[test]
fn each_word_is_heard_in_its_phases_and_changes_nothing_in_others() {
    let legal = |phase, word| match (phase, word) {
        ("offered" | "there", "from") | ("coming", "data") => Some("coming"),
        ("offered", "reads") => Some("offered"),
        ("there", "reads") => Some("there"),
        ("coming", "end") | ("there", "same") => Some("closing"),
        ("offered" | "there" | "coming", "stop") => Some("over"),
        // the verdict was on its way when the sender said it
        ("over", _) => Some("over"),
        _ => None,
    };
    for phase in ["opening", "offered", "there", "coming", "closing", "over"] {
        for word in ["from", "data", "end", "same", "reads", "stop"] {
            let (end, may_end) = mpsc::channel();
            if phase == "there" {
                // the finished file had its command before
                end.send(()).unwrap();
            }
            let bench = Bench::new(Some(may_end));
            bench.bring(phase);
            let heard = bench.say(word);
            let next = legal(phase, word);
            assert_eq!(heard.is_ok(), next.is_some(), "{word} while {phase}");
            // a file whose command has run before is finished by its job at once
            let next = next.unwrap_or(phase);
            let now = bench.phase();
            assert!(now == next || (next == "closing" && now == "over"), "{word} while {phase}: {now}");
            // the folder stays until no job needs it; of a file that is being opened here there is no job
            drop(end);
            if phase != "opening" {
                bench.settle();
            }
        }
    }
}

#[test]
fn a_sender_is_held_up_while_somebody_works_on_a_file_of_it_and_not_while_it_is_its_turn() {
    for phase in ["opening", "offered", "there", "coming", "closing", "over"] {
        let (end, may_end) = mpsc::channel();
        if phase == "there" {
            end.send(()).unwrap();
        }
        let bench = Bench::new(Some(may_end));
        bench.bring(phase);
        assert_eq!(bench.receiving.holds_up(), matches!(phase, "opening" | "closing"), "{phase}");
        drop(end);
        if phase != "opening" {
            bench.settle();
            assert!(!bench.receiving.holds_up(), "{phase}");
        }
    }
}

/// A sender that has waited for an answer, or reads a file to compare it, has not stalled.
#[test]
fn an_answer_and_a_sign_of_life_are_progress() {
    let bench = Bench::new(None);
    let comes = || bench.progress.recv_timeout(Duration::from_secs(60)).is_ok();
    bench.bring("offered");
    assert!(comes(), "the answer");
    assert_eq!(bench.progress.try_recv().ok(), None);
    bench.say("reads").unwrap();
    assert!(comes(), "the sign of life");
}

#[test]
fn a_sender_that_breaks_the_order_once_leaves_no_file_that_is_waited_for() {
    for (first, second) in [("from", "from"), ("end", ""), ("same", ""), ("data", "")] {
        let bench = Bench::new(None);
        let sink = bench.receiving.sink();
        bench.open(9, "new");
        let mut heard = bench.say(first);
        if !second.is_empty() {
            heard = bench.say(second);
        }
        heard.unwrap_err();
        // the session ends for it
        drop(sink);
        let state = bench.receiving.lock();
        assert!(state.over && state.files.is_empty(), "{first} {second}");
        drop(state);
        bench.receiving.await_commands();
        bench.receiving.await_end(Duration::MAX);
    }
}

#[test]
fn what_has_come_before_a_sender_broke_the_order_is_kept() {
    let bench = Bench::new(None);
    let sink = bench.receiving.sink();
    bench.bring("coming");
    bench.say("data").unwrap();
    bench.say("from").unwrap_err();
    assert_eq!(bench.phase(), "coming");
    drop(sink);
    let folders = std::fs::read_dir(bench.to.path().join(".millipede/partial")).unwrap();
    let partials = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let lengths: Vec<u64> = partials.map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(lengths.contains(&(BYTES.len() as u64)), "{lengths:?}");
}

/// Otherwise a sender that begins a file and stops it again and again would have its names kept, as long as its session lasts.
#[test]
fn a_file_that_its_sender_stops_or_leaves_is_under_way_no_more() {
    let bench = Bench::new(None);
    let files = || bench.receiving.hooks.ledger.files();
    let sink = bench.receiving.sink();
    bench.bring("coming");
    assert_eq!((files().moving.len(), files().failed), (1, 0));
    bench.say("stop").unwrap();
    assert_eq!((files().moving, files().failed), (vec![], 1));
    bench.open(10, "left");
    bench.receiving.hear(10, Up::From(0)).unwrap();
    assert_eq!(files().moving.len(), 1);
    drop(sink);
    assert_eq!(files().moving, []);
}

#[test]
fn a_file_that_is_opened_after_its_sender_has_left_keeps_no_name() {
    let bench = Bench::new(None);
    let receiving = &bench.receiving;
    bench.bring("opening");
    let ask = |visit| {
        let peer = Peer { visit, ..receiving.peer.clone() };
        receiving.shelf.open(SystemTime::now(), &peer, receiving.wanted(asked("new")).unwrap())
    };
    let answer = ask(1);
    assert!(matches!(answer, Ok(OpenAnswer::Go(_))));
    receiving.abandon();
    assert!(receiving.holds_up(), "it is opened");
    receiving.answered(9, answer);
    assert_eq!(bench.phase(), "over");
    assert!(!receiving.holds_up() && matches!(ask(2), Ok(OpenAnswer::Go(_))));
}
