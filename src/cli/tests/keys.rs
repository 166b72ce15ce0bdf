//! The words of encryption.

use super::*;

#[test]
fn a_key_and_peers_are_files_on_either_side() {
    let trust = |line: &str| plan(line).common.trust;
    let of =
        |key: &str, peers: Option<&str>| Some(TrustPlan { key: key.into(), peers: peers.map(Into::into) });
    assert_eq!(trust("rx 1"), None);
    assert_eq!(trust("rx 1 key k"), of("k", None));
    assert_eq!(trust("tx a 1 peers /x/p key ./k"), of("./k", Some("/x/p")));
    assert_eq!(trust("rx 1 duplex --key=k --peers=p"), of("k", Some("p")));
    // files called like words
    assert_eq!(trust("rx 1 key key peers peers"), of("key", Some("peers")));
    for (line, sentence) in [
        ("rx 1 peers p", "peers goes with key, and there is no key"),
        ("key k", "key goes with rx or tx, and there is neither"),
        ("prbs 7 key k", "key goes with rx or tx, and there is neither"),
        ("rx 1 key", "key wants FILE: encrypt, and let in only who has a known key"),
        ("rx 1 key --peers p", "key wants FILE: encrypt, and let in only who has a known key"),
        ("rx 1 key -", "key: give the name of a file; - is none"),
        ("rx 1 --key=", "key: the name of the file is empty"),
        ("rx 1 key k key l", "key is given twice"),
    ] {
        assert_eq!(wrong(line), sentence, "{line}");
    }
}

#[test]
fn both_directions_in_one_process_with_a_key_need_peers() {
    let needs = "key with rx and tx needs peers: else tx can be led to its own rx";
    assert_eq!(wrong("rx 1 tx a 2 key k"), needs);
    assert!(plan("rx 1 tx a 2 key k peers p").common.trust.is_some());
    assert!(plan("rx 1 duplex key k").common.trust.is_some());
}

#[test]
fn keygen_stands_alone() {
    let task = |words: &[&str]| parse(words.iter().map(OsString::from));
    assert_eq!(task(&["keygen", "a key"]), Ok(Task::Keygen("a key".into())));
    assert_eq!(task(&["--keygen=k"]), Ok(Task::Keygen("k".into())));
    for word in ["rx 1", "tx a 1", "key k", "verbose 1", "prbs 7"] {
        let sentence = wrong(&format!("keygen k {word}"));
        let name = word.split(' ').next().unwrap();
        assert_eq!(sentence, format!("{name} cannot stand beside keygen, which makes a key and ends"));
    }
    assert_eq!(wrong("keygen"), "keygen wants FILE: make a key, in FILE and FILE.pub");
}
