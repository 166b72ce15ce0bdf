//! Where a link leads: the addresses of its name, and which of them answered last.
//!
//! Blocks the thread of the connection, for no longer than it is told; nothing else depends on that thread while it
//! has no connection. Never tries again: when and where to do that is for [`crate::proto::links`] to say.

use super::resolve::resolve;
use crate::channel::connect::{self, Dialled, Options};
use crate::error::reason;
use crate::plan::LinkPlan;
use crate::proto::hello::Hello;
use crate::proto::links::DialError;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One link's far end, shared by the threads that dial it.
pub struct Target {
    plan: LinkPlan,
    options: Options,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// As resolved last.
    addresses: Vec<SocketAddr>,
    /// The address that answered last.
    good: Option<SocketAddr>,
}

impl Target {
    /// Nothing is resolved yet.
    pub fn new(plan: LinkPlan, congestion: Option<String>) -> Self {
        let options = Options { via: plan.via.clone(), congestion, segment: None };
        Target { plan, options, known: Mutex::default() }
    }

    /// One attempt: each address of the name in turn, each for `timeout` at most. Connections begin with different
    /// addresses until one is known to answer.
    pub fn dial(&self, connection: usize, hello: &Hello, timeout: Duration, segment: Option<u16>) -> Dialled {
        let options = Options { segment, ..self.options.clone() };
        let addresses = match self.addresses(connection) {
            Ok(addresses) => addresses,
            Err(error) => return Dialled::Failed(error),
        };
        let mut failed = DialError::Refused;
        for address in addresses {
            match connect::dial(address, &options, hello, Instant::now() + timeout) {
                Ok(answer) => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).good = Some(address);
                    return answer;
                }
                // of several reasons the last that is not a plain refusal says most
                Err(DialError::Refused) => {}
                Err(error) => failed = error,
            }
        }
        Dialled::Failed(failed)
    }

    /// The addresses to try, in order. A name that cannot be resolved any more keeps its last addresses.
    fn addresses(&self, connection: usize) -> Result<Vec<SocketAddr>, DialError> {
        let resolved = resolve(&self.plan.host, self.plan.port);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match resolved {
            Ok(addresses) => known.addresses = addresses,
            Err(error) if known.addresses.is_empty() => {
                let why = reason(&error);
                let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
                return Err(DialError::Unresolved(format!("cannot resolve {}: {why}", self.plan.host)));
            }
            Err(_) => {}
        }
        let mut addresses = known.addresses.clone();
        if addresses.is_empty() {
            return Err(DialError::Unresolved(format!("{} has no address", self.plan.host)));
        }
        let first = known.good.and_then(|good| addresses.iter().position(|a| *a == good));
        let count = addresses.len();
        addresses.rotate_left(first.unwrap_or(connection % count));
        Ok(addresses)
    }
}
