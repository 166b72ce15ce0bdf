//! Reads one operand: a number, a size, a time, a port, a host, a phrase, a file.
//!
//! An error is a phrase that quotes the operand and says what was expected; the word it belongs to is put before
//! it by the caller. What is unambiguous is accepted, what has two meanings is answered with the right form.
//! Nothing here knows of words or sides, and nothing is resolved.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::{Family, Host, Patience, Ports};

/// A number, decimal or 0x.
pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    digits(text).filter(|n| range.contains(n)).ok_or_else(|| match (range.start(), range.end()) {
        (least, &u64::MAX) => format!("{text:?} is not a number of at least {least}"),
        (least, most) => format!("{text:?} is not a number from {least} to {most}"),
    })
}

/// Whether it is a number at all.
pub(super) fn is_number(text: &str) -> bool {
    digits(text).is_some()
}

/// A size in bytes: a number, also with a point, with K, M, G or T (powers of 1024; so are Ki and KiB), with B for
/// bytes or, without, in this unit.
pub(super) fn size(text: &str, unit: u64, range: RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = bytes(text, unit)?;
    match (shown(*range.start()), shown(*range.end())) {
        (least, _) if bytes < *range.start() => Err(format!("{text:?} is too small: at least {least}")),
        (_, most) if bytes > *range.end() => Err(format!("{text:?} is too large: at most {most}")),
        _ => Ok(bytes),
    }
}

fn bytes(text: &str, unit: u64) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; a size is a number with K, M, G or T, such as 10M");
    // of a hexadecimal number, a letter that is a digit is no unit
    let (number, suffix) = match hexadecimal(text) {
        Some(digits) => {
            text.split_at(digits.find(|c: char| !c.is_ascii_hexdigit()).map_or(text.len(), |at| at + 2))
        }
        None => text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len())),
    };
    let letter = suffix.chars().next().and_then(scale);
    let bytes = match (letter, suffix.get(1..).unwrap_or_default()) {
        (Some((letter, power)), "B" | "b") => {
            let (binary, decimal) = (scaled(number, 1 << (10 * power)), scaled(number, 1000_u64.pow(power)));
            let (Some(binary), Some(decimal)) = (binary, decimal) else { return Err(wrong()) };
            return Err(format!(
                "{text:?} has two meanings: write {number}{letter} for {binary} bytes, or write {decimal}"
            ));
        }
        (Some((_, power)), "" | "i" | "iB") => scaled(number, 1 << (10 * power)),
        _ if suffix == "B" => scaled(number, 1),
        _ if suffix.is_empty() => scaled(number, unit),
        _ => None,
    };
    bytes.ok_or_else(wrong)
}

/// A number of units, also with a decimal point where the unit is not a byte, rounded down.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let Some((whole, part)) = number.split_once('.') else { return digits(number)?.checked_mul(unit) };
    let decimal =
        |text: &str| !text.is_empty() && text.len() <= 9 && text.chars().all(|c| c.is_ascii_digit());
    if unit == 1 || !decimal(part) || !whole.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let part = u128::from(digits(part)?) * u128::from(unit) / 10_u128.pow(part.len() as u32);
    digits(whole)?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// A time: seconds, or a number with s, m, h or d. 0 is for ever.
pub(super) fn seconds(text: &str, most: u64) -> Result<Patience, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let unit = units.into_iter().find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, unit)));
    // in a hexadecimal number d is a digit
    let (number, unit) = unit.filter(|_| hexadecimal(text).is_none()).unwrap_or((text, 1));
    match digits(number).and_then(|n| n.checked_mul(unit)) {
        Some(0) => Ok(Patience::ForEver),
        Some(seconds) if seconds <= most => Ok(Patience::For(Duration::from_secs(seconds))),
        Some(_) => Err(format!("{text:?} is too long: at most {most} seconds")),
        None => Err(format!("{text:?} is not a time; a time is seconds, or a number with s, m, h or d")),
    }
}

/// A port; `least` is 0 where a free one may be taken.
pub(super) fn port(text: &str, least: u16) -> Result<u16, String> {
    let port = digits(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n >= least);
    port.ok_or_else(|| format!("{text:?} is not a port from {least} to {}", u16::MAX))
}

/// A range of ports, or one.
pub(super) fn ports(text: &str) -> Result<Ports, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = port(first, 1).and_then(|first| Ok(Ports { first, last: port(last, 1)? }));
    ports
        .ok()
        .filter(|ports| ports.first <= ports.last)
        .ok_or_else(|| format!("{text:?} is no range of ports, such as 5000-5099"))
}

/// A path at another host.
pub(super) fn path(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the path is empty".to_owned()),
        _ if text.contains(['\n', '\0']) => Err(format!("{text:?} is no path")),
        _ if text.starts_with('-') => Err(format!("{text:?} looks like an option")),
        _ => Ok(text.to_owned()),
    }
}

/// The two parts of `HOST:PORT` or `[ADDRESS]:PORT`; `None` for a host without a port, an IPv6 address included.
pub(super) fn joined(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.split_once(':').filter(|(_, port)| !port.contains([':', '/'])),
    }
}

/// A host, of which addresses of this family count: a name, or an IP address. An IPv6 address may stand in brackets
/// and may have a `%interface`; one that is mapped from IPv4 is IPv4. Whether it exists is seen later.
pub(super) fn host(text: &str, family: Family) -> Result<Host, String> {
    let inner = unbracketed(text);
    if let Ok(address) = inner.parse::<IpAddr>() {
        let address = address.to_canonical();
        return match (family, address) {
            (Family::V4, IpAddr::V6(_)) => Err(format!("{text:?} is an IPv6 address, and ipv4 is given")),
            (Family::V6, IpAddr::V4(_)) => Err(format!("{text:?} is an IPv4 address, and ipv6 is given")),
            _ => Ok(Host::Address(address)),
        };
    }
    match inner.split_once('%').map(|(address, interface)| (address.parse(), interface)) {
        Some((Ok(IpAddr::V4(_)), _)) => Err(format!("{text:?}: only an IPv6 address takes a %interface")),
        Some((Ok(IpAddr::V6(_)), _)) if family == Family::V4 => {
            Err(format!("{text:?} is an IPv6 address, and ipv4 is given"))
        }
        Some((Ok(IpAddr::V6(address)), interface)) if is_name(interface) => {
            Ok(Host::Scoped { address, interface: interface.to_owned() })
        }
        None if is_name(inner) => Ok(Host::Name { name: inner.to_owned(), family }),
        _ => Err(format!("{text:?} is not a name or address")),
    }
}

/// The same, where the host must be reached or listened on without being told through which interface.
pub(super) fn host_anywhere(text: &str, family: Family) -> Result<Host, String> {
    match host(text, family)? {
        Host::Address(IpAddr::V6(address)) if address.is_unicast_link_local() => {
            Err(format!("{text:?} is link-local: add its interface, as in {address}%eth0"))
        }
        host => Ok(host),
    }
}

/// An address or a network interface of this host. Whether it exists is seen later.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let inner = unbracketed(text);
    let plausible = is_name(inner) || host(inner, Family::Any).is_ok();
    if plausible { Ok(inner.to_owned()) } else { Err(format!("{text:?} is not a name or address")) }
}

/// Exactly four bytes.
pub(super) fn checkphrase(text: &str) -> Result<[u8; 4], String> {
    text.as_bytes()
        .try_into()
        .map_err(|_| format!("{text:?} has {} bytes: it must have exactly 4", text.len()))
}

/// A name as the kernel has them: TCP_CA_NAME_MAX is 16, the end included.
pub(super) fn congestion(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match text.len() {
        1..=15 if text.chars().all(plain) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no name of a congestion control, such as cubic or bbr")),
    }
}

/// A command for the shell.
pub(super) fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("the command is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The path of a file, which need not be there.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the name of the file is empty".to_owned()),
        "-" => Err("give the name of a file; - is none".to_owned()),
        path => Ok(path.into()),
    }
}

/// What follows the prefix of a hexadecimal number.
fn hexadecimal(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// Digits alone: unlike std's parsing, no sign.
fn digits(text: &str) -> Option<u64> {
    let (digits, radix) = hexadecimal(text).map_or((text, 10), |hex| (hex, 16));
    digits.chars().all(|c| c.is_digit(radix)).then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// A letter of a size, as it is written, and the power of 1024 that it stands for.
fn scale(letter: char) -> Option<(char, u32)> {
    let letters = [('K', 1), ('M', 2), ('G', 3), ('T', 4)];
    letters.into_iter().find(|(known, _)| *known == letter.to_ascii_uppercase())
}

/// A size as the user would write it.
fn shown(bytes: u64) -> String {
    let letters = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let whole = letters.into_iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| bytes.to_string(), |(shift, letter)| format!("{}{letter}", bytes >> shift))
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text)
}

/// Whether it can be the name of a host or an interface: no option, no path, no address.
fn is_name(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:%[]".contains(c);
    !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        for (text, n) in
            [("0", 0), ("16", 16), ("0x800", 2048), ("0XD00F", 53263), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(number(text, ANY), Ok(n), "{text}");
        }
        for text in ["", "0x", "+1", "-1", "0x+1", "1.5", "1_000", " 1", "ff", "١", "18446744073709551616"] {
            assert!(number(text, ANY).is_err(), "{text}");
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn a_number_out_of_range_says_the_range() {
        assert_eq!(number("17", 1..=16).unwrap_err(), "\"17\" is not a number from 1 to 16");
        assert_eq!(number("1", 2..=u64::MAX).unwrap_err(), "\"1\" is not a number of at least 2");
        assert_eq!(number("16", 1..=16), Ok(16));
    }

    #[test]
    fn sizes_take_binary_letters_in_either_case() {
        let cases = [
            ("5", 5),
            ("1K", 1 << 10),
            ("3m", 3 << 20),
            ("0x10G", 16 << 30),
            ("2t", 2 << 40),
            ("2Ki", 2 << 10),
            ("10MiB", 10 << 20),
            ("0x10KiB", 16 << 10),
            ("100B", 100),
            ("0x1B", 27),
            ("1.5G", 3 << 29),
            ("0.1K", 102),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text, 1, ANY), Ok(bytes), "{text}");
        }
        assert_eq!(size("64", 1 << 20, ANY), Ok(64 << 20));
        assert_eq!(size("1.5", 1 << 20, ANY), Ok(3 << 19));
        for text in [
            "",
            "K",
            "1.5",
            "1.G",
            "1..5G",
            "0x1.5G",
            "-1M",
            "1é",
            "é",
            "16777216T",
            "1 M",
            "iB",
            "1i",
            "1Kb/s",
            "1,5G",
            "10Mbit",
            "1.5B",
            "B",
        ] {
            assert!(size(text, 1, ANY).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_with_two_meanings_is_answered_with_both() {
        for (text, said) in [
            ("10MB", "\"10MB\" has two meanings: write 10M for 10485760 bytes, or write 10000000"),
            ("1.5gb", "\"1.5gb\" has two meanings: write 1.5G for 1610612736 bytes, or write 1500000000"),
            ("8Kb", "\"8Kb\" has two meanings: write 8K for 8192 bytes, or write 8000"),
        ] {
            assert_eq!(size(text, 1, ANY).unwrap_err(), said);
        }
    }

    #[test]
    fn times_take_letters() {
        let time = |text: &str| seconds(text, u32::MAX.into());
        for (text, s) in
            [("9", 9), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("0x1d", 29), ("0X1d", 29)]
        {
            assert_eq!(time(text), Ok(Patience::For(Duration::from_secs(s))), "{text}");
        }
        assert_eq!(time("0m"), Ok(Patience::ForEver));
        for text in ["", "m", "5M", "1.5h", "5min", "-1", "4294967296", "18446744073709551615d"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_out_of_range_says_the_bound() {
        let range = 4 << 20..=1 << 40;
        assert_eq!(size("4095K", 1, range.clone()).unwrap_err(), "\"4095K\" is too small: at least 4M");
        assert_eq!(size("2T", 1, range.clone()).unwrap_err(), "\"2T\" is too large: at most 1T");
        assert_eq!(size("4096k", 1, range), Ok(4 << 20));
        assert_eq!(size("0", 1, 1..=u64::MAX).unwrap_err(), "\"0\" is too small: at least 1");
    }

    #[test]
    fn ports_have_16_bits() {
        assert_eq!(port("65535", 1), Ok(65535));
        assert_eq!(port("0", 0), Ok(0));
        assert_eq!(port("0", 1).unwrap_err(), "\"0\" is not a port from 1 to 65535");
        assert!(port("65536", 0).is_err());
        assert!(port("ssh", 1).is_err());
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        let read = |text: &str| host(text, Family::Any).map(|host| host.to_string());
        for (text, shown) in [
            ("[::1]", "::1"),
            ("host-1.example", "host-1.example"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(shown), "{text}");
        }
        for text in ["", "[]", "-h", "a b", "a\n", "a/b", "a:b:c", "fe80::1%", "::g", "1.2.3.4%lo", "host%lo"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_behind_a_host_is_told_from_an_address() {
        assert_eq!(joined("[::1]:8834"), Some(("::1", "8834")));
        assert_eq!(joined("host:8834"), Some(("host", "8834")));
        for text in ["::1", "[::1]", "host", "1:2:3", "8834"] {
            assert_eq!(joined(text), None, "{text}");
        }
    }
}
