//! Reads one operand: a number, a size, a port, an address, a host.
//!
//! An error is a phrase that quotes the operand and says what was expected; the word it belongs to is put before
//! it by the caller. Nothing here knows of words or sides.

use std::net::IpAddr;
use std::ops::RangeInclusive;

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

/// A size in bytes: a number, with K, M, G or T (binary) or, without, in this unit.
pub(super) fn size(text: &str, unit: u64, range: RangeInclusive<u64>) -> Result<u64, String> {
    let scaled = text.char_indices().last().and_then(|(at, last)| Some((&text[..at], scale(last)?)));
    let (plain, unit) = scaled.unwrap_or((text, unit));
    let bytes = digits(plain).and_then(|n| n.checked_mul(unit));
    let bytes =
        bytes.ok_or_else(|| format!("{text:?} is not a size; a size is a number with K, M, G or T"))?;
    match (shown(*range.start()), shown(*range.end())) {
        (least, _) if bytes < *range.start() => Err(format!("{text:?} is too small: at least {least}")),
        (_, most) if bytes > *range.end() => Err(format!("{text:?} is too large: at most {most}")),
        _ => Ok(bytes),
    }
}

/// A port; `least` is 0 where a free one may be taken.
pub(super) fn port(text: &str, least: u16) -> Result<u16, String> {
    let port = digits(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n >= least);
    port.ok_or_else(|| format!("{text:?} is not a port from {least} to {}", u16::MAX))
}

/// An IP address, IPv6 also in brackets.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    unbracketed(text).parse().map_err(|_| format!("{text:?} is not an IP address"))
}

/// A host or interface: a name or an address, IPv6 also in brackets. Whether it exists is seen later.
pub(super) fn host(text: &str) -> Result<String, String> {
    let host = unbracketed(text);
    let plausible = !host.is_empty()
        && !host.starts_with('-')
        && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    if plausible { Ok(host.to_owned()) } else { Err(format!("{text:?} is not a name or address")) }
}

/// Digits alone: unlike std's parsing, no sign.
fn digits(text: &str) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |hex| (hex, 16));
    digits.chars().all(|c| c.is_digit(radix)).then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// No scale letter is a hexadecimal digit, so sizes can be written in hexadecimal too.
fn scale(letter: char) -> Option<u64> {
    match letter.to_ascii_uppercase() {
        'K' => Some(1 << 10),
        'M' => Some(1 << 20),
        'G' => Some(1 << 30),
        'T' => Some(1 << 40),
        _ => None,
    }
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
        let cases = [("5", 5), ("1K", 1 << 10), ("3m", 3 << 20), ("0x10G", 16 << 30), ("2t", 2 << 40)];
        for (text, bytes) in cases {
            assert_eq!(size(text, 1, ANY), Ok(bytes), "{text}");
        }
        assert_eq!(size("64", 1 << 20, ANY), Ok(64 << 20));
        for text in ["", "K", "1KB", "1.5G", "-1M", "1é", "é", "16777216T", "1 M"] {
            assert!(size(text, 1, ANY).is_err(), "{text}");
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
    fn hosts_and_addresses_lose_their_brackets() {
        assert_eq!(host("[::1]").as_deref(), Ok("::1"));
        assert_eq!(host("host-1.example").as_deref(), Ok("host-1.example"));
        assert_eq!(address("[::1]"), Ok(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(address("127.0.0.1"), Ok(IpAddr::from([127, 0, 0, 1])));
        for text in ["", "[]", "-h", "a b", "a\n"] {
            assert!(host(text).is_err(), "{text}");
        }
        assert!(address("localhost").is_err());
    }
}
