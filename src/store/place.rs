//! Where a store keeps what: every path beneath its folder that is not a name of the user's.
//!
//! ```text
//!  NAME                                  finished files; NAME.sha256 beside them, if that is wanted
//!  .millipede/meta/NAME.json             what is known of them
//!  .millipede/long/SUM-OF-NAME.json      the same, for the few names that cannot have that place
//!  .millipede/partial/SUM-OF-KEY/SUM-OF-NAME   what has not come whole
//!  .millipede/tmp/N                      small files on their way to one of these places
//!  .millipede/lock                       held by the process that serves this folder
//! ```
//!
//! No two names share a place, whoever chose them: that is what the sums are for.

use super::name::{Name, PART_MAX};
use super::sum::Sum;

/// What holds everything that is not finished. No name leads into it, since none has a part that begins with a dot.
pub(crate) const ROOM: &str = ".millipede";
/// For one process.
pub(crate) const LOCK: &str = ".millipede/lock";
/// Partials, in a folder for each key.
pub(crate) const PARTIAL: &str = ".millipede/partial";
/// Small files that are not yet in place.
pub(crate) const TMP: &str = ".millipede/tmp";
/// What is known of finished files.
pub(crate) const META: &str = ".millipede/meta";
/// The same, where the name does not do.
pub(crate) const LONG: &str = ".millipede/long";

/// Paths longer than this may be too long for other programs that look for what is known of a file.
const PATH_LIMIT: usize = 4000;
const JSON: &str = ".json";
/// The ending of files that hold another's sum.
pub(crate) const SUM_ENDING: &str = ".sha256";

/// The folder of a key's partials.
pub(crate) fn partials(key: &str) -> String {
    format!("{PARTIAL}/{}", Sum::of(key.as_bytes()))
}

/// The place of one of them.
pub(crate) fn partial(key: &str, name: &Name) -> String {
    format!("{}/{}", partials(key), Sum::of(name.as_str().as_bytes()))
}

/// The place of what is known of a finished file.
pub(crate) fn sidecar(name: &Name) -> String {
    let fits = name.last().len() + JSON.len() <= PART_MAX && META.len() + name.as_str().len() < PATH_LIMIT;
    // a folder of such a name would stand where the file of another name has what is known of it
    let clashes = name.folder().split('/').any(|part| part.ends_with(JSON));
    if fits && !clashes {
        format!("{META}/{name}{JSON}")
    } else {
        format!("{LONG}/{}{JSON}", Sum::of(name.as_str().as_bytes()))
    }
}

/// The place of a finished file's sum.
pub(crate) fn sum(name: &Name) -> String {
    format!("{name}{SUM_ENDING}")
}

/// All before the last `/`; the store's folder itself is "".
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::stored(text).unwrap()
    }

    #[test]
    fn an_ordinary_name_has_the_place_that_the_manual_says() {
        assert_eq!(sidecar(&name("run7/a.raw")), ".millipede/meta/run7/a.raw.json");
        assert_eq!(sidecar(&name("a.json")), ".millipede/meta/a.json.json");
        assert_eq!(sum(&name("run7/a.raw")), "run7/a.raw.sha256");
        assert_eq!((folder("a/b/c"), folder("a")), ("a/b", ""));
    }

    #[test]
    fn others_have_one_too_that_is_not_too_long() {
        for long in ["x".repeat(255), "a/".repeat(2000) + "b", "run.json/b".to_owned()] {
            let place = sidecar(&name(&long));
            assert!(place.starts_with(".millipede/long/") && place.len() < 100, "{place}");
        }
        assert!(sidecar(&name(&"x".repeat(250))).starts_with(META));
    }

    proptest! {
        /// Neither the same place, nor one below the other's file.
        #[test]
        fn no_two_names_get_in_each_others_way(
            a in "[ab](\\.json)?(/[ab](\\.json){0,2}){0,2}", b in "[ab](\\.json)?(/[ab](\\.json){0,2}){0,2}"
        ) {
            if a != b {
                let (a, b) = (sidecar(&name(&a)), sidecar(&name(&b)));
                prop_assert!(a != b && !a.starts_with(&(b.clone() + "/")) && !b.starts_with(&(a + "/")));
            }
        }
    }
}
