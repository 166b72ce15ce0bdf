//! Who is who: the key of this end, and the keys that are let in.
//!
//! Keys are Ed25519, in OpenSSH's formats as the ssh-key crate reads and writes them. What cannot be used is refused
//! in one sentence that names the word, the file, and what to do. Nothing here speaks to a peer or prints anything.

mod keygen;
mod open;
mod peers;
mod private;
mod public;
mod roll;
mod tls;

pub use keygen::keygen;
pub use private::PrivateKey;
pub(crate) use public::PublicKey;
pub(crate) use roll::Change;
pub use roll::Roll;
pub use tls::Trust;
pub(crate) use tls::{ALPN, Met};

use std::path::Path;

/// The key in a file, and who is let in: those that the file `peers` lists, or without it whoever has the same key.
///
/// # Errors
/// A sentence that names the word and the file that cannot be used.
pub fn load(key: &Path, peers: Option<&Path>) -> Result<(PrivateKey, Roll), String> {
    let own = PrivateKey::load(key)?;
    let roll = match peers {
        Some(file) => Roll::load(file)?,
        None => Roll::only(own.public()),
    };
    Ok((own, roll))
}
