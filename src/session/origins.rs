//! Where the connections of a session come from. Others from these addresses wait for nothing at the door.

use crate::proto::hello::Id;
use crate::proto::leg::CONNECTIONS_MAX;
use std::net::IpAddr;

/// The addresses of one session: of the latest one, where one end serves several after each other.
#[derive(Default)]
pub(crate) struct Origins {
    session: Option<Id>,
    /// The oldest first: as many as a session has connections.
    addresses: Vec<IpAddr>,
}

impl Origins {
    /// A connection of this session was let in from this address.
    pub(crate) fn note(&mut self, session: Id, address: IpAddr) {
        if self.session.replace(session) != Some(session) {
            self.addresses.clear();
        }
        self.addresses.retain(|known| *known != address);
        self.addresses.push(address);
        if self.addresses.len() > CONNECTIONS_MAX {
            self.addresses.remove(0);
        }
    }

    /// Whether one was.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_latest_addresses_of_the_latest_session_are_known() {
        let address = |last: usize| IpAddr::from(Ipv4Addr::new(192, 0, 2, last as u8));
        let (first, second) = (Id::new([1; 16]), Id::new([2; 16]));
        let mut origins = Origins::default();
        assert!(!origins.contains(address(0)));
        for last in (0..=CONNECTIONS_MAX).chain([1]) {
            origins.note(first, address(last));
            assert!(origins.contains(address(last)));
        }
        let known =
            |origins: &Origins| (0..=CONNECTIONS_MAX).filter(|last| origins.contains(address(*last))).count();
        assert_eq!((known(&origins), origins.contains(address(0))), (CONNECTIONS_MAX, false));
        origins.note(second, address(0));
        assert_eq!((known(&origins), origins.contains(address(0))), (1, true));
    }
}
