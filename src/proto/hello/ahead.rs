//! The dialling side's welcome, said ahead: in the hello of a connection on which it is not asked for first.
//!
//! Who starts the listener itself knows that it will be let in. The listener then need not wait a round trip before it
//! sends. It is an offer: who does not know it waits for the welcome, which follows all the same.

use super::{Hello, HelloOption, WELCOME, Welcome};

/// Its number among the options.
const ID: u16 = 1;

impl HelloOption {
    /// This welcome, for a hello.
    pub fn welcome(welcome: &Welcome) -> Self {
        let mut value = Vec::with_capacity(WELCOME.fixed);
        welcome.put(&mut value);
        HelloOption { id: ID, mandatory: false, value }
    }
}

impl Hello {
    /// The welcome in it, if there is one that makes sense. To be believed only of whoever is known to be the one that it
    /// ought to be: a stranger, or a hello that is played again, would get the stream for nothing.
    pub fn welcome(&self) -> Option<Welcome> {
        let option = self.options.iter().find(|option| option.id == ID)?;
        Welcome::parse(&option.value).ok().filter(|_| option.value.len() == WELCOME.fixed)
    }
}
