//! What a person sees of the directions: reports on demand, the live line, and the last line of each.
//!
//! A thread of its own looks at the sessions, and hands what is to be shown to [`message`], which never waits. Control
//! characters go to a terminal only, and only while this process is in its foreground.

use crate::message::{self, LiveLines};
use crate::plan::{EdgePlan, Plan, Progress};
use crate::proto::way::Way;
use crate::report::{self, Board, Phase, Snapshot, Summary};
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
pub(crate) struct Subject {
    /// Its session.
    pub(crate) session: Handle,
    /// Which of the session's.
    pub(crate) way: Way,
    /// The stream's size, where that is known beforehand.
    pub(crate) expected: Option<u64>,
}

/// Says how the files stand.
type AskBoard = Box<dyn Fn() -> Board + Send>;

/// Whoever asks `ssh` for a report may do so because it is about to end: that is seen after this time.
const CONSIDERATE: Duration = Duration::from_millis(300);

enum Request {
    Report,
    /// These are the streams now, and this stands above them.
    Show(Vec<Subject>, AskBoard),
    /// Everything is over: show that, and drop this.
    End(Sender<()>),
}

/// The handle on it.
#[derive(Clone)]
pub(crate) struct Monitor {
    requests: Sender<Request>,
}

impl Monitor {
    /// Shows whatever is wanted, from now on.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub(crate) fn start(subjects: Vec<Subject>, wanted: Wanted) -> io::Result<Monitor> {
        Self::considerate(subjects, wanted, None)
    }

    /// The same, but a report comes a moment later than it is asked for, and not at all if this is true then.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub(crate) fn start_unless(
        subjects: Vec<Subject>,
        wanted: Wanted,
        unless: Unless,
    ) -> io::Result<Monitor> {
        Self::considerate(subjects, wanted, Some(unless))
    }

    fn considerate(subjects: Vec<Subject>, wanted: Wanted, unless: Option<Unless>) -> io::Result<Monitor> {
        // while one report is written, one more can wait; nobody needs a third
        let (requests, inbox) = bounded(1);
        let views = subjects.into_iter().map(View::new).collect();
        let mut thread = Thread { inbox, views, live: Live::new(wanted), board: None, unless };
        spawn("monitor", move || thread.run())?;
        Ok(Monitor { requests })
    }

    /// Reports on stderr, soon.
    pub(crate) fn report(&self) {
        match self.requests.try_send(Request::Report) {
            // it will be in the report that is due already, or it is over
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// From now on it is for these streams, and shows this above them.
    pub(crate) fn show(&self, subjects: Vec<Subject>, board: impl Fn() -> Board + Send + 'static) {
        // it is over, if it fails
        let _ = self.requests.send(Request::Show(subjects, Box::new(board)));
    }

    /// Shows how it ended, and erases the live line for good.
    pub(crate) fn end(self) {
        let (done, over) = bounded(0);
        if self.requests.send_timeout(Request::End(done), ANSWER).is_ok() {
            let _ = over.recv_timeout(ANSWER * 2);
        }
    }
}

/// Says whether nobody is there any more to be reported to.
pub(crate) type Unless = Box<dyn Fn() -> bool + Send>;

struct Thread {
    inbox: Receiver<Request>,
    views: Vec<View>,
    live: Live,
    /// What stands above the streams.
    board: Option<AskBoard>,
    /// What keeps it from reporting, a moment after it was asked to.
    unless: Option<Unless>,
}

impl Thread {
    fn run(&mut self) {
        let mut due: Option<Instant> = None;
        loop {
            let left = due.map(|at| at.saturating_duration_since(Instant::now()));
            let tick = self.live.is_wanted().then_some(TICK);
            let request = match left.into_iter().chain(tick).min() {
                Some(time) => self.inbox.recv_timeout(time),
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(Request::Report) if self.unless.is_none() => self.report(),
                Ok(Request::Report) => _ = due.get_or_insert_with(|| Instant::now() + CONSIDERATE),
                Ok(Request::Show(subjects, board)) => {
                    self.views = subjects.into_iter().map(View::new).collect();
                    self.board = Some(board);
                }
                Err(RecvTimeoutError::Timeout) if due.take_if(|at| *at <= Instant::now()).is_some() => {
                    if !self.unless.as_ref().is_some_and(|unless| unless()) {
                        self.report();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    self.live.show(&self.views, self.board.as_ref().map(|board| board()));
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
        self.views.iter_mut().for_each(|view| view.look(true));
        // of what is over its last line says how
        if self.board.is_none() && !self.views.is_empty() && self.views.iter().all(View::is_over) {
            return;
        }
        if let Some(board) = &self.board {
            let lines: String = board().report().iter().map(|line| line.clone() + "\n").collect();
            message::say_text(&lines);
        }
        let snapshots = self.views.iter().filter_map(|view| view.last.as_ref());
        snapshots.for_each(|snapshot| message::say_text(&report::render(snapshot)));
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

    fn is_over(&self) -> bool {
        self.last.as_ref().is_some_and(|snapshot| matches!(snapshot.phase, Phase::Over(_)))
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
pub(crate) struct Wanted {
    style: Style,
    /// The directions carry a stream of the user's, of which a part is worth mentioning; a tunnel's is nobody's.
    streams: bool,
}

impl Wanted {
    /// Nothing but reports.
    pub(crate) fn nothing() -> Wanted {
        Wanted { style: Style::None, streams: false }
    }

    /// What is wanted where files are sent or received. `typed`: a stream comes from a terminal.
    pub(crate) fn of_files(progress: Progress, typed: bool) -> Wanted {
        Wanted { style: style(progress, typed), streams: false }
    }

    /// What the plan wants, given what stdin, stdout and stderr are; to be asked while they are still there.
    pub(crate) fn of(plan: &Plan) -> Wanted {
        use rustix::termios::isatty;
        // on a terminal that carries the stream itself, a live line would garble it
        let files = plan.common.edge == EdgePlan::Stdio;
        let typed = plan.ways().contains(Way::Out) && plan.common.prbs.is_none() && isatty(io::stdin());
        let read = plan.ways().contains(Way::In) && isatty(io::stdout());
        let style = style(plan.common.progress, files && (typed || read));
        let tunnel = matches!(plan.common.edge, EdgePlan::Terminate { .. } | EdgePlan::Initiate { .. });
        Wanted { style, streams: !tunnel }
    }
}

/// `garbled`: a live line would stand in a stream, on the same terminal.
fn style(progress: Progress, garbled: bool) -> Style {
    let term = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let screen = term && rustix::termios::isatty(io::stderr());
    match progress {
        Progress::Always if screen => Style::Terminal { asked: true },
        Progress::Always => Style::Plain,
        Progress::Automatic if screen && !garbled => Style::Terminal { asked: false },
        Progress::Automatic | Progress::Never => Style::None,
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

    fn show(&mut self, views: &[View], board: Option<Board>) {
        let moving = |s: &&Snapshot| matches!(s.phase, Phase::Moving | Phase::Closing) && s.has_met();
        let snapshots: Vec<&Snapshot> = views.iter().filter_map(|v| v.last.as_ref()).filter(moving).collect();
        match self.wanted.style {
            Style::None => {}
            Style::Plain => self.tell(&snapshots, board.as_ref()),
            Style::Terminal { asked } => {
                let busy = board.as_ref().is_some_and(Board::is_busy);
                let long = busy || snapshots.iter().any(|snapshot| snapshot.elapsed >= BRIEF);
                if (busy || !snapshots.is_empty()) && (asked || self.shown || long) {
                    self.shown = true;
                    message::show(Some(frame(&snapshots, board, asked)));
                } else {
                    message::show(None);
                }
            }
        }
    }

    fn tell(&mut self, snapshots: &[&Snapshot], board: Option<&Board>) {
        if self.plain_at > Instant::now() {
            return;
        }
        self.plain_at = Instant::now() + PLAIN;
        board.and_then(Board::plain).into_iter().for_each(message::say);
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

fn frame(snapshots: &[&Snapshot], board: Option<Board>, asked: bool) -> LiveLines {
    let snapshots: Vec<Snapshot> = snapshots.iter().copied().cloned().collect();
    let rows = move |columns| {
        let above = board.iter().flat_map(|board| board.rows(columns));
        above.chain(snapshots.iter().map(|snapshot| report::live(snapshot, columns))).collect()
    };
    LiveLines { rows: Box::new(rows), always: asked }
}
