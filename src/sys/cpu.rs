//! How many cores there are for this process, what a thread has had of them, and what is idle.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Cores that this process may use at once, by its affinity and its control group; at least 1.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// The time for which the calling thread has had a core.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The time for which cores of this machine have had nothing to do, summed over all; None where the kernel does not say.
pub(crate) fn idle_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks = idle_ticks(&stat)?;
    let second = rustix::param::clock_ticks_per_second();
    (second > 0).then(|| Duration::from_secs_f64(ticks as f64 / second as f64))
}

/// Of the line for all cores: user, nice, system, _idle_, _iowait_, …
fn idle_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().find_map(|line| line.strip_prefix("cpu "))?.split_whitespace().skip(3);
    let idle: u64 = fields.next()?.parse().ok()?;
    let waiting: u64 = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
    idle.checked_add(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_has_had_a_core() {
        let before = thread_time();
        while thread_time() - before < Duration::from_millis(2) {
            std::hint::black_box(0);
        }
        assert!(cores() >= 1);
    }

    #[test]
    fn idle_time_is_read_from_the_line_for_all_cores() {
        let stat = "cpu  10132153 290696 3084719 46828483 16683 0 25195 0 175628 0\ncpu0 1 2 3 4 5\n";
        assert_eq!(idle_ticks(stat), Some(46_828_483 + 16_683));
        for nonsense in ["", "cpu ", "cpu 1 2 3", "cpu 1 2 3 x 5", "cpu0 1 2 3 4 5"] {
            assert_eq!(idle_ticks(nonsense), None, "{nonsense}");
        }
        if cfg!(target_os = "linux") {
            assert!(idle_time().is_some());
        }
    }
}
