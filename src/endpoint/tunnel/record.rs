//! Records: what the stream holds when both ends tunnel. Big endian.
//!
//! Each begins with kind u8, connection u32 and a number u32; the bytes of a data record follow it. The stream
//! loses and repeats nothing, so records carry no checksum and no count of their own.

/// Bytes before the data of a record.
pub const HEADER: usize = 1 + 4 + 4;

/// The most data in a record: large enough to be cheap, small enough that connections take turns.
pub const DATA_MAX: usize = 64 << 10;

/// One record, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A connection was accepted: open its other half. Numbers are chosen by who accepts.
    Open(u32),
    /// So many bytes of this connection follow.
    Data(u32, u32),
    /// So many more bytes of this connection may be sent.
    Credit(u32, u32),
    /// This direction of the connection has ended in order.
    Finish(u32),
    /// The connection is broken off in both directions.
    Reset(u32),
}

/// The far end broke the rules of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelBreach {
    /// Bytes that are no record.
    #[error("the far end of the tunnel sent a record that makes no sense")]
    Senseless,
    /// Both ends accept connections.
    #[error("the far end of the tunnel opens connections, and so does this one: one of them must initiate")]
    BothAccept,
    /// A connection of that number is open.
    #[error("the far end of the tunnel opened a connection twice")]
    OpenedTwice,
    /// More of a connection that it has finished.
    #[error("the far end of the tunnel sent data after its end")]
    DataAfterEnd,
    /// Beyond the credit that it was given.
    #[error("the far end of the tunnel sent more than it may")]
    BeyondCredit,
    /// It had finished this connection before.
    #[error("the far end of the tunnel ended a connection twice")]
    EndedTwice,
}

impl Record {
    /// The record as it stands in the stream.
    pub fn encode(self) -> [u8; HEADER] {
        let (kind, id, number) = match self {
            Record::Open(id) => (1, id, 0),
            Record::Data(id, length) => (2, id, length),
            Record::Credit(id, more) => (3, id, more),
            Record::Finish(id) => (4, id, 0),
            Record::Reset(id) => (5, id, 0),
        };
        let mut out = [kind; HEADER];
        out[1..5].copy_from_slice(&u32::to_be_bytes(id));
        out[5..].copy_from_slice(&u32::to_be_bytes(number));
        out
    }

    /// The record that begins with these bytes.
    ///
    /// # Errors
    /// There is no such record.
    pub(crate) fn decode(header: &[u8; HEADER]) -> Result<Self, TunnelBreach> {
        let [kind, a, b, c, d, rest @ ..] = *header;
        let (id, number) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(rest));
        Ok(match (kind, number) {
            (1, 0) => Record::Open(id),
            (2, 1..) if number as usize <= DATA_MAX => Record::Data(id, number),
            (3, 1..) => Record::Credit(id, number),
            (4, 0) => Record::Finish(id),
            (5, 0) => Record::Reset(id),
            _ => return Err(TunnelBreach::Senseless),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        for (record, bytes) in [
            (Record::Open(1), [1, 0, 0, 0, 1, 0, 0, 0, 0]),
            (Record::Data(0x0102_0304, DATA_MAX as u32), [2, 1, 2, 3, 4, 0, 1, 0, 0]),
            (Record::Credit(7, u32::MAX), [3, 0, 0, 0, 7, 255, 255, 255, 255]),
            (Record::Finish(u32::MAX), [4, 255, 255, 255, 255, 0, 0, 0, 0]),
            (Record::Reset(0), [5, 0, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(record.encode(), bytes);
            assert_eq!(Record::decode(&bytes), Ok(record));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            [0, 0, 0, 0, 1, 0, 0, 0, 0], // no kind
            [6, 0, 0, 0, 1, 0, 0, 0, 0], // an unknown kind
            [1, 0, 0, 0, 1, 0, 0, 0, 1], // a number where there is none
            [2, 0, 0, 0, 1, 0, 0, 0, 0], // no data
            [2, 0, 0, 0, 1, 0, 1, 0, 1], // too much of it
            [3, 0, 0, 0, 1, 0, 0, 0, 0], // no credit
        ] {
            assert!(Record::decode(&bytes).is_err(), "{bytes:?}");
        }
    }
}
