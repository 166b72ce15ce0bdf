//! This user, as the system's accounts have it.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::ptr;

/// Space for the strings of an account: at first, and at most.
const SPACE: (usize, usize) = (1 << 10, 1 << 20);

/// The login shell of this process's user, whatever its environment says. None where there is no such account, or none
/// can be asked for.
pub(crate) fn login_shell() -> Option<OsString> {
    let user = rustix::process::getuid().as_raw();
    let mut space = vec![0; SPACE.0];
    loop {
        let (mut account, mut found) = (MaybeUninit::uninit(), ptr::null_mut());
        // SAFETY: the account, so many bytes for its strings, and the pointer are there to be written to.
        let failed = unsafe {
            libc::getpwuid_r(user, account.as_mut_ptr(), space.as_mut_ptr(), space.len(), &raw mut found)
        };
        match failed {
            0 if found.is_null() => return None,
            0 => {
                // SAFETY: it was found, so all of it was written.
                let account = unsafe { account.assume_init() };
                if account.pw_shell.is_null() {
                    return None;
                }
                // SAFETY: a string with its end, in `space`, which is still there.
                let shell = unsafe { CStr::from_ptr(account.pw_shell) }.to_bytes();
                // none is this one, as at any login
                let shell = if shell.is_empty() { b"/bin/sh" } else { shell };
                return Some(OsString::from_vec(shell.to_vec()));
            }
            libc::ERANGE if space.len() < SPACE.1 => space.resize(space.len() * 2, 0),
            libc::EINTR => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_the_one_of_the_account() {
        let (me, Ok(accounts)) = (rustix::process::getuid().as_raw(), std::fs::read_to_string("/etc/passwd"))
        else {
            return;
        };
        let mut fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        // who is known elsewhere than in this file is not known to the test
        let Some(mine) = fields.find(|fields| fields.get(2) == Some(&me.to_string().as_str())) else {
            return;
        };
        let shell = if mine[6].is_empty() { "/bin/sh" } else { mine[6] };
        assert_eq!(login_shell(), Some(shell.into()));
    }
}
