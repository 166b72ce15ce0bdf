//! The one line that each direction leaves when it is over.
//!
//! It begins with `sent N bytes` or `received N bytes` if all is well; else it says how much there is, and that this
//! is not the whole. It fits 80 columns with the program's name before it.

use super::figures::{COLUMNS, count, per_second, rate, size, time};
use super::snapshot::{Detail, Phase, Side, Snapshot};
use std::fmt;
use std::time::Duration;

/// The columns that are left beside the program's name.
const WIDTH: usize = COLUMNS - "millipede: ".len();

/// What one direction has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Which.
    pub(crate) side: Side,
    /// Whether the output has the whole stream.
    pub(crate) complete: bool,
    /// Whether the output may have more than is known here.
    pub(crate) in_doubt: bool,
    /// Bytes that the output has taken, as far as is known.
    pub(crate) bytes: u64,
    /// What was known or given as the stream's size.
    pub(crate) expected: Option<u64>,
    /// Since the first connection.
    pub(crate) time: Duration,
    /// Legs that crossed more than once, for whatever reason.
    pub(crate) again: u64,
    /// Connections that ended before the stream did.
    pub(crate) lost: u64,
    /// What the stream's bytes were sent or came as, where that is known and less.
    pub(crate) sent_as: Option<u64>,
}

impl Summary {
    /// Of a direction that is over, as it was seen last. None where it has not ended, or never met the other end.
    pub(crate) fn of(snapshot: &Snapshot) -> Option<Summary> {
        let Phase::Over(result) = &snapshot.phase else { return None };
        let again = match snapshot.detail {
            Detail::Tx { again: (legs, _), .. } => legs,
            Detail::Rx { copies, .. } => copies,
        };
        (result.is_ok() || snapshot.has_met()).then_some(Summary {
            side: snapshot.side,
            complete: result.is_ok(),
            in_doubt: match snapshot.detail {
                // what the output took last may not have been told any more
                Detail::Tx { .. } => true,
                Detail::Rx { in_doubt, .. } => in_doubt,
            },
            bytes: snapshot.delivered,
            expected: snapshot.expected,
            time: snapshot.elapsed,
            again,
            lost: snapshot.lost,
            sent_as: snapshot.compressed.and_then(|compressed| compressed.saved(snapshot.delivered)),
        })
    }

    /// What is to be said where the stream was whole, and smaller than it should have been.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let expected = self.expected.filter(|expected| self.complete && self.bytes < *expected)?;
        Some(format!("the stream had {}, not the {expected} expected", count(self.bytes, "byte")))
    }

    /// The output has a part of the stream, or it is not known whether it has all.
    fn partial(&self) -> String {
        let output = match self.side {
            Side::Tx => "the far output",
            Side::Rx => "the output",
        };
        match self.bytes {
            0 if self.in_doubt => "nothing is known to have been delivered".into(),
            0 => "nothing was delivered".into(),
            bytes => {
                let is = if self.in_doubt { "has at least" } else { "is partial:" };
                format!("{output} {is} {}{} in {}", count(bytes, "byte"), rough(bytes), self.took())
            }
        }
    }

    fn took(&self) -> String {
        match self.time {
            short if short < Duration::from_secs(60) => format!("{:.2} s", short.as_secs_f64()),
            long => time(long),
        }
    }

    /// What went wrong on the way and was mended, if anything; in few words if that is all there is room for. A lost
    /// connection's legs come again: they need no mention of their own.
    fn mended(&self, in_few: bool) -> String {
        match (self.lost, self.again) {
            (0, 0) => String::new(),
            (0, again) => format!("; {} again", count(again, "leg")),
            (lost, _) if in_few => format!("; {}", count(lost, "break")),
            (lost, _) => format!("; {} healed", count(lost, "break")),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.complete {
            return f.write_str(&self.partial());
        }
        let done = match self.side {
            Side::Tx => "sent",
            Side::Rx => "received",
        };
        if self.bytes == 0 {
            return write!(f, "{done} 0 bytes: the stream was empty");
        }
        let bytes = count(self.bytes, "byte");
        let speed = rate(per_second(self.bytes, self.time.max(Duration::from_millis(1))));
        let sent_as = self.sent_as.map_or(String::new(), |bytes| format!(", as {}", size(bytes)));
        let line = |rough: &str, sent_as: &str, in_few| {
            format!("{done} {bytes}{rough}{sent_as} in {}, {speed}{}", self.took(), self.mended(in_few))
        };
        let rough = rough(self.bytes);
        let lines = [line(&rough, &sent_as, false), line("", &sent_as, false), line("", "", false)];
        let fits = lines.into_iter().find(|line| line.len() <= WIDTH);
        f.write_str(&fits.unwrap_or_else(|| line("", "", true)))
    }
}

/// The same as a rough figure, where that is easier to read.
fn rough(bytes: u64) -> String {
    if bytes < 1024 { String::new() } else { format!(" ({})", size(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Compressed;
    use super::super::tests::{rx, tx};
    use super::*;

    const GIB: u64 = 1 << 30;

    fn over(snapshot: Snapshot, delivered: u64) -> Snapshot {
        Snapshot { phase: Phase::Over(Ok(())), delivered, lost: 0, ..snapshot }
    }

    fn said(snapshot: &Snapshot) -> String {
        let line = Summary::of(snapshot).unwrap().to_string();
        assert!(line.len() <= WIDTH, "{} columns too many: {line}", line.len() - WIDTH);
        line
    }

    #[test]
    fn all_is_well() {
        let mut well = over(rx(), 13 * GIB);
        well.detail = Detail::Rx {
            received: 0,
            next: 0,
            ahead: (0, 0),
            copies: 0,
            blocked: Duration::ZERO,
            in_doubt: false,
        };
        assert_eq!(said(&well), "received 13958643712 bytes (13.0 GiB) in 0:03:12, 69.3 MiB/s");
        let brief = Snapshot { elapsed: Duration::from_micros(20), delivered: 5, ..well.clone() };
        assert_eq!(said(&brief), "received 5 bytes in 0.00 s, 4.88 KiB/s");
        let one = Snapshot { elapsed: Duration::from_millis(1500), delivered: 1, ..well.clone() };
        assert_eq!(said(&one), "received 1 byte in 1.50 s, 0 B/s");
        assert_eq!(said(&over(tx(), 0)), "sent 0 bytes: the stream was empty");
        assert_eq!(said(&Snapshot { delivered: 0, ..well }), "received 0 bytes: the stream was empty");
    }

    #[test]
    fn what_was_mended_is_told_as_far_as_there_is_room() {
        let mended = |bytes, lost| said(&Snapshot { lost, ..over(tx(), bytes) });
        assert_eq!(mended(5000, 0), "sent 5000 bytes (4.88 KiB) in 0:03:12, 26 B/s; 3 legs again");
        assert_eq!(mended(5000, 1), "sent 5000 bytes (4.88 KiB) in 0:03:12, 26 B/s; 1 break healed");
        assert_eq!(mended(13 * GIB, 16), "sent 13958643712 bytes in 0:03:12, 69.3 MiB/s; 16 breaks healed");
        assert_eq!(
            mended(13 << 40, 1600),
            "sent 14293651161088 bytes in 0:03:12, 69.3 GiB/s; 1600 breaks healed"
        );
        assert_eq!(
            mended(13 << 50, 1600),
            "sent 14636698788954112 bytes in 0:03:12, 69.3 TiB/s; 1600 breaks"
        );
    }

    #[test]
    fn what_was_compressed_is_told_as_far_as_there_is_room() {
        let shrunk = Compressed { raw: 1000 << 20, sent: 400 << 20, ..Compressed::default() };
        let sent = |bytes, lost| said(&Snapshot { compressed: Some(shrunk), lost, ..over(tx(), bytes) });
        assert_eq!(sent(5000, 1), "sent 5000 bytes, as 1.95 KiB in 0:03:12, 26 B/s; 1 break healed");
        assert_eq!(sent(13 * GIB, 16), "sent 13958643712 bytes in 0:03:12, 69.3 MiB/s; 16 breaks healed");
        let grown = Compressed { sent: 2000 << 20, ..shrunk };
        let line = said(&Snapshot { compressed: Some(grown), lost: 1, ..over(tx(), 5000) });
        assert!(!line.contains(", as "), "{line}");
    }

    #[test]
    fn a_failure_says_how_much_there_is_and_that_it_is_partial() {
        let failed = |snapshot| Snapshot { phase: Phase::Over(Err("gone".into())), ..snapshot };
        let some = failed(over(rx(), 13 * GIB));
        assert_eq!(said(&some), "the output is partial: 13958643712 bytes (13.0 GiB) in 0:03:12");
        let detail = Detail::Rx {
            received: 9,
            next: 1,
            ahead: (0, 0),
            copies: 0,
            blocked: Duration::ZERO,
            in_doubt: true,
        };
        let goes_on = failed(Snapshot { detail, ..over(rx(), 5) });
        assert_eq!(said(&goes_on), "the output has at least 5 bytes in 0:03:12");
        let none = failed(Snapshot { delivered: 0, ..tx() });
        assert_eq!(said(&none), "nothing is known to have been delivered");
        assert_eq!(said(&failed(Snapshot { delivered: 0, ..rx() })), "nothing was delivered");
        let unknown = failed(over(tx(), 13 * GIB));
        assert_eq!(said(&unknown), "the far output has at least 13958643712 bytes (13.0 GiB) in 0:03:12");
        let waited = super::super::Waited::default();
        let unmet = Snapshot { waited, lost: 0, connections: Vec::new(), ..none };
        assert_eq!(Summary::of(&unmet), None, "why it failed says it all");
        assert_eq!(Summary::of(&tx()), None, "it goes on");
    }

    #[test]
    fn a_stream_smaller_than_it_should_be_is_told() {
        let short =
            |expected, snapshot: Snapshot| Summary::of(&Snapshot { expected, ..snapshot })?.shortfall();
        assert_eq!(short(Some(10), over(tx(), 4)).unwrap(), "the stream had 4 bytes, not the 10 expected");
        for expected in [None, Some(3), Some(4)] {
            assert_eq!(short(expected, over(tx(), 4)), None);
        }
        let failed = Snapshot { phase: Phase::Over(Err("gone".into())), ..tx() };
        assert_eq!(short(Some(1 << 60), failed), None, "that it is not whole is said already");
    }
}
