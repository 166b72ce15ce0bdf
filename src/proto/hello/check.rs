//! Whether two ends can work with each other.

use super::{Direction, Features, Hello, Refusal, RefusalCode};

/// What a listener holds a hello against.
#[derive(Clone, Copy, Debug)]
pub struct Expectations {
    /// What the sender must have too; with `None` it must have none.
    pub checkphrase: Option<[u8; 4]>,
    /// What this end can make use of.
    pub features: Features,
    /// Whether this end sends a stream as well, over the same connections: the dialling side must want that too.
    pub duplex: bool,
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
    if (hello.direction == Direction::Duplex) != ours.duplex {
        let sentence = match ours.duplex {
            false => "the sender says duplex and the receiver does not: say it at both ends or at neither",
            true => "the receiver says duplex and the sender does not: say it at both ends or at neither",
        };
        return refuse(RefusalCode::Direction, sentence.into());
    }
    let missing = hello.features.refused_by(ours.features);
    if missing != Features::NONE {
        let sentence = format!("the sender needs features that the receiver does not have: {missing}");
        return refuse(RefusalCode::Feature, sentence);
    }
    if ours.initiates && hello.features.contains(Features::INITIATES) {
        let sentence = "both ends initiate, and so nothing would ever come: one of them must terminate";
        return refuse(RefusalCode::Feature, sentence.into());
    }
    // No option is known yet.
    if let Some(option) = hello.options.iter().find(|option| option.mandatory) {
        let sentence = format!("the sender insists on option {}, unknown to the receiver", option.id);
        return refuse(RefusalCode::Option, sentence);
    }
    Ok(())
}

/// How the checkphrases differ.
fn phrases(theirs: Option<[u8; 4]>, ours: Option<[u8; 4]>) -> &'static str {
    match (theirs, ours) {
        (None, Some(_)) => "the receiver has a checkphrase and the sender has none",
        (Some(_), None) => "the sender has a checkphrase and the receiver has none",
        _ => "the checkphrases of sender and receiver differ",
    }
}
