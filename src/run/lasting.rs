//! Commands that go on after their sessions: how many there are, and of whom.
//!
//! They have no place and may take as long as they like, so a sender that leaves and comes again could leave ever more of
//! them. While there are many, whoever has its share of them already begins no session. Whoever has fewer does, so that none
//! keeps the others out.

use crate::proto::peer_key::PeerKey;
use crate::sync::Unpoisoned;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The sessions that are over and have a command that goes on.
pub(super) struct Lasting {
    /// While there are so many commands or more, whoever has its share of them begins no session.
    many: usize,
    /// A key that has so many commands or more has its share.
    share: usize,
    /// By the key of the sender; none has 0.
    counts: Mutex<HashMap<Option<PeerKey>, usize>>,
}

/// One of them, for as long as it goes on.
pub(super) struct Lasts {
    all: Arc<Lasting>,
    key: Option<PeerKey>,
}

impl Lasting {
    /// No commands yet. `many`, `share`: as the fields say.
    pub(super) fn new(many: usize, share: usize) -> Arc<Self> {
        Arc::new(Lasting { many, share, counts: Mutex::default() })
    }

    /// One more, of a sender with this key.
    pub(super) fn begin(self: &Arc<Self>, key: Option<PeerKey>) -> Lasts {
        *self.lock().entry(key).or_default() += 1;
        Lasts { all: self.clone(), key }
    }

    /// Whether a sender with this key may begin a session.
    pub(super) fn allows(&self, key: Option<PeerKey>) -> bool {
        let counts = self.lock();
        counts.values().sum::<usize>() < self.many || counts.get(&key).is_none_or(|own| *own < self.share)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<PeerKey>, usize>> {
        self.counts.lock().unpoisoned()
    }
}

impl Drop for Lasts {
    fn drop(&mut self) {
        let mut counts = self.all.lock();
        if let Some(own) = counts.get_mut(&self.key) {
            *own -= 1;
        }
        counts.retain(|_, own| *own > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_there_are_many_only_those_are_kept_out_who_have_their_share() {
        let lasting = Lasting::new(10, 3);
        let [none, some, most] = [None, Some(PeerKey([1; 32])), Some(PeerKey([2; 32]))];
        let allowed = || [none, some, most].map(|key| lasting.allows(key));
        let mut going: Vec<Lasts> = [some, some].into_iter().map(|key| lasting.begin(key)).collect();
        going.extend((0..7).map(|_| lasting.begin(most)));
        assert_eq!(allowed(), [true; 3], "there are few");
        going.push(lasting.begin(most));
        assert_eq!(allowed(), [true, true, false]);
        going.push(lasting.begin(some));
        assert_eq!(allowed(), [true, false, false]);
        going.truncate(9);
        assert_eq!(allowed(), [true; 3]);
        drop(going);
        assert!(lasting.lock().is_empty());
    }
}
