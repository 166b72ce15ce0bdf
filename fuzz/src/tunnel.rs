//! The records of a tunnel: one end, whose far end says anything and whose local connections do what the script says.
//!
//! What must hold: what is kept of the far end's data is within the credit that it was given, what it is told is
//! bounded, and local connections hear of opening, end and closing once and in order.

use super::script::Script;
use millipede::endpoint::tunnel::mux::{Mux, SocketAction};
use millipede::endpoint::tunnel::record::{DATA_MAX, HEADER, Record};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

/// Few, so that the limit is met.
const CONNECTIONS: usize = 8;
/// What windows may add up to.
const BUDGET: u64 = 1 << 20;
/// What a connection may send without credit, at first.
const WINDOW: u64 = 64 << 10;

/// A connection as its local side knows it.
#[derive(Default)]
struct Local {
    /// Nothing more comes from the far end.
    shut: bool,
}

struct Tunnel {
    mux: Mux,
    locals: BTreeMap<u32, Local>,
    accepts: bool,
    /// Whether local connections take what comes.
    takes: bool,
}

/// A far end's bytes, in pieces, between what the local connections do.
pub fn records(data: &[u8]) {
    let mut script = Script::new(data);
    let accepts = script.odd();
    let mux = Mux::new(accepts, CONNECTIONS, BUDGET);
    let mut tunnel = Tunnel { mux, locals: BTreeMap::new(), accepts, takes: false };
    while let Some(act) = script.next() {
        let going = tunnel.act(act, &mut script);
        tunnel.hear();
        tunnel.check();
        if !going {
            break;
        }
    }
    tunnel.mux.stream_ended();
    tunnel.hear();
    let kept = tunnel.drain();
    assert!(kept <= CONNECTIONS as u64 * WINDOW + BUDGET, "{kept} bytes were kept");
    tunnel.hear();
    assert!(tunnel.mux.is_empty(), "a connection is left of a tunnel that is over");
    let mut space = vec![0; 64 << 10];
    let mut told = 0;
    while tunnel.mux.has_records() {
        told += tunnel.mux.records(&mut space);
        assert!(told < 1 << 20, "what is told is not bounded");
    }
}

impl Tunnel {
    /// One act; false if the far end broke the rules.
    fn act(&mut self, act: u8, script: &mut Script) -> bool {
        let id = u32::from(script.byte() % 12);
        let record = match act % 16 {
            0..=2 => return self.locally(act, id, script),
            3 => {
                self.takes = script.odd();
                return true;
            }
            4 => return self.receive(script.take(40)),
            5 | 6 => Record::Open(id),
            7..=9 => {
                let length = 1 + 257 * u64::from(script.byte()) % DATA_MAX as u64;
                Record::Data(id, script.number(length) as u32)
            }
            10 | 11 => Record::Credit(id, script.number(1000) as u32),
            12 => Record::Finish(id),
            13 => Record::Reset(id),
            14 => return self.many_opens(script),
            _ => {
                self.mux.records(&mut vec![0; 1 + script.below(100)]);
                return true;
            }
        };
        let mut bytes = record.encode().to_vec();
        if let Record::Data(_, length) = record {
            // a promise is kept, unless the script says otherwise
            let promised = (length as usize).min(DATA_MAX);
            bytes.resize(HEADER + if script.byte() == 1 { promised / 2 } else { promised }, 7);
        }
        self.receive(&bytes)
    }

    fn receive(&mut self, bytes: &[u8]) -> bool {
        let takes = self.takes;
        let locals = &self.locals;
        let result = self.mux.receive(bytes, &mut |id, data| {
            // one that was opened by these bytes is not known here yet
            assert!(locals.get(&id).is_none_or(|local| !local.shut), "data after the end");
            if takes { data.len() } else { data.len() / 2 }
        });
        result.is_ok()
    }

    fn many_opens(&mut self, script: &mut Script) -> bool {
        let from = u32::from(script.byte()) << 12;
        let bytes: Vec<u8> = (from..from + 5000).flat_map(|id| Record::Open(id).encode()).collect();
        self.receive(&bytes)
    }

    /// What happens at this end.
    fn locally(&mut self, act: u8, id: u32, script: &mut Script) -> bool {
        match script.byte() % 5 {
            0 if !self.accepts && self.locals.len() < CONNECTIONS => {
                let id = self.mux.open();
                assert!(self.locals.insert(id, Local::default()).is_none());
            }
            1 => {
                let mut space = vec![0; if act == 0 { 20 } else { 70_000 }];
                let length = script.number(100) as usize;
                let sent = self.mux.send(id, &mut space, |room| Ok(length.min(room.len())));
                assert!(sent.expect("reading does not fail") <= space.len());
            }
            2 => {
                let mut takes = script.number(1000) as usize;
                let drained = self.mux.drain(id, |bytes| match takes {
                    0 => Err(io::Error::from(ErrorKind::WouldBlock)),
                    _ => {
                        let taken = takes.min(bytes.len());
                        takes -= taken;
                        Ok(taken)
                    }
                });
                drained.expect("waiting is no failure");
            }
            3 => self.mux.finish(id),
            _ => {
                self.mux.reset(id);
                self.locals.remove(&id);
            }
        }
        true
    }

    /// What the local connections are told.
    fn hear(&mut self) {
        while let Some(event) = self.mux.poll() {
            match event {
                SocketAction::Opened(id) => {
                    assert!(self.accepts, "opened unasked");
                    assert!(self.locals.insert(id, Local::default()).is_none(), "{id} is opened twice");
                }
                SocketAction::Credit(_) => {}
                SocketAction::Shut(id) => {
                    if let Some(local) = self.locals.get_mut(&id) {
                        assert!(!std::mem::replace(&mut local.shut, true), "{id} ends twice");
                    }
                }
                SocketAction::Closed(id) | SocketAction::Reset(id) | SocketAction::Refused(id) => {
                    self.locals.remove(&id);
                }
            }
        }
    }

    fn check(&self) {
        assert!(self.mux.len() <= CONNECTIONS, "{} connections", self.mux.len());
    }

    /// All that is kept is taken: so much.
    fn drain(&mut self) -> u64 {
        let mut kept = 0;
        for id in self.locals.keys().copied().collect::<Vec<_>>() {
            let drained = self.mux.drain(id, |bytes| {
                kept += bytes.len() as u64;
                Ok(bytes.len())
            });
            drained.expect("what is kept can be taken");
        }
        kept
    }
}
