//! Where to listen and where to send: every form in which an address, a host and a port may be typed.

use super::*;

#[test]
fn an_address_before_the_port_is_told_from_the_port() {
    for (line, on) in [
        ("rx 127.0.0.1 0", address("127.0.0.1")),
        ("rx ::1 0", address("::1")),
        ("rx [::1] 0", address("::1")),
        ("rx ::ffff:127.0.0.1 0", address("127.0.0.1")),
        ("rx fe80::1%eth0 0", scoped("fe80::1", "eth0")),
        ("rx [fe80::1%2]:0", scoped("fe80::1", "2")),
        ("rx localhost 0", name("localhost")),
        ("rx localhost:0", name("localhost")),
        ("--rx=localhost:0", name("localhost")),
        ("--rx=localhost 0", name("localhost")),
        ("rx 127.0.0.1:0x0", address("127.0.0.1")),
    ] {
        assert_eq!(plan(line).receive, receive(ListenOn::Host(on), 0), "{line}");
    }
    assert_eq!(plan("rx 8834 verbose 3").receive, receive(ALL, 8834));
    assert_eq!(plan("rx :: 8834").receive, receive(ALL, 8834));
    assert_eq!(plan("rx 0.0.0.0 8834").receive, receive(ListenOn::All(Family::V4), 8834));
    assert_eq!(wrong("rx threads 8"), "rx wants [ADDRESS] PORT: receive, and write to stdout");
    assert_eq!(wrong("rx 127.0.0.1"), "rx wants [ADDRESS] PORT: receive, and write to stdout");
    assert_eq!(wrong("rx x"), "rx: \"x\" is not a port from 0 to 65535");
    assert_eq!(wrong("rx x:y"), "rx: \"y\" is not a port from 0 to 65535");
    assert_eq!(wrong("rx :1"), "rx: \"\" is not a name or address");
    assert_eq!(wrong("rx 8834 9"), "unknown word \"9\"; \"millipede help\" shows the words");
    assert_eq!(wrong("rx fe80::1 1"), "rx: \"fe80::1\" is link-local: add its interface, as in fe80::1%eth0");
}

#[test]
fn a_host_and_its_port_may_be_joined() {
    for (line, host) in [
        ("tx [::1]:8834", address("::1")),
        ("tx [::1] 8834", address("::1")),
        ("tx ::1 8834", address("::1")),
        ("--tx=host:8834", name("host")),
        ("tx host:8834", name("host")),
        ("tx 192.0.2.1:8834", address("192.0.2.1")),
        ("tx ::ffff:192.0.2.1 8834", address("192.0.2.1")),
        ("tx fe80::1%eth0 8834", scoped("fe80::1", "eth0")),
    ] {
        let links = transmit(&format!("{line} threads 3")).links;
        assert_eq!(links, [LinkPlan { host, port: 8834, via: None }], "{line}");
    }
    assert_eq!(
        plan("rx 1 initiate localhost:22").common.edge,
        EdgePlan::Initiate { host: name("localhost"), port: 22 }
    );
    assert_eq!(wrong("tx host:"), "tx: \"\" is not a port from 1 to 65535");
    assert_eq!(wrong("tx host:0"), "tx: \"0\" is not a port from 1 to 65535");
    assert_eq!(wrong("tx http://host 80"), "tx: \"http://host\" is not a name or address");
    assert!(wrong("tx ::1").starts_with("tx wants HOST PORT"));
    assert!(wrong("tx fe80::1 1").starts_with("tx: \"fe80::1\" is link-local"));
    assert_eq!(transmit("tx fe80::1 1 via eth0").links[0].host, address("fe80::1"));
}

#[test]
fn a_family_restricts_names_and_the_wildcard() {
    for (word, family) in
        [("ipv4", Family::V4), ("-4", Family::V4), ("--ipv6", Family::V6), ("-6", Family::V6)]
    {
        assert_eq!(plan(&format!("rx 1 {word}")).receive, receive(ListenOn::All(family), 1), "{word}");
        let named = Host::Name { name: "host".to_owned(), family };
        assert_eq!(transmit(&format!("{word} tx host 1")).links[0].host, named, "{word}");
        let rx = plan(&format!("rx host 1 {word}")).receive;
        assert_eq!(rx, receive(ListenOn::Host(named), 1), "{word}");
    }
    assert_eq!(wrong("rx 1 -4 -6"), "ipv4 and ipv6 exclude each other");
    assert_eq!(wrong("tx ::1 1 -4"), "tx: \"::1\" is an IPv6 address, and ipv4 is given");
    assert_eq!(wrong("rx fe80::1%eth0 1 -4"), "rx: \"fe80::1%eth0\" is an IPv6 address, and ipv4 is given");
    assert_eq!(wrong("rx 127.0.0.1 1 ipv6"), "rx: \"127.0.0.1\" is an IPv4 address, and ipv6 is given");
    assert_eq!(wrong("-4"), "ipv4 goes with rx or tx, and there is neither");
}

#[test]
fn via_binds_the_tx_before_it() {
    let via = |name: &str| Some(name.to_owned());
    let links = transmit("tx a 1 tx b 2 via eth1 threads 4 tx c 3 verbose 2 via 192.0.2.1 tx d 4").links;
    let bound: Vec<_> = links.into_iter().map(|link| (link.host.to_string(), link.via)).collect();
    let expected = [("a", None), ("b", via("eth1")), ("c", via("192.0.2.1")), ("d", None)];
    assert_eq!(bound, expected.map(|(host, via)| (host.to_owned(), via)));
    assert_eq!(wrong("via eth0 tx a 1"), "via binds the tx before it, and there is none before it");
    assert_eq!(wrong("tx a 1 via eth0 via eth1 tx b 2"), "via is given twice for one tx");
    assert_eq!(wrong("rx 1 via eth0"), "via goes with tx, and there is no tx");
    assert_eq!(wrong("tx 192.0.2.1 1 via ::1"), "via: ::1 and 192.0.2.1 are not of the same IP version");
    assert_eq!(wrong("tx a 1 via /dev/eth0"), "via: \"/dev/eth0\" is not a name or address");
}
