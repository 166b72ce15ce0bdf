//! What the person at the terminal sees while it runs: reports on demand, and the live line.
//!
//! A thread of its own: looks at the sessions, waits for the terminal, and is the only one that does both. A terminal
//! that takes nothing stops this thread alone. Control characters go to terminals only, and only to one that is ours.

use crate::message;
use crate::plan::{EdgePlan, Plan, Progress};
use crate::proto::way::Way;
use crate::report::{self, Phase, Snapshot};
use crate::session::Handle;
use crate::sys::thread::spawn;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the live line changes: often enough to look alive, seldom enough to be read.
const TICK: Duration = Duration::from_millis(200);

/// Where it is no terminal, a line this often: a log of an hour is still read.
const PLAIN: Duration = Duration::from_secs(10);

/// What is over within this shows no live line that nobody asked for.
const BRIEF: Duration = Duration::from_secs(1);

/// How long hubs and connections may take to answer. They do at once, unless the machine is very busy.
const ANSWER: Duration = Duration::from_millis(500);

/// Parts of the bar.
const STEPS: u64 = 1000;

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
    /// Everything is over: show that, and drop this.
    End(Sender<()>),
}

/// The handle on it.
#[derive(Clone)]
pub struct Monitor {
    requests: Sender<Request>,
}

impl Monitor {
    /// Shows whatever `style` says, from now on.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub fn start(subjects: Vec<Subject>, style: Style) -> io::Result<Monitor> {
        // while one report is written, one more can wait; nobody needs a third
        let (requests, inbox) = bounded(1);
        let views = subjects.into_iter().map(View::new).collect();
        let mut thread = Thread { inbox, views, live: Live::new(style) };
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
        if self.live.is_wanted() {
            self.look();
        }
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

// ---- the live line --------------------------------------------------------------------------------------

/// How the live line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
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

impl Style {
    /// What the plan wants, given what stdin, stdout and stderr are; to be asked while they are still there.
    pub fn of(plan: &Plan) -> Style {
        use rustix::termios::isatty;
        let screen = isatty(io::stderr()) && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        // who types into the stream, or reads it, would have it garbled
        let files = plan.common.edge == EdgePlan::Stdio;
        let typed = plan.transmits() && plan.common.prbs.is_none() && isatty(io::stdin());
        let read = plan.receives() && isatty(io::stdout());
        match plan.common.progress {
            Progress::Always if screen => Style::Terminal { asked: true },
            Progress::Always => Style::Plain,
            Progress::Automatic if screen && !(files && (typed || read)) => Style::Terminal { asked: false },
            Progress::Automatic | Progress::Never => Style::None,
        }
    }
}

/// The live line's state.
struct Live {
    style: Style,
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
    /// Whoever holds it may write to the terminal.
    turn: Arc<Mutex<()>>,
    /// Whether anything has been shown.
    shown: bool,
    plain_at: Instant,
}

impl Live {
    fn new(style: Style) -> Self {
        Live {
            style,
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            bars: Vec::new(),
            turn: Arc::default(),
            shown: false,
            plain_at: Instant::now() + PLAIN,
        }
    }

    fn is_wanted(&self) -> bool {
        self.style != Style::None
    }

    fn show(&mut self, views: &[View]) {
        let moving = |snapshot: &&Snapshot| matches!(snapshot.phase, Phase::Moving | Phase::Closing);
        let snapshots: Vec<&Snapshot> = views.iter().filter_map(|v| v.last.as_ref()).filter(moving).collect();
        match self.style {
            Style::None => {}
            Style::Plain => self.tell(&snapshots),
            Style::Terminal { asked } => {
                let long = snapshots.iter().any(|snapshot| snapshot.elapsed >= BRIEF);
                if !snapshots.is_empty() && (asked || ((self.shown || long) && in_foreground())) {
                    self.draw(&snapshots);
                } else {
                    self.wipe();
                }
            }
        }
    }

    fn tell(&mut self, snapshots: &[&Snapshot]) {
        if self.plain_at > Instant::now() {
            return;
        }
        self.plain_at = Instant::now() + PLAIN;
        for snapshot in snapshots {
            let rest =
                report::rest(snapshot).map_or(String::new(), |rest| format!("  {}", rest.trim_start()));
            message::say(report::live(snapshot) + &rest);
        }
    }

    fn draw(&mut self, snapshots: &[&Snapshot]) {
        if !self.shown {
            self.take_screen();
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.multi.is_hidden() {
            self.multi.set_draw_target(target());
        }
        while self.bars.len() > snapshots.len() {
            self.bars.pop().inspect(|bar| self.multi.remove(bar));
        }
        while self.bars.len() < snapshots.len() {
            self.bars.push(self.multi.add(ProgressBar::new(STEPS)));
        }
        for (bar, snapshot) in self.bars.iter().zip(snapshots) {
            let rest = report::rest(snapshot);
            bar.set_style(style(rest.is_some()));
            bar.update(|state| {
                state.set_pos((snapshot.fraction().unwrap_or_default() * STEPS as f64) as u64);
            });
            bar.set_prefix(rest.unwrap_or_default());
            bar.set_message(report::live(snapshot));
            bar.tick();
        }
    }

    /// From now on messages go above the live line.
    fn take_screen(&mut self) {
        self.shown = true;
        let (multi, turn) = (self.multi.clone(), self.turn.clone());
        message::write_around(Some(Box::new(move |write| {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            // the line is drawn again at the next tick; a terminal that is gone is no reason to fail
            let _ = multi.clear();
            write();
        })));
    }

    /// Nothing is shown while the terminal is somebody else's.
    fn wipe(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.multi.is_hidden() {
            if in_foreground() {
                let _ = self.multi.clear();
            }
            self.multi.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    fn end(&mut self, views: &[View]) {
        if self.shown {
            let _ = self.multi.clear();
            self.multi.set_draw_target(ProgressDrawTarget::hidden());
            message::write_around(None);
        }
        // from verbosity 1 on the hubs sum up themselves
        let asked = matches!(self.style, Style::Plain | Style::Terminal { asked: true });
        if (self.shown || asked) && message::level() == 0 {
            let last = views.iter().filter_map(|view| view.last.as_ref());
            for snapshot in last.filter(|snapshot| snapshot.phase == Phase::Over(Ok(()))) {
                message::say(report::summary(snapshot));
            }
        }
    }
}

fn target() -> ProgressDrawTarget {
    // each tick changes a line several times; a limit near its rate would drop the last change
    ProgressDrawTarget::stderr_with_hz(100)
}

fn style(with_bar: bool) -> ProgressStyle {
    let template = if with_bar { "{msg}  [{wide_bar}] {prefix}" } else { "{msg}" };
    ProgressStyle::with_template(template).expect("a template that a test has parsed").progress_chars("=> ")
}

/// Whether the terminal's keys are for this process, so that its lines are too.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        style(true);
        style(false);
    }

    #[test]
    fn a_direction_that_is_over_is_shown_as_it_ended() {
        let (end, over) = unbounded();
        let ask: Ask = Box::new(move |asker| end.send(asker.snapshots).is_err());
        let mut view = View::new(Subject { ask, expected: Some(7) });
        view.look(false);
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
        view.look(true);
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
