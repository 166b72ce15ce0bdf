//! The one line that each end says when it is done, at verbosity 1 and above.

use std::fmt;
use std::time::Duration;

/// What one direction has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Whether this end was the sender.
    pub sent: bool,
    /// Bytes of the stream.
    pub bytes: u64,
    /// Since the first connection was up.
    pub time: Duration,
    /// Legs that crossed more than once, for whatever reason.
    pub legs_again: u64,
    /// Connections that ended before the session did.
    pub connections_lost: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { bytes, legs_again, connections_lost, .. } = *self;
        let seconds = self.time.as_secs_f64();
        let (did, again) = if self.sent { ("sent", "sent again") } else { ("received", "came again") };
        write!(f, "{did} {bytes} {} in {seconds:.2} s, ", noun(bytes, "byte"))?;
        write!(f, "{:.1} MB/s; ", bytes as f64 / 1e6 / seconds.max(1e-3))?;
        write!(f, "{legs_again} {} {again}, ", noun(legs_again, "leg"))?;
        write!(f, "{connections_lost} {} lost", noun(connections_lost, "connection"))
    }
}

fn noun(count: u64, one: &str) -> String {
    if count == 1 { one.to_owned() } else { format!("{one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_asked_for() {
        let time = Duration::from_millis(1500);
        let sent =
            Summary { sent: true, bytes: 3_000_000, time, legs_again: 1, connections_lost: 2 }.to_string();
        assert_eq!(sent, "sent 3000000 bytes in 1.50 s, 2.0 MB/s; 1 leg sent again, 2 connections lost");
        let none =
            Summary { sent: false, bytes: 0, time: Duration::ZERO, legs_again: 0, connections_lost: 0 };
        assert_eq!(
            none.to_string(),
            "received 0 bytes in 0.00 s, 0.0 MB/s; 0 legs came again, 0 connections lost"
        );
    }
}
