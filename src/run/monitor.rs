//! What a person sees of the directions: reports on demand, the live line, and the last line of each.
//!
//! A thread of its own: asks the directions for figures, and hands what is to be seen to [`message`], which never
//! waits. A direction answers in passing; one that does not answer is shown as it was last. Control characters go to
//! terminals only, and only to one that is ours.

use crate::message::{self, Frame};
use crate::plan::{EdgePlan, Plan, Progress};
use crate::report::{self, Phase, Snapshot, Summary};
use crate::run::hub::Asker;
use crate::run::spawn;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};
use std::io;
use std::time::{Duration, Instant};

/// How often the live line changes: often enough to look alive, seldom enough to be read.
const TICK: Duration = Duration::from_millis(200);

/// Where it is no terminal, a line this often: a log of an hour is still read.
const PLAIN: Duration = Duration::from_secs(10);

/// What is over within this shows no live line that nobody asked for.
const BRIEF: Duration = Duration::from_secs(1);

/// How long hubs and connections may take to answer. They do at once, unless the machine is very busy.
const ANSWER: Duration = Duration::from_millis(500);

/// Puts a question to a direction; false if that is over.
pub type Ask = Box<dyn Fn(Asker) -> bool + Send>;

/// A direction that can be asked.
pub struct Subject {
    /// How.
    pub ask: Ask,
    /// The stream's size, where that is known beforehand.
    pub expected: Option<u64>,
}

enum Request {
    Report,
    /// Everything is over: show that, and drop this.
    End(Sender<()>),
}

/// The handle on it.
#[derive(Clone)]
pub struct Monitor {
    requests: Sender<Request>,
}

impl Monitor {
    /// Shows whatever is wanted, from now on.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub fn start(subjects: Vec<Subject>, wanted: Wanted) -> io::Result<Monitor> {
        // while one report is written, one more can wait; nobody needs a third
        let (requests, inbox) = bounded(1);
        let views = subjects.into_iter().map(View::new).collect();
        let mut thread = Thread { inbox, views, live: Live::new(wanted) };
        spawn("monitor", move || thread.run())?;
        Ok(Monitor { requests })
    }

    /// Reports on stderr, soon.
    pub fn report(&self) {
        match self.requests.try_send(Request::Report) {
            // it will be in the report that is due already, or it is over
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Shows how it ended; from then on the last line of the terminal is anybody's again.
    pub fn end(self) {
        let (done, over) = bounded(0);
        if self.requests.send_timeout(Request::End(done), ANSWER).is_ok() {
            let _ = over.recv_timeout(ANSWER * 2);
        }
    }
}

struct Thread {
    inbox: Receiver<Request>,
    views: Vec<View>,
    live: Live,
}

impl Thread {
    fn run(&mut self) {
        // whoever has been asked once tells of its end unasked
        self.look();
        loop {
            let request = match self.live.is_wanted() {
                true => self.inbox.recv_timeout(TICK),
                false => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(Request::Report) => self.report(),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    self.live.show(&self.views);
                }
                Ok(Request::End(_done)) => {
                    self.views.iter_mut().for_each(View::catch_up);
                    return self.live.end(&self.views);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self) {
        self.views.iter_mut().for_each(|view| view.ask(false));
    }

    fn report(&mut self) {
        for view in &mut self.views {
            view.ask(true);
            if let Some(snapshot) = &view.last {
                message::say_text(&report::render(snapshot));
            }
        }
    }
}

/// One direction, as it was seen last.
struct View {
    subject: Subject,
    answers: (Sender<Snapshot>, Receiver<Snapshot>),
    last: Option<Snapshot>,
}

impl View {
    fn new(subject: Subject) -> Self {
        View { subject, answers: unbounded(), last: None }
    }

    /// Asks and waits for the answer, with what the kernels know if that is wanted too.
    fn ask(&mut self, in_depth: bool) {
        self.catch_up();
        let (sender, kernels) = unbounded();
        let asker = Asker { snapshots: self.answers.0.clone(), kernels: in_depth.then_some(sender) };
        if !(self.subject.ask)(asker) {
            return;
        }
        let deadline = Instant::now() + ANSWER;
        let Ok(mut snapshot) = self.answers.1.recv_deadline(deadline) else { return };
        while let Ok((number, kernel)) = kernels.recv_deadline(deadline) {
            let up = |c: &&mut report::Connection| c.number == number && c.state.is_up();
            if let Some(connection) = snapshot.connections.iter_mut().find(up) {
                connection.kernel = Some(kernel);
            }
        }
        self.keep(snapshot);
    }

    /// Takes what came unasked: the last word of a direction that has ended.
    fn catch_up(&mut self) {
        while let Ok(snapshot) = self.answers.1.try_recv() {
            self.keep(snapshot);
        }
    }

    fn keep(&mut self, snapshot: Snapshot) {
        self.last = Some(Snapshot { expected: self.subject.expected, ..snapshot });
    }
}

// ---- what is shown unasked --------------------------------------------------------------------------------

/// How the live line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Not at all.
    None,
    /// On the terminal that stderr is; by itself only in the foreground, and not for what is soon over.
    Terminal {
        /// Whether the user has asked for it.
        asked: bool,
    },
    /// As a line now and then.
    Plain,
}

/// What is shown unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    style: Style,
    /// The directions carry a stream of the user's, of which a part is worth mentioning; a tunnel's is nobody's.
    streams: bool,
}

impl Wanted {
    /// What the plan wants, given what stdin, stdout and stderr are; to be asked while they are still there.
    pub fn of(plan: &Plan) -> Wanted {
        use rustix::termios::isatty;
        let screen = isatty(io::stderr()) && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        // who types into the stream, or reads it, would have it garbled
        let files = plan.common.edge == EdgePlan::Stdio;
        let typed = plan.transmits() && plan.common.prbs.is_none() && isatty(io::stdin());
        let read = plan.receives() && isatty(io::stdout());
        let style = match plan.common.progress {
            Progress::Always if screen => Style::Terminal { asked: true },
            Progress::Always => Style::Plain,
            Progress::Automatic if screen && !(files && (typed || read)) => Style::Terminal { asked: false },
            Progress::Automatic | Progress::Never => Style::None,
        };
        let tunnel = matches!(plan.common.edge, EdgePlan::Terminate { .. } | EdgePlan::Initiate { .. });
        Wanted { style, streams: !tunnel }
    }
}

/// The live line's state, and the last line.
struct Live {
    wanted: Wanted,
    /// Whether anything has been shown.
    shown: bool,
    plain_at: Instant,
}

impl Live {
    fn new(wanted: Wanted) -> Self {
        Live { wanted, shown: false, plain_at: Instant::now() + PLAIN }
    }

    fn is_wanted(&self) -> bool {
        self.wanted.style != Style::None
    }

    fn show(&mut self, views: &[View]) {
        let moving = |s: &&Snapshot| matches!(s.phase, Phase::Moving | Phase::Closing) && s.has_met();
        let snapshots: Vec<&Snapshot> = views.iter().filter_map(|v| v.last.as_ref()).filter(moving).collect();
        match self.wanted.style {
            Style::None => {}
            Style::Plain => self.tell(&snapshots),
            Style::Terminal { asked } => {
                let long = snapshots.iter().any(|snapshot| snapshot.elapsed >= BRIEF);
                if !snapshots.is_empty() && (asked || self.shown || long) {
                    self.shown = true;
                    message::show(Some(frame(&snapshots, asked)));
                } else {
                    message::show(None);
                }
            }
        }
    }

    fn tell(&mut self, snapshots: &[&Snapshot]) {
        if self.plain_at > Instant::now() {
            return;
        }
        self.plain_at = Instant::now() + PLAIN;
        snapshots.iter().for_each(|snapshot| message::say(report::plain(snapshot)));
    }

    fn end(&self, views: &[View]) {
        message::show(None);
        let asked = matches!(self.wanted.style, Style::Plain | Style::Terminal { asked: true });
        for summary in views.iter().filter_map(|view| Summary::of(view.last.as_ref()?)) {
            summary.shortfall().into_iter().for_each(|line| message::remark(|| line));
            match summary.complete {
                true if asked => message::say(summary),
                true => message::announce(|| summary.to_string()),
                false if self.wanted.streams => message::remark(|| summary.to_string()),
                false => {}
            }
        }
    }
}

fn frame(snapshots: &[&Snapshot], asked: bool) -> Frame {
    let snapshots: Vec<Snapshot> = snapshots.iter().copied().cloned().collect();
    let rows = move |columns| snapshots.iter().map(|snapshot| report::live(snapshot, columns)).collect();
    Frame { rows: Box::new(rows), always: asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_that_is_over_is_shown_as_it_ended() {
        let (end, over) = unbounded();
        let ask: Ask = Box::new(move |asker| end.send(asker.snapshots).is_err());
        let mut view = View::new(Subject { ask, expected: Some(7) });
        view.ask(false);
        assert_eq!(view.last, None);
        let last = snapshot(Phase::Over(Ok(())));
        over.recv().unwrap().send(last.clone()).unwrap();
        view.catch_up();
        assert_eq!(view.last, Some(Snapshot { expected: Some(7), ..last }));
    }

    #[test]
    fn kernels_that_answer_are_shown_and_the_others_are_not_waited_for() {
        let kernel = report::Kernel {
            rtt: Duration::from_millis(1),
            window: 10,
            retransmits: 0,
            control: "cubic".into(),
        };
        let known = kernel.clone();
        let ask: Ask = Box::new(move |asker| {
            let kernels = asker.kernels.unwrap();
            kernels.send((1, known.clone())).unwrap();
            kernels.send((2, known.clone())).unwrap();
            asker.snapshots.send(snapshot(Phase::Moving)).is_ok()
        });
        let mut view = View::new(Subject { ask, expected: None });
        view.ask(true);
        let connections = view.last.unwrap().connections;
        assert_eq!(connections[0].kernel, None);
        assert_eq!(connections[1].kernel, Some(kernel));
        assert_eq!(connections[2].kernel, None, "it is down by now");
    }

    fn snapshot(phase: Phase) -> Snapshot {
        let connection = |number| report::Connection {
            number,
            link: None,
            state: if number == 2 { report::State::Down } else { report::State::Up },
            leg: None,
            bytes: 0,
            rate: 0.0,
            kernel: None,
        };
        Snapshot {
            side: report::Side::Tx,
            phase,
            elapsed: Duration::ZERO,
            expected: None,
            delivered: 0,
            rate: 0.0,
            held: 0,
            buffer: 1,
            detail: report::Detail::Tx { read: 0, sent: 0, again: (0, 0), rescues: 0, damaged: 0 },
            waited: report::Waited::default(),
            lost: 0,
            last_loss: None,
            links: Vec::new(),
            connections: (0..3).map(connection).collect(),
        }
    }
}
