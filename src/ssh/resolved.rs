//! What `ssh -G HOST` says: where a host is, and how ssh gets there.

use crate::plan::Family;

/// How ssh would connect, as far as it matters here. What ssh does not say has ssh's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The name or address that it connects to.
    pub(crate) hostname: Option<String>,
    /// It connects through something: a jump host, or a command.
    pub(crate) is_indirect: bool,
    /// Which version of IP it uses.
    pub(crate) family: Family,
    /// The local address or interface that it binds to.
    pub(crate) bound_to: Option<String>,
    /// It takes a terminal, whatever stdin is; or if stdin is one.
    pub(crate) terminal: Terminal,
    /// It runs no command, or in the background: not what is meant here.
    pub(crate) is_other: bool,
    /// Its stdin is empty, as with `-n`.
    pub(crate) no_input: bool,
    /// It would let others use its connection.
    pub(crate) shares: bool,
    /// It runs a command of the user's here once the login is over.
    pub(crate) runs_locally: bool,
    /// A connection that is shared stays when who made it ends.
    pub(crate) persists: bool,
}

/// Whether ssh asks for a terminal at the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// Not for a command.
    #[default]
    Never,
    /// If stdin is one.
    IfThere,
    /// Always.
    Always,
}

impl Resolved {
    /// Reads what `ssh -G` printed: lines of a keyword in lower case and its value.
    pub fn parse(printed: &str) -> Self {
        let mut resolved = Self::default();
        for line in printed.lines() {
            let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
            resolved.take(keyword, value.trim());
        }
        resolved
    }

    fn take(&mut self, keyword: &str, value: &str) {
        let is_set = !value.is_empty() && !value.eq_ignore_ascii_case("none");
        let is_on = matches!(value, "yes" | "true");
        match keyword {
            "hostname" if is_set => self.hostname = Some(value.to_owned()),
            "proxyjump" | "proxycommand" => self.is_indirect |= is_set,
            "bindaddress" | "bindinterface" if is_set => self.bound_to = Some(value.to_owned()),
            "addressfamily" => {
                self.family = match value {
                    "inet" => Family::V4,
                    "inet6" => Family::V6,
                    _ => Family::Any,
                }
            }
            "requesttty" => {
                self.terminal = match value {
                    "force" => Terminal::Always,
                    _ if is_on => Terminal::IfThere,
                    _ => Terminal::Never,
                }
            }
            "sessiontype" => self.is_other |= value != "default",
            "forkafterauthentication" => self.is_other |= is_on,
            "stdinnull" => self.no_input = is_on,
            "controlmaster" => self.shares = !matches!(value, "no" | "false"),
            "permitlocalcommand" => self.runs_locally = is_on,
            "controlpersist" => self.persists = !matches!(value, "no" | "false"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_understood() {
        let plain = "host backup\nuser me\nhostname 192.0.2.7\nport 22\naddressfamily any\nproxycommand none\n\
                     requesttty auto\nsessiontype default\nstdinnull no\nforkafterauthentication no\n";
        let resolved = Resolved { hostname: Some("192.0.2.7".into()), ..Resolved::default() };
        assert_eq!(Resolved::parse(plain), resolved);
        for (line, changed) in [
            ("proxyjump gate,me@inner:22", Resolved { is_indirect: true, ..resolved.clone() }),
            ("proxycommand nc %h %p", Resolved { is_indirect: true, ..resolved.clone() }),
            ("addressfamily inet", Resolved { family: Family::V4, ..resolved.clone() }),
            ("addressfamily inet6", Resolved { family: Family::V6, ..resolved.clone() }),
            ("bindaddress 192.0.2.1", Resolved { bound_to: Some("192.0.2.1".into()), ..resolved.clone() }),
            ("requesttty true", Resolved { terminal: Terminal::IfThere, ..resolved.clone() }),
            ("requesttty force", Resolved { terminal: Terminal::Always, ..resolved.clone() }),
            ("requesttty false", resolved.clone()),
            ("sessiontype none", Resolved { is_other: true, ..resolved.clone() }),
            ("forkafterauthentication yes", Resolved { is_other: true, ..resolved.clone() }),
            ("stdinnull yes", Resolved { no_input: true, ..resolved.clone() }),
            ("controlmaster auto", Resolved { shares: true, ..resolved.clone() }),
            ("controlmaster false", resolved.clone()),
            ("controlpersist 600", Resolved { persists: true, ..resolved.clone() }),
            ("controlpersist no", resolved.clone()),
            ("something else", resolved.clone()),
            ("", resolved.clone()),
        ] {
            assert_eq!(Resolved::parse(&format!("{plain}{line}\n")), changed, "{line}");
        }
    }

    #[test]
    fn nothing_at_all_is_understood_too() {
        assert_eq!(Resolved::parse(""), Resolved::default());
        assert_eq!(Resolved::parse("\0\u{fffd}\nhostname"), Resolved::default());
    }
}
