//! What is known of the links and connections, for whoever asks. Nothing changes here.

use super::{DialState, Link, Links};
use std::time::Instant;

impl Links {
    /// How many connections there may be.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there may be no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Where a connection is.
    pub fn state(&self, connection: usize) -> DialState {
        self.connections[connection].state
    }

    /// The link of a connection that is up.
    pub fn link_of(&self, connection: usize) -> Option<usize> {
        self.state(connection).up_on()
    }

    /// When a connection was dialled last.
    pub fn dialled_at(&self, connection: usize) -> Option<Instant> {
        self.connections[connection].dialled
    }

    /// How many connections are up.
    pub fn up_count(&self) -> usize {
        self.links.iter().map(Link::up).sum()
    }

    /// Attempts under way on links that have never failed, or to come: something may still come of them.
    pub fn hopeful(&self) -> bool {
        let tried = |link: &Link| link.dialling() > 0 || link.is_to_be_tried() || self.one;
        self.links.iter().any(|link| link.state().is_usable() && tried(link))
    }

    /// Whether an attempt is under way, or one on another link is about to be.
    pub fn is_dialling(&self) -> bool {
        let about_to_be = |link: &Link| link.is_to_be_tried() && !self.one;
        self.links.iter().any(|link| link.dialling() > 0 || about_to_be(link))
    }

    /// Since when every link that is not bad has been refused, if all are and nothing is up.
    pub fn refused_since(&self) -> Option<Instant> {
        let mut good = self.links.iter().filter(|link| !link.state().is_bad()).peekable();
        good.peek()?;
        good.map(|link| link.state().refused_since()).try_fold(None, |latest: Option<Instant>, at| {
            at.map(|at| Some(latest.map_or(at, |latest| latest.max(at))))
        })?
    }

    /// Whether no link's name has an address.
    pub fn all_unresolved(&self) -> bool {
        self.links.iter().all(Link::is_unresolved)
    }

    /// Whether whoever answers on a link has not proved its key.
    pub fn any_unproven(&self) -> bool {
        self.links.iter().any(Link::is_unproven)
    }

    /// The first refusal, if every link was refused for good.
    pub fn all_bad(&self) -> Option<(usize, &str)> {
        let all = self.links.iter().all(|link| link.state().is_bad());
        all.then(|| self.first_bad()).flatten()
    }

    /// Whether a connection of a link has been up.
    pub fn is_proven(&self, link: usize) -> bool {
        self.links[link].is_proven()
    }

    /// Whether the lifeline has ended and no other link leads to the receiver: each was refused for good, has never led
    /// there, or was outlived by the lifeline.
    pub fn is_severed(&self) -> bool {
        let Some(end) = self.lifeline_end else { return false };
        let is_given_up =
            |link: &Link| link.state().is_bad() || link.down_since().is_none_or(|at| end.outlived(at));
        self.links.iter().filter(|link| !link.lifeline).all(|link| link.up() == 0 && is_given_up(link))
    }

    /// Whether a link was refused for good.
    pub fn is_bad(&self, link: usize) -> bool {
        self.links[link].state().is_bad()
    }

    /// The first link that was refused for good, with what was said there.
    pub fn first_bad(&self) -> Option<(usize, &str)> {
        self.links.iter().enumerate().find_map(|(link, at)| Some((link, at.state().sentence()?)))
    }

    /// Whether a link is a lifeline.
    pub fn is_lifeline(&self, link: usize) -> bool {
        self.links[link].lifeline
    }

    /// The last thing that went wrong on a link; empty if nothing has.
    pub fn trouble(&self, link: usize) -> &str {
        self.links[link].trouble()
    }
}
