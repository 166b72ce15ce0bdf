//! The keys: loaded before anything else happens, and the list of peers read anew while sessions run.

use super::sessions::Sessions;
use crate::error::Failure;
use crate::message;
use crate::plan::TrustPlan;
use crate::proto::outcome::{Outcome, Status};
use crate::sys::thread::spawn;
use crate::trust::{self, Change, Trust};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often the list's file is looked at: whoever takes a key out waits for that.
const LOOKS: Duration = Duration::from_secs(1);

/// The keys in these files.
///
/// # Errors
/// One of them cannot be used, which is a fault of how this process was called.
pub(super) fn load(plan: &TrustPlan) -> Result<Arc<Trust>, Failure> {
    let loaded = trust::load(&plan.key, plan.peers.as_deref());
    let trust = loaded.and_then(|(key, roll)| Trust::new(&key, roll));
    trust.map(Arc::new).map_err(Failure::usage)
}

/// Looks at the list again and again, if it is in a file. A session whose peer is taken out of it ends.
///
/// # Errors
/// The kernel has no threads left.
pub(super) fn watch(trust: Arc<Trust>, sessions: Sessions) -> io::Result<()> {
    if !trust.roll().is_watched() {
        return Ok(());
    }
    spawn("peers", move || {
        loop {
            // a file system of another host tells no events of a file
            std::thread::sleep(LOOKS);
            look(&trust, &sessions);
        }
    })
}

fn look(trust: &Trust, sessions: &Sessions) {
    let mut names = HashMap::new();
    match trust.roll().refresh() {
        Change::None => {}
        Change::Broken(why) => message::say(why),
        Change::Read(gone) => {
            message::note(1, || format!("peers: read again, {} no longer let in", gone.len()));
            names.extend(gone);
        }
    }
    // At every look: whoever proved a key when it was still in the list may begin a session after it was taken out.
    for session in sessions.all() {
        let Some(key) = session.peer().filter(|key| trust.roll().allows(key).is_none()) else { continue };
        let name = names.get(&key).map_or_else(|| key.to_string(), ToString::to_string);
        let why = format!("the key of {name} was taken out of the list of peers");
        session.distrust(key, &Outcome::here(Status::Refused, why));
    }
}
