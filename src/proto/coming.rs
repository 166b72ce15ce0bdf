//! What a connection brings of a leg that takes long, told to the core before the leg is whole.
//!
//! Where a leg takes longer than patience, nothing else shows that the stream goes on. So that this costs nothing where
//! legs are quick, it is told once a second at most.

use std::time::{Duration, Instant};

/// How often it is told, at most.
const TOLD: Duration = Duration::from_secs(1);

/// What has come of a leg that is wanted and not whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct LegPart {
    /// Its number.
    pub leg: u64,
    /// How many of its bytes.
    pub bytes: usize,
}

/// What one connection has brought of its latest leg, as far as the core has heard of it.
#[derive(Clone, Copy, Debug)]
pub struct Coming {
    /// When it was told last.
    told: Instant,
    /// What had come then.
    part: LegPart,
}

impl Coming {
    /// Nothing was told.
    pub fn new(now: Instant) -> Self {
        Coming { told: now, part: LegPart::default() }
    }

    /// So much has come. How many bytes more that are than the core knows, if it is time to tell.
    pub fn came(&mut self, now: Instant, part: LegPart) -> Option<u64> {
        if now.saturating_duration_since(self.told) < TOLD {
            return None;
        }
        // a leg that came damaged may come again
        let goes_on = self.part.leg == part.leg && self.part.bytes <= part.bytes;
        let known = if goes_on { self.part.bytes } else { 0 };
        (self.told, self.part) = (now, part);
        Some((part.bytes - known) as u64).filter(|more| *more > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_a_leg_is_told_once_a_second() {
        let start = Instant::now();
        let mut coming = Coming::new(start);
        let mut came =
            |ms, leg, bytes| coming.came(start + Duration::from_millis(ms), LegPart { leg, bytes });
        assert_eq!(came(500, 0, 100), None, "too soon");
        assert_eq!(came(1000, 0, 3000), Some(3000));
        assert_eq!(came(1900, 0, 5000), None);
        assert_eq!(came(2000, 0, 6000), Some(3000));
        assert_eq!(came(3000, 0, 6000), None, "nothing came");
        assert_eq!(came(9000, 7, 100), Some(100), "the one before is whole");
        assert_eq!(came(10_000, 7, 50), Some(50), "it comes again");
    }
}
