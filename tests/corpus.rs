//! Plays every file of the fuzzers' corpus through the function of its target: what a fuzzer has found once is looked at
//! in every test run, without a fuzzer. CONTRIBUTING.md says how the corpus is made.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Seeds that need no file, so that a target without a corpus is still called.
const SEEDS: [&[u8]; 3] = [b"", b"\0", &[0xff; 64]];

fn kept(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    files.sort();
    files
}

fn play(target: &str) {
    let (_, run) = targets::TARGETS.iter().find(|(name, _)| *name == target).expect("there is such a target");
    SEEDS.iter().for_each(|seed| run(seed));
    let files = kept(target);
    assert!(!files.is_empty(), "no corpus for {target}");
    let fails = |file: &&PathBuf| {
        let bytes = fs::read(file).expect("a file can be read");
        catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err()
    };
    let failed: Vec<_> = files.iter().filter(fails).collect();
    assert!(failed.is_empty(), "of {} files these fail: {failed:#?}", files.len());
}

macro_rules! corpus {
    ($($target:ident)*) => {
        $(#[test] fn $target() { play(stringify!($target)); })*

        #[test]
        fn every_target_is_played() {
            let played = [$(stringify!($target)),*];
            let names: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, played);
        }
    };
}

corpus! { hello reply hearing frames records words rendezvous files dials listens }
