//! The connections that are up for the outgoing stream: on which link each is, and which of them can take a leg.
//!
//! Kept as sets, since every event asks for some of them: who is ready, who shares a link, who was called back.

use super::super::leg::{CONNECTIONS_MAX, LINKS_MAX};
use super::super::set::ConnectionSet;

/// The connections that are up.
#[derive(Debug)]
pub(super) struct Carriers {
    /// The connections that are up, on whichever link.
    up: ConnectionSet,
    /// By link: the connections that are up there. Each connection is in one of these sets at most.
    on: [ConnectionSet; LINKS_MAX],
    /// By connection: its link, while it is up.
    links: [usize; CONNECTIONS_MAX],
    /// Connections that are called back: they get no new legs, and are closed when they have nothing on the way. All are
    /// up.
    recalled: ConnectionSet,
    /// Connections on which the stream's end was told. All are up.
    fin_told: ConnectionSet,
    /// Connections whose path drains. All are up.
    ready: ConnectionSet,
    /// The same connections as in `ready`; the one that became ready last stands at the end.
    ready_in_turn: Vec<usize>,
    /// The link that carries legs only while no other is up, if there is one.
    lifeline: Option<usize>,
}

impl Carriers {
    /// None is up.
    pub(super) fn new() -> Self {
        Carriers {
            up: ConnectionSet::EMPTY,
            on: [ConnectionSet::EMPTY; LINKS_MAX],
            links: [0; CONNECTIONS_MAX],
            recalled: ConnectionSet::EMPTY,
            fin_told: ConnectionSet::EMPTY,
            ready: ConnectionSet::EMPTY,
            ready_in_turn: Vec::with_capacity(CONNECTIONS_MAX),
            lifeline: None,
        }
    }

    /// This link carries legs only while no other is up.
    pub(super) fn set_lifeline(&mut self, link: usize) {
        self.lifeline = Some(link);
    }

    /// A connection is up on this link.
    pub(super) fn attach(&mut self, connection: usize, link: usize) {
        self.detach(connection);
        self.links[connection] = link;
        self.on[link].insert(connection);
        self.up.insert(connection);
    }

    /// A connection is gone, if it was there.
    pub(super) fn detach(&mut self, connection: usize) {
        self.on[self.links[connection]].remove(connection);
        for set in [&mut self.up, &mut self.recalled, &mut self.fin_told] {
            set.remove(connection);
        }
        self.note_unready(connection);
    }

    /// A connection is called back.
    pub(super) fn recall(&mut self, connection: usize) {
        if self.up.contains(connection) {
            self.recalled.insert(connection);
        }
    }

    /// The path of a connection drains.
    pub(super) fn note_ready(&mut self, connection: usize) {
        if self.up.contains(connection) && !self.ready.contains(connection) {
            self.ready.insert(connection);
            self.ready_in_turn.push(connection);
        }
    }

    /// A connection has something to carry, or is gone.
    pub(super) fn note_unready(&mut self, connection: usize) {
        if self.ready.contains(connection) {
            self.ready.remove(connection);
            self.ready_in_turn.retain(|other| *other != connection);
        }
    }

    /// The connections on which the stream's end was not told; from now on it counts as told there.
    pub(super) fn take_untold(&mut self) -> ConnectionSet {
        let untold = self.up - self.fin_told;
        self.fin_told = self.up;
        untold
    }

    /// The connections that are up.
    pub(super) fn up(&self) -> ConnectionSet {
        self.up
    }

    /// The link of a connection that is up.
    pub(super) fn link_of(&self, connection: usize) -> Option<usize> {
        self.up.contains(connection).then(|| self.links[connection])
    }

    /// The connections on the link of this one, itself included.
    pub(super) fn mates(&self, connection: usize) -> ConnectionSet {
        self.link_of(connection).map_or(ConnectionSet::EMPTY, |link| self.on[link])
    }

    /// The connections that are up on this link.
    pub(super) fn on(&self, link: usize) -> ConnectionSet {
        self.on[link]
    }

    /// Of the connections `of`, those on the first link that has any of them.
    pub(super) fn on_first_link(&self, of: ConnectionSet) -> ConnectionSet {
        let mut on_links = self.on.iter().map(|on| *on & of);
        on_links.find(|on| !on.is_empty()).unwrap_or_default()
    }

    /// The connections that are called back.
    pub(super) fn recalled(&self) -> ConnectionSet {
        self.recalled
    }

    /// The connections whose path drains.
    pub(super) fn ready(&self) -> ConnectionSet {
        self.ready
    }

    /// Of the connections `of`, the one that became ready last, if any is ready.
    pub(super) fn latest_ready(&self, of: ConnectionSet) -> Option<usize> {
        self.ready_in_turn.iter().rev().copied().find(|connection| of.contains(*connection))
    }

    /// The lifeline's connections, while others are up and not called back: these are spared.
    pub(super) fn spared(&self) -> ConnectionSet {
        let lifeline = self.lifeline.map_or(ConnectionSet::EMPTY, |link| self.on[link]);
        let others = self.up - lifeline - self.recalled;
        if others.is_empty() { ConnectionSet::EMPTY } else { lifeline }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(connections: &[usize]) -> ConnectionSet {
        connections.iter().copied().collect()
    }

    #[test]
    fn who_is_gone_is_in_no_set() {
        let mut carriers = Carriers::new();
        for (connection, link) in [(0, 0), (1, 0), (2, 3)] {
            carriers.attach(connection, link);
            carriers.note_ready(connection);
            carriers.recall(connection);
        }
        assert_eq!((carriers.mates(0), carriers.link_of(2)), (set(&[0, 1]), Some(3)));
        assert_eq!((carriers.take_untold(), carriers.take_untold()), (set(&[0, 1, 2]), set(&[])));
        carriers.detach(0);
        let sets = [carriers.up(), carriers.recalled(), carriers.ready()];
        assert_eq!((sets, carriers.mates(1)), ([set(&[1, 2]); 3], set(&[1])));
        assert_eq!((carriers.link_of(0), carriers.mates(0)), (None, set(&[])));
        carriers.note_ready(0);
        carriers.recall(0);
        assert_eq!([carriers.recalled(), carriers.ready()], [set(&[1, 2]); 2], "it is not up");
        carriers.attach(0, 3);
        assert_eq!((carriers.take_untold(), carriers.mates(2)), (set(&[0]), set(&[0, 2])));
    }

    #[test]
    fn the_one_that_latest_ready_comes_first() {
        let mut carriers = Carriers::new();
        for connection in [4, 2, 7] {
            carriers.attach(connection, 1);
            carriers.note_ready(connection);
        }
        carriers.note_ready(4);
        assert_eq!(carriers.latest_ready(set(&[2, 4, 7])), Some(7), "twice is once");
        carriers.note_unready(4);
        carriers.note_ready(4);
        assert_eq!((carriers.latest_ready(set(&[2, 4])), carriers.latest_ready(set(&[3]))), (Some(4), None));
    }

    #[test]
    fn a_lifeline_is_spared_while_another_connection_stays() {
        let mut carriers = Carriers::new();
        carriers.set_lifeline(1);
        carriers.attach(1, 1);
        assert_eq!(carriers.spared(), set(&[]), "there is no other");
        carriers.attach(0, 0);
        assert_eq!(carriers.spared(), set(&[1]));
        assert_eq!(
            (carriers.on_first_link(set(&[0, 1])), carriers.on_first_link(set(&[1]))),
            (set(&[0]), set(&[1]))
        );
        carriers.recall(0);
        assert_eq!(carriers.spared(), set(&[]), "the other one leaves");
    }
}
