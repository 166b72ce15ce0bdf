//! What is sent to stderr: lines, and below them the live line where stderr is a terminal.
//!
//! Pure. The cursor rests at the start of the first live row. So erasing is the same few bytes whatever became of the
//! rows since: a terminal made narrower wraps them below the cursor, and everything below it is erased.

use std::sync::Arc;

/// To the start of the row, and everything from there on erased.
pub(crate) const ERASE: &str = "\r\x1b[J";

/// A row that is too long after all, because the terminal just became narrower, is cut and not wrapped.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// The live line of each direction, for any width.
pub(crate) struct LiveLines {
    /// The rows, of at most so many columns.
    pub(crate) rows: Box<dyn Fn(usize) -> Vec<String> + Send + Sync>,
    /// Whether the rows are shown even where the terminal is in another process's hands.
    pub(crate) always: bool,
}

/// A terminal's state, as far as it is this process's doing.
#[derive(Default)]
pub(crate) struct Screen {
    /// What is to stand below the lines.
    live: Option<Arc<LiveLines>>,
    /// Live lines stand there, and the cursor at their start.
    drawn: bool,
    /// The live lines that were drawn may be erased even where the terminal is in another process's hands.
    always: bool,
}

impl Screen {
    /// From now on this stands below the lines, or nothing.
    pub(crate) fn show(&mut self, live: Option<Arc<LiveLines>>) {
        self.live = live;
    }

    /// Whether a live line stands there.
    pub(crate) fn is_drawn(&self) -> bool {
        self.drawn
    }

    /// What is to be written so that these lines are added and the live lines stand below them. `columns` of the terminal
    /// as it is now; `foreground`: whether it is in this process's hands.
    pub(crate) fn compose(&mut self, lines: &str, columns: usize, foreground: bool) -> String {
        let mut out = String::new();
        // in another process's hands the cursor may be anywhere
        if self.drawn && (self.always || foreground) {
            out += ERASE;
        }
        out += lines;
        self.drawn = false;
        if let Some(live) = self.live.as_ref().filter(|live| live.always || foreground) {
            // the last column is left free: some terminals wrap as soon as it is filled
            let rows = (live.rows)(columns.saturating_sub(1));
            if !rows.is_empty() {
                out += &drawn(&rows);
                (self.drawn, self.always) = (true, live.always);
            }
        }
        out
    }
}

fn drawn(rows: &[String]) -> String {
    let up = match rows.len() - 1 {
        0 => String::new(),
        rows => format!("\x1b[{rows}A"),
    };
    format!("{NO_WRAP}{}{WRAP}{up}\r", rows.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(rows: &'static [&'static str], always: bool) -> Option<Arc<LiveLines>> {
        let rows = move |columns: usize| rows.iter().map(|row| format!("{row:.columns$}")).collect();
        Some(Arc::new(LiveLines { rows: Box::new(rows), always }))
    }

    fn shown(terminal: &vt100::Parser) -> Vec<String> {
        let (_, columns) = terminal.screen().size();
        terminal.screen().rows(0, columns.into()).filter(|row| !row.is_empty()).collect()
    }

    fn terminal(rows: u16, columns: u16) -> vt100::Parser {
        vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)
    }

    #[test]
    fn without_a_frame_lines_are_only_lines() {
        assert_eq!(Screen::default().compose("a\nb\n", 80, true), "a\nb\n");
    }

    #[test]
    fn lines_stand_above_the_frame_whatever_its_rows() {
        for rows in [&["tx  1 MiB"][..], &["rx  1 MiB", "tx  2 MiB"]] {
            let (mut screen, mut terminal) = (Screen::default(), terminal(4, 20));
            screen.show(live(rows, false));
            for line in ["one\r\n", "", "two\r\n", "three\r\n", "four\r\n"] {
                terminal.process(screen.compose(line, 20, true).as_bytes());
                assert_eq!(shown(&terminal).iter().filter(|row| row.contains("MiB")).count(), rows.len());
            }
            let all: Vec<&str> = ["one", "two", "three", "four"].iter().chain(rows).copied().collect();
            assert_eq!(shown(&terminal), all[all.len() - 4..], "scrolled, and nothing garbled");
            screen.show(None);
            terminal.process(screen.compose("", 20, true).as_bytes());
            terminal.process(b"prompt");
            assert!(!shown(&terminal).iter().any(|row| row.contains("MiB")));
            assert_eq!(shown(&terminal).last().unwrap(), "prompt");
        }
    }

    #[test]
    fn rows_fit_and_the_terminal_cuts_what_does_not() {
        let (mut screen, mut terminal) = (Screen::default(), terminal(4, 10));
        screen.show(live(&["0123456789abcdef"], false));
        terminal.process(screen.compose("", 10, true).as_bytes());
        assert_eq!(shown(&terminal), ["012345678"]);
        assert!(screen.compose("", 80, true).contains("\x1b[?7l0123456789abcdef\x1b[?7h\r"), "no wrapping");
    }

    #[test]
    fn a_terminal_in_other_hands_is_left_alone_unless_asked_for() {
        let mut screen = Screen::default();
        screen.show(live(&["row"], false));
        assert!(screen.compose("", 80, true).contains("row") && screen.is_drawn());
        assert_eq!(screen.compose("line\n", 80, false), "line\n");
        assert!(!screen.is_drawn());
        assert!(!screen.compose("", 80, true).contains(ERASE), "the cursor is somewhere else by now");
        screen.show(live(&["row"], true));
        screen.compose("", 80, false);
        let again = screen.compose("line\n", 80, false);
        assert!(again.starts_with(ERASE) && again.contains("row"));
    }
}
