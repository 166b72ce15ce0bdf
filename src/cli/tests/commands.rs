//! The word `exec` and the command behind it.

use super::*;

#[test]
fn a_command_is_any_text() {
    for command in ["zfs recv -s a/b", "--rx 8834", "-h", "--", "a=b; c"] {
        let edge = EdgePlan::Exec { command: command.to_owned() };
        let option = format!("--exec={command}");
        for words in
            [&["rx", "1", "exec", command][..], &["--exec", command, "rx", "1"], &["rx", "1", &option]]
        {
            assert_eq!(parse_words(words).unwrap().common.edge, edge, "{words:?}");
        }
    }
    assert_eq!(
        parse_words(&["rx", "1", "exec", " "]),
        Err(Stop::Usage("exec: the command is empty".to_owned()))
    );
}

#[test]
fn a_command_without_quotes_is_shown_with_them() {
    for (line, command) in [
        ("rx 1 exec zfs receive x", "zfs receive x"),
        ("rx 1 --exec=zfs receive -s x/y buffer 8M", "zfs receive -s x/y"),
        ("tx a 1 exec tar -cf - .", "tar -cf - ."),
        ("tx a 1 exec echo $HOME", "COMMAND ..."),
    ] {
        let expected = format!("exec takes the command as one argument: quote it, as in exec \"{command}\"");
        assert_eq!(wrong(line), expected, "{line}");
    }
    for line in ["serve 1 insecure into . then cp a b", "serve 1 insecure into . --then=cp a b"] {
        assert!(wrong(line).starts_with("then takes the command as one argument"), "{line}");
        assert!(wrong(line).ends_with("as in then \"cp a b\""), "{line}");
    }
    let pieces = ["rx", "1", "exec", "sh", "-c", "cat > x"];
    let Err(Stop::Usage(sentence)) = parse_words(&pieces) else { panic!("{pieces:?}") };
    assert!(sentence.ends_with("exec \"sh -c 'cat > x'\""), "{sentence}");
}
