//! Links that let nothing through for a time.

use super::{Happening, Net};
use crate::clock::Event;
use rand::RngExt;
use std::time::Duration;

impl Net {
    /// A link lets nothing through from this end.
    pub fn silence(&mut self, link: usize, end: usize) {
        self.links[link].ways[end].silent.get_or_insert(self.clock.now);
        for conn in self.conns.iter_mut().filter(|conn| conn.link == link) {
            conn.ends[end].silent = true;
        }
    }

    /// New connections work again; old ones when TCP sends again, up to as long after as it lasted.
    pub fn unsilence(&mut self, link: usize, end: usize) {
        let Some(since) = self.links[link].ways[end].silent.take() else { return };
        let lasted = (self.clock.now - since).min(Duration::from_secs(60));
        for conn in 0..self.conns.len() {
            if self.conns[conn].link == link && self.conns[conn].ends[end].silent {
                let wait = lasted.mul_f64(self.rng.random());
                self.clock.after(wait, Event::Net(Happening::Resume { conn, end }));
            }
        }
    }
}
