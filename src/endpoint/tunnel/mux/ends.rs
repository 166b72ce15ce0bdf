//! Which directions of a connection have ended.

/// One direction of a connection, by who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This end sends nothing more.
    Here,
    /// The far end sends nothing more.
    There,
}

/// ```text
///            Here               There
///  Neither ───────▶ FinishedHere ───────▶ Both
///    │ There                         Here ▲
///    ╰────────────▶ FinishedThere ────────╯
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ends {
    #[default]
    Neither,
    FinishedHere,
    FinishedThere,
    Both,
}

impl Ends {
    /// What follows when a direction ends; none if it has ended before.
    pub(super) fn next(self, end: End) -> Option<Self> {
        match (self, end) {
            (Self::Neither, End::Here) => Some(Self::FinishedHere),
            (Self::Neither, End::There) => Some(Self::FinishedThere),
            (Self::FinishedHere, End::There) | (Self::FinishedThere, End::Here) => Some(Self::Both),
            (Self::FinishedHere, End::Here) | (Self::FinishedThere, End::There) | (Self::Both, _) => None,
        }
    }

    /// A direction ends. Returns whether it had not ended before.
    pub(super) fn finish(&mut self, end: End) -> bool {
        self.next(end).map(|next| *self = next).is_some()
    }

    /// Whether this direction has ended.
    pub(super) fn has(self, end: End) -> bool {
        self.next(end).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_state_and_end_is_legal_or_not() {
        use Ends::{Both, FinishedHere, FinishedThere, Neither};
        let legal = |ends: Ends| [End::Here, End::There].map(|end| ends.next(end));
        assert_eq!(legal(Neither), [Some(FinishedHere), Some(FinishedThere)]);
        assert_eq!(legal(FinishedHere), [None, Some(Both)]);
        assert_eq!(legal(FinishedThere), [Some(Both), None]);
        assert_eq!(legal(Both), [None, None]);
    }

    #[test]
    fn a_direction_ends_once() {
        for ends in [Ends::Neither, Ends::FinishedHere, Ends::FinishedThere, Ends::Both] {
            for end in [End::Here, End::There] {
                let mut after = ends;
                assert_eq!(after.finish(end), !ends.has(end), "{ends:?} {end:?}");
                assert!(after.has(end) && !after.finish(end), "{ends:?} {end:?}");
            }
        }
    }
}
