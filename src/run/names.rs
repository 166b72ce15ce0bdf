//! Names without which this process cannot begin: where it listens, and where a tunnel leads.
//!
//! A resolver that has no answer for now, as at boot or after a resume, is asked again within patience, and the user
//! hears of it. A name that is unknown fails at once. Whoever asks waits; signals are heard meanwhile.

use crate::message;
use crate::plan::Host;
use crate::proto::waiting::{PATIENCE_BEFORE, Patience, Reminder};
use crate::session::lookup::{Lookup, Resolution};
use crate::session::resolve::{NotResolved, resolve};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest wait for one answer: the user is to hear of a resolver that says nothing.
const TURN: Duration = Duration::from_secs(5);

/// Between an answer that is none and the next question.
const PAUSE: Duration = Duration::from_millis(500);

/// The addresses of a host, at least one; without the user's patience within that of a sender before it begins.
///
/// # Errors
/// Why there are none.
pub(crate) fn look_up(host: &Host, port: u16, patience: Option<Patience>) -> Resolution {
    if !matches!(host, Host::Name { .. }) {
        return resolve(host, port);
    }
    let asked = host.clone();
    let lookup = Lookup::new(move || resolve(&asked, port));
    let patience = patience.unwrap_or(PATIENCE_BEFORE);
    let mut times =
        Times { patience, turn: TURN, pause: PAUSE, reminder: Reminder::starting(Instant::now()) };
    times.insist(
        |time| lookup.addresses(time),
        |why, left| {
            let until =
                left.map_or("trying until it is".into(), |left| format!("giving up in {} s", left.as_secs()));
            message::peer(0, "names that cannot be resolved", || {
                format!("cannot resolve {host}: {why}; {until}")
            });
        },
    )
}

struct Times {
    patience: Patience,
    turn: Duration,
    pause: Duration,
    reminder: Reminder,
}

impl Times {
    /// Asks until there is an answer or patience is over. `ask` waits for an answer, for the time that it is given at
    /// most; `tell` hears why there is none, and for how long it is still waited for.
    fn insist(
        &mut self,
        ask: impl Fn(Duration) -> Resolution,
        mut tell: impl FnMut(&str, Option<Duration>),
    ) -> Resolution {
        let ends = self.patience.ends(Instant::now());
        let left = |time: Duration| {
            let left = ends.map(|at| at.saturating_duration_since(Instant::now()));
            left.map_or(time, |left| left.min(time))
        };
        loop {
            let answer = ask(left(self.turn));
            let Err(NotResolved::Unanswered(why)) = &answer else { return answer };
            let now = Instant::now();
            if ends.is_some_and(|at| at <= now) {
                return answer;
            }
            if self.reminder.is_due(now) {
                tell(why, self.reminder.tell(now, ends));
            }
            // a resolver tells nobody that it has come up
            sleep(left(self.pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::SocketAddr;

    fn not_yet() -> Resolution {
        Err(NotResolved::Unanswered("temporary failure".into()))
    }

    fn here() -> Resolution {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 7))])
    }

    /// Asks with this patience; the answer, how often it asked, and what the user heard.
    fn insists(patience: Patience, answer: impl Fn(u32) -> Resolution) -> (Resolution, u32, Vec<String>) {
        let (asked, mut heard) = (Cell::new(0), Vec::new());
        let (turn, pause) = (Duration::from_secs(60), Duration::ZERO);
        // told from the start on
        let reminder = Reminder::starting(Instant::now() - Duration::from_secs(6));
        let result = Times { patience, turn, pause, reminder }.insist(
            |_| {
                asked.set(asked.get() + 1);
                answer(asked.get())
            },
            |why, _| heard.push(why.to_owned()),
        );
        (result, asked.get(), heard)
    }

    #[test]
    fn a_resolver_that_is_not_up_is_asked_again_and_the_user_hears_of_it_once() {
        let answer = |times| if times < 4 { not_yet() } else { here() };
        assert_eq!(insists(Patience::ForEver, answer), (here(), 4, vec!["temporary failure".to_owned()]));
    }

    #[test]
    fn patience_ends() {
        let (answer, asked, _) = insists(Patience::For(Duration::from_millis(30)), |_| not_yet());
        assert_eq!(answer, not_yet());
        assert!(asked > 1);
    }

    #[test]
    fn an_unknown_name_fails_at_once() {
        let unknown = || Err(NotResolved::Unknown("name or service not known".into()));
        assert_eq!(insists(Patience::ForEver, |_| unknown()), (unknown(), 1, Vec::new()));
    }
}
