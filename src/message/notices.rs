//! What messages say about themselves: their levels, and lines that were left out. The words of events are in
//! `src/wording.rs`.
//!
//! Pure. A sentence names its subject, says what happened and what is being done or what to do, and fits 80 columns
//! where its names let it. The program's name is put before it elsewhere.

use super::limit::Kind;

/// Tells of lines that could not be written in time.
pub(crate) fn dropped(lines: usize) -> String {
    format!("… {lines} {} dropped", if lines == 1 { "line" } else { "lines" })
}

/// Tells of lines that were not said because there were too many like them.
pub(crate) fn more_like_it(kind: Kind, lines: u64) -> String {
    format!("… and {lines} more like it: {kind}")
}

/// The answer to SIGUSR2.
pub(crate) fn level_is(level: u8) -> String {
    format!("verbosity is now {level}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        assert_eq!(dropped(1), "… 1 line dropped");
        assert_eq!(dropped(12), "… 12 lines dropped");
        assert_eq!(more_like_it("refused", 214), "… and 214 more like it: refused");
        assert_eq!(level_is(3), "verbosity is now 3");
    }
}
