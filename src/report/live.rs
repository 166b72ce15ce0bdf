//! The live line: what fits of it, for a terminal of any width.
//!
//! The narrower the terminal, the fewer parts: first the bar goes, then the buffer, then what can be seen from the
//! rest. At no width is a part cut in the middle while a shorter line would say something.

use super::figures::{rate, size, time};
use super::snapshot::Snapshot;
use crate::message::text::clipped;

/// A shorter bar shows nothing that the percentage does not.
const BAR_MIN: usize = 8;

/// The live line, of at most so many columns.
pub(crate) fn live(snapshot: &Snapshot, columns: usize) -> String {
    let Parts { short, head, elapsed, buffer, tail } = Parts::of(snapshot);
    let full = format!("{head}{elapsed}{buffer}{tail}");
    // "  [", "]"
    let room = columns.saturating_sub(full.chars().count() + 4);
    if let Some(fraction) = snapshot.fraction().filter(|_| room >= BAR_MIN) {
        return format!("{head}{elapsed}{buffer}  [{}]{tail}", bar(fraction, room));
    }
    let lines = [full, head.clone() + &elapsed + &tail, head.clone() + &tail, short.clone() + &tail, head];
    lines.into_iter().find(|line| line.chars().count() <= columns).unwrap_or(clipped(&short, columns))
}

/// The same for a log: without a bar, however wide.
pub(crate) fn plain(snapshot: &Snapshot) -> String {
    let Parts { head, elapsed, buffer, tail, .. } = Parts::of(snapshot);
    head + &elapsed + &buffer + &tail
}

/// What a line is made of, each with the blanks before it.
struct Parts {
    short: String,
    /// Begins with `short`.
    head: String,
    elapsed: String,
    buffer: String,
    tail: String,
}

impl Parts {
    fn of(snapshot: &Snapshot) -> Parts {
        let short = format!("{}  {:>8}", snapshot.side.name(), size(snapshot.delivered));
        Parts {
            head: format!("{short}  {:>10}", rate(snapshot.rate)),
            short,
            elapsed: format!("  {}", time(snapshot.elapsed)),
            buffer: format!("  buffer {:>3} %", snapshot.fill()),
            tail: tail(snapshot),
        }
    }
}

/// How far it is, where that is known, or what is still waited for.
fn tail(snapshot: &Snapshot) -> String {
    if snapshot.awaits_output() {
        return "  waiting for the output".into();
    }
    let percent = snapshot.fraction().map(|fraction| format!("  {:>3} %", (fraction * 100.0).floor()));
    let left = snapshot.left().map(|left| format!("  {} left", time(left)));
    percent.map_or(String::new(), |percent| percent + &left.unwrap_or_default())
}

fn bar(fraction: f64, columns: usize) -> String {
    let done = (fraction * columns as f64) as usize;
    let filled = "=".repeat(done.min(columns).saturating_sub(1)) + if done > 0 { ">" } else { "" };
    format!("{filled:columns$}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::tx;
    use super::super::{Detail, Phase};
    use super::*;
    use std::time::Duration;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_wider_the_more() {
        let sized = Snapshot { expected: Some(25_400 * MIB), ..tx() };
        for (columns, line) in [
            (0, "…"),
            (10, "tx  12.4 …"),
            (20, "tx  12.4 GiB"),
            (26, "tx  12.4 GiB  66.1 MiB/s"),
            (39, "tx  12.4 GiB   50 %  0:03:13 left"),
            (59, "tx  12.4 GiB  66.1 MiB/s  0:03:12   50 %  0:03:13 left"),
            (69, "tx  12.4 GiB  66.1 MiB/s  0:03:12  buffer  87 %   50 %  0:03:13 left"),
            (
                99,
                "tx  12.4 GiB  66.1 MiB/s  0:03:12  buffer  87 %  [============>              ]   50 %  0:03:13 left",
            ),
        ] {
            assert_eq!(live(&sized, columns), line);
        }
        for (columns, line) in [
            (30, "tx  12.4 GiB  66.1 MiB/s"),
            (40, "tx  12.4 GiB  66.1 MiB/s  0:03:12"),
            (80, "tx  12.4 GiB  66.1 MiB/s  0:03:12  buffer  87 %"),
        ] {
            assert_eq!(live(&tx(), columns), line);
        }
    }

    #[test]
    fn it_fits_whatever_there_is_to_say() {
        let large = Snapshot {
            elapsed: Duration::from_secs(187_384),
            expected: Some(1 << 60),
            rate: 1023.4 * MIB as f64,
            ..tx()
        };
        for columns in 1..200 {
            for phase in [Phase::Moving, Phase::Closing] {
                let line = live(&Snapshot { phase, ..large.clone() }, columns);
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn the_end_waits_for_the_output_and_not_for_no_time() {
        let read = 12_700 * MIB;
        let detail = Detail::Tx { read, sent: read, again: (0, 0), rescues: 0, damaged: 0 };
        let all = Snapshot { expected: Some(read), delivered: read, detail, ..tx() };
        assert!(live(&all, 80).ends_with("]  100 %"), "{}", live(&all, 80));
        let closing = Snapshot { phase: Phase::Closing, ..all.clone() };
        assert!(live(&closing, 80).ends_with("  waiting for the output"));
        let draining = Snapshot { delivered: read - MIB, ..closing };
        assert!(live(&draining, 80).ends_with("  99 %  0:00:01 left"), "{}", live(&draining, 80));
    }

    #[test]
    fn without_a_terminal_it_is_one_line() {
        assert_eq!(plain(&tx()), "tx  12.4 GiB  66.1 MiB/s  0:03:12  buffer  87 %");
    }
}
