//! Whether two ends can work with each other: a hello held against what the end that listens expects.

use super::hello::{Direction, Features, Hello, Refusal, RefusalCode};

/// What a listener holds a hello against.
#[derive(Clone, Copy, Debug)]
pub struct Expectations {
    /// What the sender must have too; with `None` it must have none.
    pub checkphrase: Option<[u8; 4]>,
    /// What this end can make use of.
    pub features: Features,
    /// Whether this end sends a stream as well, over the same connections: the dialling side must want that too.
    pub duplex: bool,
    /// Whether legs go through a program of this end: then they must go through one of the other end too.
    pub through: bool,
    /// Whether this end compresses the stream that it sends: the dialling side must be able to take that.
    pub compresses: bool,
    /// Whether this end opens the connections of a tunnel: then the other one must accept them.
    pub initiates: bool,
}

/// Whether this end can work with the one that said hello; if not, what to answer. The sentences tell no
/// more of our checkphrase than whether there is one.
pub fn check(hello: &Hello, ours: &Expectations) -> Result<(), Refusal> {
    let refuse = |code, sentence| Err(Refusal { code, sentence });
    if hello.checkphrase != ours.checkphrase {
        return refuse(RefusalCode::Checkphrase, phrases(hello.checkphrase, ours.checkphrase).into());
    }
    if let Some(sentence) = files(hello.features, ours.features) {
        return refuse(RefusalCode::Feature, sentence.into());
    }
    if (hello.direction == Direction::Duplex) != ours.duplex {
        let sentence = match ours.duplex {
            false => "only the sender says duplex; both must",
            true => "only the receiver says duplex; both must",
        };
        return refuse(RefusalCode::Direction, sentence.into());
    }
    if ours.through != hello.features.contains(Features::THROUGH) {
        let sentence = match ours.through {
            false => "only the sender says through; both must",
            true => "only the receiver says through; both must",
        };
        return refuse(RefusalCode::Feature, sentence.into());
    }
    let missing = hello.features.refused_by(ours.features);
    if missing != Features::NONE {
        let sentence = format!("the receiver cannot do what is asked: {missing}");
        return refuse(RefusalCode::Feature, sentence);
    }
    if ours.compresses && !hello.features.contains(Features::DECOMPRESSES) {
        let sentence = "the sender cannot take compressed legs";
        return refuse(RefusalCode::Feature, sentence.into());
    }
    if ours.initiates && hello.features.contains(Features::INITIATES) {
        let sentence = "both initiate; one of them must terminate";
        return refuse(RefusalCode::Feature, sentence.into());
    }
    // the one option that is known, a welcome said ahead, may be passed over
    if let Some(option) = hello.options.iter().find(|option| option.mandatory) {
        let sentence = format!("the receiver does not know option {}", option.id);
        return refuse(RefusalCode::Option, sentence);
    }
    Ok(())
}

/// What to answer where one end is for files and the other for one plain stream.
fn files(theirs: Features, ours: Features) -> Option<&'static str> {
    match (theirs.contains(Features::FILES), ours.contains(Features::FILES)) {
        (false, true) => Some("the receiver is a serve: say name or put"),
        (true, false) => Some("name, put and watch want a serve there"),
        _ => None,
    }
}

/// How the checkphrases differ.
fn phrases(theirs: Option<[u8; 4]>, ours: Option<[u8; 4]>) -> &'static str {
    match (theirs, ours) {
        (None, Some(_)) => "only the receiver has a checkphrase",
        (Some(_), None) => "only the sender has a checkphrase",
        _ => "the checkphrases differ",
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::SENTENCE_MAX;
    use super::super::hello::{HelloOption, sample};
    use super::*;

    const OURS: Expectations = Expectations {
        checkphrase: Some(*b"OURS"),
        features: Features::CHECKSUM,
        duplex: false,
        through: false,
        compresses: false,
        initiates: false,
    };

    fn hello() -> Hello {
        let features = Features::CHECKSUM;
        Hello { checkphrase: Some(*b"OURS"), features, ..sample::hello() }
    }

    fn refused(hello: Hello, ours: Expectations) -> (RefusalCode, String) {
        let refusal = check(&hello, &ours).expect_err("a refusal");
        assert!(!refusal.sentence.contains("OURS") && !refusal.sentence.contains('\n'));
        assert!(refusal.sentence.len() <= SENTENCE_MAX);
        (refusal.code, refusal.sentence)
    }

    fn option(mandatory: bool, length: usize) -> HelloOption {
        HelloOption { id: 77, mandatory, value: vec![7; length] }
    }

    #[test]
    fn a_fitting_hello_passes() {
        assert_eq!(check(&hello(), &OURS), Ok(()));
        let none = Hello { checkphrase: None, ..hello() };
        assert_eq!(check(&none, &Expectations { checkphrase: None, ..OURS }), Ok(()));
        let duplex = Hello { direction: Direction::Duplex, ..hello() };
        assert_eq!(check(&duplex, &Expectations { duplex: true, ..OURS }), Ok(()));
    }

    #[test]
    fn checkphrases_must_match_and_absent_matches_only_absent() {
        for (theirs, ours) in [
            (Some(*b"ELSE"), Some(*b"OURS")),
            (None, Some(*b"OURS")),
            (Some(*b"ELSE"), None),
            (Some([0; 4]), None),
        ] {
            let hello = Hello { checkphrase: theirs, ..hello() };
            let ours = Expectations { checkphrase: ours, ..OURS };
            assert_eq!(refused(hello, ours).0, RefusalCode::Checkphrase);
        }
    }

    #[test]
    fn unknown_features_are_refused_if_mandatory() {
        let features = Features::CHECKSUM | Features::TUNNEL | Features(1 << 31);
        let (code, sentence) = refused(Hello { features, ..hello() }, OURS);
        assert_eq!(code, RefusalCode::Feature);
        assert!(sentence.ends_with(": tunnel, 0x80000000"), "{sentence}");
        let offer = Hello { features: Features(1 << 32 | 1 << 63), ..hello() };
        assert_eq!(check(&offer, &OURS), Ok(()));
    }

    #[test]
    fn unknown_options_are_refused_if_mandatory() {
        let passed_over = Hello { options: vec![option(false, 3)], ..hello() };
        assert_eq!(check(&passed_over, &OURS), Ok(()));
        let insisted = Hello { options: vec![option(false, 0), option(true, 0)], ..hello() };
        assert_eq!(refused(insisted, OURS).0, RefusalCode::Option);
    }

    #[test]
    fn files_are_for_receivers_of_files() {
        let receiver =
            Expectations { features: Features(OURS.features.0 | Features::FILES.0), duplex: true, ..OURS };
        let (code, sentence) = refused(hello(), receiver);
        assert_eq!(code, RefusalCode::Feature);
        assert!(sentence.ends_with("say name or put"), "{sentence}");
        let files = Hello { features: Features::FILES, direction: Direction::Duplex, ..hello() };
        assert_eq!(check(&files, &receiver), Ok(()));
        let (code, sentence) = refused(files, OURS);
        assert_eq!(code, RefusalCode::Feature);
        assert!(sentence.ends_with("want a serve there"), "{sentence}");
    }

    #[test]
    fn duplex_is_wanted_by_both_or_by_neither() {
        let duplex = Hello { direction: Direction::Duplex, ..hello() };
        let (code, sentence) = refused(duplex, OURS);
        assert_eq!(code, RefusalCode::Direction);
        assert!(sentence.starts_with("only the sender says duplex"), "{sentence}");
        let (code, sentence) = refused(hello(), Expectations { duplex: true, ..OURS });
        assert_eq!(code, RefusalCode::Direction);
        assert!(sentence.starts_with("only the receiver says duplex"), "{sentence}");
    }

    #[test]
    fn through_is_wanted_by_both_or_by_neither() {
        let through = Hello { features: Features::THROUGH, ..hello() };
        let (code, sentence) = refused(through.clone(), OURS);
        assert_eq!(code, RefusalCode::Feature);
        assert!(sentence.starts_with("only the sender says through"), "{sentence}");
        let ours = Expectations { through: true, features: OURS.features | Features::THROUGH, ..OURS };
        let (code, sentence) = refused(hello(), ours);
        assert_eq!(code, RefusalCode::Feature);
        assert!(sentence.starts_with("only the receiver says through"), "{sentence}");
        assert_eq!(check(&through, &ours), Ok(()));
    }

    #[test]
    fn who_compresses_needs_somebody_who_takes_that() {
        let ours = Expectations { compresses: true, ..OURS };
        assert_eq!(refused(hello(), ours).0, RefusalCode::Feature);
        let takes = Hello { features: Features::DECOMPRESSES, ..hello() };
        assert_eq!(check(&takes, &ours), Ok(()));
    }

    #[test]
    fn two_ends_that_initiate_would_wait_for_ever() {
        let initiates = Hello { features: Features::INITIATES, ..hello() };
        assert_eq!(check(&initiates, &OURS), Ok(()), "the other one accepts, or does not know of it");
        let ours = Expectations { initiates: true, ..OURS };
        assert_eq!(check(&hello(), &ours), Ok(()));
        assert_eq!(refused(initiates, ours).0, RefusalCode::Feature);
    }
}
