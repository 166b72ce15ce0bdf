//! Where a link leads: the addresses of its name, and which of them answered last.
//!
//! Blocks the thread of the connection, for no longer than it is told; nothing else depends on that thread while it
//! has no connection. Never tries again: when and where to do that is for [`crate::proto::links`] to say.

use super::lookup::{Lookup, Resolution};
use super::resolve::{NotResolved, resolve};
use crate::channel::Channel;
use crate::channel::connect::{self, Dialled, Options};
use crate::plan::{Host, LinkPlan};
use crate::proto::hello::Hello;
use crate::proto::links::DialError;
use crate::sync::Unpoisoned;
use crate::trust::Trust;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the far end of a connection that was there before may take to answer: it answers at once, but through a
/// connection that may be slow.
const LIFELINE: Duration = Duration::from_secs(60);

/// Where a link leads.
#[derive(Clone)]
pub(crate) enum Destination {
    /// To these, which can be dialled again and again.
    Addresses(Arc<Addresses>),
    /// To a connection that is there already, until it is taken.
    Lifeline(Arc<Mutex<Option<Channel>>>),
}

impl Destination {
    /// One attempt, see [`Addresses::dial`].
    pub(crate) fn dial(
        &self,
        connection: usize,
        hello: &Hello,
        timeout: Duration,
        segment: Option<u16>,
    ) -> Dialled {
        let lifeline = match self {
            Destination::Addresses(addresses) => return addresses.dial(connection, hello, timeout, segment),
            Destination::Lifeline(lifeline) => lifeline,
        };
        let channel = lifeline.lock().unpoisoned().take();
        let Some(channel) = channel else {
            return Dialled::Failed(DialError::Unreachable("it cannot be had again".into()));
        };
        let greeted = connect::greet(channel, hello, Instant::now() + LIFELINE, &Options::default());
        greeted.unwrap_or_else(Dialled::Failed)
    }
}

/// The addresses of one link, shared by the threads that dial them.
pub(crate) struct Addresses {
    plan: LinkPlan,
    options: Options,
    /// Of a link that has a name.
    lookup: Option<Lookup>,
    /// The address that answered last.
    good: Mutex<Option<SocketAddr>>,
}

impl Addresses {
    /// Nothing is resolved yet.
    pub(crate) fn new(plan: LinkPlan, congestion: Option<String>, trust: Option<Arc<Trust>>) -> Self {
        let (host, port) = (plan.host.clone(), plan.port);
        let named = matches!(host, Host::Name { .. });
        let lookup = named.then(|| Lookup::new(move || resolve(&host, port)));
        let options = Options { via: plan.via.clone(), congestion, segment: None, trust };
        Addresses { plan, options, lookup, good: Mutex::default() }
    }

    /// One attempt: each address of the name in turn, each for `timeout` at most. Connections begin with different
    /// addresses until one is known to answer. The resolver has `timeout` where no address is known yet.
    pub(crate) fn dial(
        &self,
        connection: usize,
        hello: &Hello,
        timeout: Duration,
        segment: Option<u16>,
    ) -> Dialled {
        let options = Options { segment, ..self.options.clone() };
        let addresses = match self.in_order(connection, timeout) {
            Ok(addresses) => addresses,
            Err(error) => return Dialled::Failed(error),
        };
        let mut failed = DialError::Refused;
        for address in addresses {
            match connect::dial(address, &options, hello, Instant::now() + timeout) {
                Ok(answer) => {
                    *self.good.lock().unpoisoned() = Some(address);
                    return answer;
                }
                // of several reasons the last that is not a plain refusal says most
                Err(DialError::Refused) => {}
                Err(error) => failed = error,
            }
        }
        Dialled::Failed(failed)
    }

    /// The addresses to try, in order.
    fn in_order(&self, connection: usize, timeout: Duration) -> Result<Vec<SocketAddr>, DialError> {
        let mut addresses = self.resolved(timeout).map_err(|error| {
            let why = format!("cannot resolve the name: {error}");
            match error {
                NotResolved::Unknown(_) => DialError::Unresolved(why),
                NotResolved::Unanswered(_) => DialError::Unanswered(why),
            }
        })?;
        let good = *self.good.lock().unpoisoned();
        let first = good.and_then(|good| addresses.iter().position(|address| *address == good));
        let count = addresses.len().max(1);
        addresses.rotate_left(first.unwrap_or(connection % count));
        Ok(addresses)
    }

    fn resolved(&self, timeout: Duration) -> Resolution {
        match &self.lookup {
            Some(lookup) => lookup.addresses(timeout),
            None => resolve(&self.plan.host, self.plan.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Family;
    use crate::session::lookup::tests::told;

    /// Far beyond what a loaded machine needs.
    const LONG: Duration = Duration::from_secs(60);

    fn addresses(lookup: Lookup) -> Addresses {
        let host = Host::Name { name: "backup.example".into(), family: Family::Any };
        let plan = LinkPlan { host, port: 8834, via: None };
        Addresses { lookup: Some(lookup), ..Addresses::new(plan, None, None) }
    }

    fn at(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    #[test]
    fn an_unknown_name_and_a_silent_resolver_are_two_failures() {
        let (resolver, lookup) = told();
        let addresses = addresses(lookup);
        resolver.send(Err(NotResolved::Unknown("name not known".into()))).unwrap();
        let unknown = DialError::Unresolved("cannot resolve the name: name not known".into());
        assert_eq!(addresses.in_order(0, LONG), Err(unknown));
        resolver.send(Err(NotResolved::Unanswered("temporary failure".into()))).unwrap();
        let silent = DialError::Unanswered("cannot resolve the name: temporary failure".into());
        assert_eq!(addresses.in_order(0, LONG), Err(silent));
    }

    #[test]
    fn connections_begin_with_different_addresses() {
        let (resolver, lookup) = told();
        let addresses = addresses(lookup);
        resolver.send(Ok(at(&[1, 2, 3]))).unwrap();
        for (connection, order) in [(0, [1, 2, 3]), (1, [2, 3, 1]), (5, [3, 1, 2])] {
            assert_eq!(addresses.in_order(connection, LONG), Ok(at(&order)));
        }
    }

    #[test]
    fn a_redial_begins_with_the_address_that_answered_while_the_resolver_is_silent() {
        let (resolver, lookup) = told();
        let addresses = addresses(lookup);
        resolver.send(Ok(at(&[1, 2]))).unwrap();
        addresses.in_order(0, LONG).unwrap();
        *addresses.good.lock().unwrap() = at(&[2]).pop();
        // nobody tells the resolver anything any more
        for connection in 0..3 {
            assert_eq!(addresses.in_order(connection, LONG), Ok(at(&[2, 1])));
        }
    }
}
