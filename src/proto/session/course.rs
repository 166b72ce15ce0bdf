//! How far the life of one stream is.

use super::super::outcome::Outcome;

/// The life of one stream at one end.
///
/// ```text
///           Judge               Finish
///  Going ───────────▶ Judged ──────────────▶ Over
///    │                   │ Fail               ▲
///    ╰───────────────────┴────────────────────╯
///         Fail
/// ```
///
/// How a stream was judged stays so, whatever happens to the session after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// Its verdict is still to come.
    Going,
    /// Its verdict was spoken. It may still keep its last word for the peer.
    Judged(Outcome),
    /// It is done with.
    Over(Outcome),
}

/// What happens to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The verdict on it.
    Judge(Outcome),
    /// Its last word got there, or nobody wants it.
    Finish,
    /// The session ends for another reason than a verdict.
    Fail(Outcome),
}

impl Course {
    /// The course after a move; None if the move is not legal.
    pub(super) fn next(&self, step: Move) -> Option<Course> {
        match (self, step) {
            (Course::Going, Move::Judge(outcome)) => Some(Course::Judged(outcome)),
            (Course::Going, Move::Fail(outcome)) => Some(Course::Over(outcome)),
            (Course::Judged(outcome), Move::Finish | Move::Fail(_)) => Some(Course::Over(outcome.clone())),
            _ => None,
        }
    }

    /// How the stream ended, once that is decided.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Course::Going => None,
            Course::Judged(outcome) | Course::Over(outcome) => Some(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Status;
    use super::*;

    #[test]
    fn every_pair_of_course_and_move_is_legal_or_not() {
        let (good, bad) = (Outcome::there(Status::Complete, ""), Outcome::here(Status::Incomplete, "gone"));
        let moves = || [Move::Judge(good.clone()), Move::Finish, Move::Fail(bad.clone())];
        let courses = [Course::Going, Course::Judged(good.clone()), Course::Over(good.clone())];
        let table = courses.map(|course| moves().map(|step| course.next(step)));
        let (judged, over) = (Some(Course::Judged(good.clone())), Some(Course::Over(good.clone())));
        let failed = Some(Course::Over(bad.clone()));
        assert_eq!(
            table,
            [[judged, None, failed], [None, over.clone(), over], [None, None, None]],
            "what was judged stays so"
        );
    }
}
