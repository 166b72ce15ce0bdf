//! What is under way from one end of a connection to the other.

#[derive(Debug)]
pub enum Parcel {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

impl Parcel {
    /// How many bytes of the stream.
    pub fn len(&self) -> usize {
        if let Parcel::Bytes(bytes) = self { bytes.len() } else { 0 }
    }

    /// Keeps at most `keep` bytes; how many it kept.
    pub fn truncate(&mut self, keep: usize) -> usize {
        if let Parcel::Bytes(bytes) = self {
            bytes.truncate(keep);
        }
        self.len()
    }
}
