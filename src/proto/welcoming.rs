//! How far the exchange of welcomes is on a connection, and what may be written before it is over.
//!
//! ```text
//!  the end that listens and sends as well:  First ── its welcome is written ──▶ Awaited ──╮
//!                                           Ahead ────────────────────────────────────────┼─ the dialler's came ─▶ Done
//!  any other end:                           Done
//! ```

/// What may be written on a connection that was let in or dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcoming {
    /// This end's welcome goes out, and then nothing until the far end's has come.
    First,
    /// This end's welcome has gone out.
    Awaited,
    /// The far end's welcome was said ahead: frames may be written behind this end's own, before it comes.
    Ahead,
    /// Frames may be written.
    Done,
}

impl Welcoming {
    /// A connection that was let in, by an end that sends as well, or does not; `ahead`: the far end's welcome was said with
    /// its hello.
    pub fn let_in(sends: bool, ahead: bool) -> Self {
        match (sends, ahead) {
            (true, true) => Welcoming::Ahead,
            (true, false) => Welcoming::First,
            (false, _) => Welcoming::Done,
        }
    }

    /// Whether legs and other frames may be written.
    pub fn lets_frames_out(self) -> bool {
        matches!(self, Welcoming::Ahead | Welcoming::Done)
    }

    /// How many items may be taken from the mailbox now. This end's welcome is its first.
    pub fn most_items(self) -> usize {
        match self {
            Welcoming::First => 1,
            Welcoming::Awaited => 0,
            Welcoming::Ahead | Welcoming::Done => usize::MAX,
        }
    }

    /// This end's welcome was written.
    pub fn note_written(&mut self) {
        if *self == Welcoming::First {
            *self = Welcoming::Awaited;
        }
    }

    /// The far end's welcome has come.
    pub fn note_heard(&mut self) {
        *self = Welcoming::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::Welcoming::{self, Ahead, Awaited, Done, First};

    #[test]
    fn every_news_in_every_state() {
        for (before, most, written) in
            [(First, 1, Awaited), (Awaited, 0, Awaited), (Ahead, usize::MAX, Ahead), (Done, usize::MAX, Done)]
        {
            assert_eq!((before.most_items(), before.lets_frames_out()), (most, most > 1), "{before:?}");
            let (mut after_writing, mut after_hearing) = (before, before);
            after_writing.note_written();
            after_hearing.note_heard();
            assert_eq!((after_writing, after_hearing), (written, Done), "{before:?}");
        }
    }

    #[test]
    fn only_an_end_that_sends_as_well_waits_for_a_welcome() {
        let states = [(true, false), (true, true), (false, false), (false, true)];
        assert_eq!(states.map(|(sends, ahead)| Welcoming::let_in(sends, ahead)), [First, Ahead, Done, Done]);
    }
}
