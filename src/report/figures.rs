//! How figures are written: sizes, rates, times, counts.

use std::time::Duration;

/// The right margin of a report and of a last line.
pub(crate) const COLUMNS: usize = 80;

/// Bytes, with three digits that count: `12.4 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // what would be shown as 1024 is 1.00 of the next
    while value >= 1023.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", units[unit])
}

/// Bytes a second: `66.1 MiB/s`.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second as u64))
}

/// `h:mm:ss`, with days before it where there are any.
pub(crate) fn time(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = if days > 0 { format!("{days}d ") } else { String::new() };
    format!("{days}{hours}:{minutes:02}:{:02}", seconds % 60)
}

/// A rate over this time; 0 where that is too short to tell.
pub(crate) fn per_second(bytes: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds < 0.001 { 0.0 } else { bytes as f64 / seconds }
}

/// So many of these, in words.
pub(crate) fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
