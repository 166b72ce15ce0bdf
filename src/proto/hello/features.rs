//! What ends can do beyond the least.

use std::fmt;
use std::ops::BitOr;

/// A set of features. A bit of the lower half is mandatory: who does not know it refuses. One of the upper
/// half is an offer, and who does not know it passes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(pub u64);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every leg and the stream have a CRC-32, which the receiver verifies.
    pub const CHECKSUM: Self = Self(1 << 0);
    /// The stream holds connections that the far end opens: they are multiplexed inside it.
    pub const TUNNEL: Self = Self(1 << 1);
    /// The session's connections carry a second stream, the other way.
    pub const DUPLEX: Self = Self(1 << 2);
    /// The legs of the stream may be compressed.
    pub const COMPRESS: Self = Self(1 << 3);
    /// Every leg goes through a program of the user's at both ends.
    pub const THROUGH: Self = Self(1 << 4);
    /// The streams hold files, as records.
    pub const FILES: Self = Self(1 << 8);
    /// With [`Features::DUPLEX`], an offer: this end takes compressed legs.
    pub const DECOMPRESSES: Self = Self(1 << 33);
    /// An offer: the stream of this end may stop when the output that it goes to takes no more, which is then no failure.
    pub const ENOUGH: Self = Self(1 << 34);
    /// With [`Features::TUNNEL`]: this end opens connections that the other one accepts.
    pub const INITIATES: Self = Self(1 << 32);

    const MANDATORY: u64 = u32::MAX as u64;
    const NAMES: [(Self, &'static str); 9] = [
        (Self::CHECKSUM, "checksum"),
        (Self::TUNNEL, "tunnel"),
        (Self::DUPLEX, "duplex"),
        (Self::COMPRESS, "compress"),
        (Self::THROUGH, "through"),
        (Self::FILES, "files"),
        (Self::INITIATES, "initiate"),
        (Self::DECOMPRESSES, "decompress"),
        (Self::ENOUGH, "enough"),
    ];

    /// Whether all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those in this set that one who has only `known` must refuse.
    pub const fn refused_by(self, known: Self) -> Self {
        Self(self.0 & !known.0 & Self::MANDATORY)
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut words = Vec::new();
        for (feature, name) in Self::NAMES {
            if self.contains(feature) {
                rest &= !feature.0;
                words.push(name.to_owned());
            }
        }
        if rest != 0 {
            words.push(format!("{rest:#x}"));
        }
        f.write_str(&words.join(", "))
    }
}

/// What a far end says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarEnd {
    /// What it makes use of.
    pub features: Features,
    /// Its memory for legs, in each direction.
    pub buffer: u64,
}
