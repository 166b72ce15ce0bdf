//! What a person sees of the directions: reports on demand, the live line, and the last line of each.
//!
//! A thread of its own looks at the sessions, and hands what is to be shown to [`message`], which never waits. Control
//! characters go to a terminal only, and only while this process is in its foreground.

use crate::message::{self, Frame};
use crate::plan::{EdgePlan, Plan, Progress};
use crate::proto::way::Way;
use crate::report::{self, Phase, Snapshot, Summary};
use crate::session::Handle;
use crate::sys::thread::spawn;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::io;
use std::time::{Duration, Instant};

/// How often the live line changes: often enough to look alive, slowly enough to be read.
const TICK: Duration = Duration::from_millis(200);

/// Where stderr is no terminal, `progress` gives a line this often, so that an hour's log can still be read.
const PLAIN: Duration = Duration::from_secs(10);

/// A transfer that is over within this time shows no live line, unless the user asked for one.
const BRIEF: Duration = Duration::from_secs(1);

/// How long the end waits for the last lines to be shown. They are shown at once, unless the machine is very busy.
const ANSWER: Duration = Duration::from_millis(500);

/// A stream that can be asked.
pub struct Subject {
    /// Its session.
    pub session: Handle,
    /// Which of the session's.
    pub way: Way,
    /// The stream's size, where that is known beforehand.
    pub expected: Option<u64>,
}

enum Request {
    Report,
    /// These are the streams now, and this is said above their reports.
    Show(Vec<Subject>, Box<dyn Fn() -> String + Send>),
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
        let mut thread = Thread { inbox, views, live: Live::new(wanted), head: None };
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

    /// From now on it is for these streams, and says this before it reports.
    pub fn show(&self, subjects: Vec<Subject>, head: impl Fn() -> String + Send + 'static) {
        // it is over, if it fails
        let _ = self.requests.send(Request::Show(subjects, Box::new(head)));
    }

    /// Shows how it ended, and erases the live line for good.
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
    /// What is said before a report.
    head: Option<Box<dyn Fn() -> String + Send>>,
}

impl Thread {
    fn run(&mut self) {
        loop {
            let request = match self.live.is_wanted() {
                true => self.inbox.recv_timeout(TICK),
                false => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(Request::Report) => self.report(),
                Ok(Request::Show(subjects, head)) => {
                    self.views = subjects.into_iter().map(View::new).collect();
                    self.head = Some(head);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    self.live.show(&self.views);
                }
                Ok(Request::End(_done)) => {
                    self.look();
                    return self.live.end(&self.views);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self) {
        self.views.iter_mut().for_each(|view| view.look(false));
    }

    fn report(&mut self) {
        if let Some(head) = &self.head {
            message::say(head());
        }
        for view in &mut self.views {
            view.look(true);
            if let Some(snapshot) = &view.last {
                message::say_text(&report::render(snapshot));
            }
        }
    }
}

/// One stream, as it was seen last.
struct View {
    subject: Subject,
    last: Option<Snapshot>,
}

impl View {
    fn new(subject: Subject) -> Self {
        View { subject, last: None }
    }

    /// Looks, with what the kernels know if that is wanted too.
    fn look(&mut self, in_depth: bool) {
        let Subject { session, way, expected } = &self.subject;
        let snapshot = session.snapshot(*way, in_depth);
        self.last = snapshot.map(|snapshot| Snapshot { expected: *expected, ..snapshot });
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

/// What is shown although the user asked for no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    style: Style,
    /// The directions carry a stream of the user's, of which a part is worth mentioning; a tunnel's is nobody's.
    streams: bool,
}

impl Wanted {
    /// Nothing but reports.
    pub fn nothing() -> Wanted {
        Wanted { style: Style::None, streams: false }
    }

    /// What the plan wants, given what stdin, stdout and stderr are; to be asked while they are still there.
    pub fn of(plan: &Plan) -> Wanted {
        use rustix::termios::isatty;
        let screen = isatty(io::stderr()) && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        // on a terminal that carries the stream itself, a live line would garble it
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
