use super::*;

#[test]
fn a_folder_that_cannot_be_read_is_looked_at_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("b");
    // leads to itself, so that even root cannot read it
    std::os::unix::fs::symlink("b", &folder).unwrap();
    let mut tree = Tree::open(dir.path(), None).unwrap();
    assert_eq!(tree.scan("b"), [FolderChange::Scanned("b".into())]);
    assert!(tree.polled.contains("b"));
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("x"), "x").unwrap();
    tree.next = Instant::now();
    let changes = tree.changes();
    let is_found = |event: &FolderChange| matches!(event, FolderChange::Found { path, .. } if path == "b/x");
    assert!(changes.iter().any(is_found), "{changes:?}");
    assert_eq!(tree.polled.len(), 0, "the kernel tells of it from now on");
}

#[test]
fn a_name_that_was_given_by_a_link_is_told_though_the_file_has_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(dir.path().join("x"), "x").unwrap();
    let mut tree = Tree::open(&root, None).unwrap();
    tree.scan("");
    fs::hard_link(dir.path().join("x"), root.join("x")).unwrap();
    fs::remove_file(dir.path().join("x")).unwrap();
    let seen = Seen::of(&root.join("x").metadata().unwrap());
    assert_eq!(tree.changes(), [FolderChange::Named { path: "x".into(), seen }]);
}

#[test]
fn a_file_that_cannot_be_looked_at_is_not_gone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x"), "x").unwrap();
    let mut tree = Tree::open(dir.path(), None).unwrap();
    // no kernel takes such a name, which it says as it says that it has no descriptors left
    let long = "x".repeat(256);
    for _ in 0..2 {
        assert_eq!(tree.look(long.clone()), FolderChange::Unseen(long.clone()));
    }
    assert!(!tree.has_changed(&long, None));
    assert_eq!(tree.told.len(), 1);
    for gone in ["none", "none/x", "x/y", ""] {
        assert_eq!(tree.look(gone.into()), FolderChange::Gone(gone.into()), "{gone}");
    }
}

#[test]
fn what_is_over_is_told_again_when_it_happens_again() {
    let dir = tempfile::tempdir().unwrap();
    let [root, away] = ["root", "away"].map(|name| dir.path().join(name));
    fs::create_dir(&root).unwrap();
    let mut tree = Tree::open(&root, None).unwrap();
    let told = |tree: &mut Tree| {
        tree.scan("");
        tree.told.iter().cloned().collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(told(&mut tree), []);
        fs::rename(&root, &away).unwrap();
        tree.unseen("x".into(), &ErrorKind::OutOfMemory.into());
        assert_eq!(told(&mut tree), [Trouble::Unread("".into()), Trouble::Unseen("".into())]);
        fs::rename(&away, &root).unwrap();
    }
}

#[test]
fn another_folder_in_the_place_of_one_that_was_moved_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let [root, away] = ["root", "away"].map(|name| dir.path().join(name));
    fs::create_dir_all(root.join("sub")).unwrap();
    let mut tree = Tree::open(&root, None).unwrap();
    tree.scan("");
    tree.scan("sub");
    assert_eq!(tree.polled.len(), 0);
    fs::rename(&root, &away).unwrap();
    tree.next = Instant::now() + Duration::from_secs(3600);
    assert_eq!(tree.changes(), []);
    fs::write(away.join("x"), "x").unwrap();
    fs::write(away.join("sub/x"), "x").unwrap();
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("y"), "y").unwrap();
    assert_eq!(tree.changes(), []);
    assert!(tree.polled.contains(""));
    tree.next = Instant::now();
    let changes = tree.changes();
    let is_found = |event: &FolderChange| matches!(event, FolderChange::Found { path, .. } if path == "y");
    assert!(
        changes.iter().any(is_found) && changes.contains(&FolderChange::Folder("sub".into())),
        "{changes:?}"
    );
    fs::write(root.join("z"), "z").unwrap();
    assert_eq!(tree.changes().last(), Some(&FolderChange::Complete("z".into())));
}

#[test]
fn the_archive_is_no_part_of_it_though_both_have_other_folders_in_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let [root, away] = ["root", "away"].map(|name| dir.path().join(name));
    let archive = root.join("sent");
    fs::create_dir_all(&archive).unwrap();
    let mut tree = Tree::open(&root, Some(&archive)).unwrap();
    for _ in 0..2 {
        fs::write(archive.join("x"), "x").unwrap();
        assert_eq!(tree.scan("sent"), [FolderChange::Scanned("sent".into())]);
        fs::rename(&root, &away).unwrap();
        fs::create_dir_all(&archive).unwrap();
        fs::remove_dir_all(&away).unwrap();
    }
}

#[test]
fn a_folder_that_a_link_leads_to_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let [folder, link] = ["folder", "link"].map(|name| dir.path().join(name));
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("folder", &link).unwrap();
    let mut tree = Tree::open(&link, None).unwrap();
    tree.scan("");
    fs::write(folder.join("x"), "x").unwrap();
    assert_eq!(tree.changes().last(), Some(&FolderChange::Complete("x".into())));
}

/// Nothing tells that another folder, where `y` is, has the root's place by now; it is found and watched, and the one that
/// had it before is not.
fn finds_another(tree: &mut Tree, before: &Path, now: &Path) {
    fs::write(now.join("y"), "y").unwrap();
    tree.next = Instant::now() + Duration::from_secs(3600);
    assert_eq!(tree.changes(), []);
    tree.next = Instant::now();
    let changes = tree.changes();
    let is_found = matches!(&changes[1], FolderChange::Found { path, .. } if path == "y");
    assert!(changes[0] == FolderChange::Elsewhere && is_found, "{changes:?}");
    fs::write(before.join("x"), "x").unwrap();
    fs::write(now.join("z"), "z").unwrap();
    let changes = tree.changes();
    assert!(!changes.contains(&FolderChange::Complete("x".into())), "{changes:?}");
    assert_eq!(changes.last(), Some(&FolderChange::Complete("z".into())));
    assert_eq!(tree.polled.len(), 0);
}

#[test]
fn another_folder_in_its_place_is_watched_where_one_above_it_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let [root, away] = ["above/root", "away/root"].map(|path| dir.path().join(path));
    fs::create_dir_all(&root).unwrap();
    let mut tree = Tree::open(&root, None).unwrap();
    tree.scan("");
    fs::rename(dir.path().join("above"), dir.path().join("away")).unwrap();
    fs::create_dir_all(&root).unwrap();
    finds_another(&mut tree, &away, &root);
}

#[test]
fn another_folder_in_its_place_is_found_by_a_scan_too() {
    let dir = tempfile::tempdir().unwrap();
    let [root, away] = ["above/root", "away/root"].map(|path| dir.path().join(path));
    fs::create_dir_all(root.join("sub")).unwrap();
    let mut tree = Tree::open(&root, None).unwrap();
    assert!(!tree.scan("").contains(&FolderChange::Elsewhere));
    tree.scan("sub");
    fs::rename(dir.path().join("above"), dir.path().join("away")).unwrap();
    fs::create_dir_all(&root).unwrap();
    assert!(tree.scan("").contains(&FolderChange::Elsewhere));
    assert_eq!((tree.folders.len(), tree.polled.len()), (1, 0), "{}", away.display());
    assert!(!tree.scan("").contains(&FolderChange::Elsewhere));
}

#[test]
fn another_folder_is_watched_where_a_link_leads_to_it_from_now_on() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two, link, new] = ["one", "two", "link", "new"].map(|name| dir.path().join(name));
    [&one, &two].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    std::os::unix::fs::symlink("one", &link).unwrap();
    let mut tree = Tree::open(&link, None).unwrap();
    tree.scan("");
    std::os::unix::fs::symlink("two", &new).unwrap();
    fs::rename(&new, &link).unwrap();
    finds_another(&mut tree, &one, &two);
}

#[test]
fn no_link_leads_out_of_it_wherever_on_the_way_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(dir.path().join("else/sub")).unwrap();
    fs::create_dir_all(root.join("sub")).unwrap();
    for path in ["else/key", "else/sub/key", "root/key", "root/sub/key"] {
        fs::write(dir.path().join(path), path).unwrap();
    }
    let mut tree = Tree::open(&root, None).unwrap();
    let mut is_found = |path: &str| matches!(tree.look(path.into()), FolderChange::Found { .. });
    assert!(is_found("key") && is_found("sub/key"));
    std::os::unix::fs::symlink("../else", root.join("link")).unwrap();
    std::os::unix::fs::symlink("../else/key", root.join("file")).unwrap();
    assert!(!is_found("link/key") && !is_found("link/sub/key") && !is_found("file"));
}
