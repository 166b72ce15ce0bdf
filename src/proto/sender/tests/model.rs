//! The sender against a model of connections and of a receiver, step by step as proptest likes.

use super::super::super::receiver::{LegFate, Receiver};
use super::*;
use proptest::prelude::*;

/// What may happen to a connection or to the stream, in any order.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Take(usize),
    Arrive(usize),
    Damage(usize),
    Deliver,
    Ack(usize),
    OldAck(usize, prop::sample::Index),
    Kill(usize),
    Connect(usize),
    Wait(u64),
}

const WORKERS: usize = 3;
const WINDOW: u64 = 300;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let connection = || 0..WORKERS;
    let step = prop_oneof![
        3 => (1usize..80).prop_map(Step::Push),
        6 => connection().prop_map(Step::Take),
        6 => connection().prop_map(Step::Arrive),
        1 => connection().prop_map(Step::Damage),
        2 => Just(Step::Deliver),
        4 => connection().prop_map(Step::Ack),
        1 => (connection(), any::<prop::sample::Index>()).prop_map(|(w, i)| Step::OldAck(w, i)),
        1 => connection().prop_map(Step::Kill),
        2 => connection().prop_map(Step::Connect),
        1 => (1u64..3000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

/// The sender, a receiver, and between them connections that keep their order and nothing else.
struct Model {
    sender: Sender,
    receiver: Receiver,
    now: Instant,
    /// Legs on the way, per connection that is up.
    wires: [Option<VecDeque<Leg>>; WORKERS],
    counts: [u64; WORKERS],
    /// Acks that this connection has sent.
    acks: [Vec<Ack>; WORKERS],
    /// The furthest edge that any ack or welcome has told.
    told: WindowEdge,
    pushed: Vec<u8>,
    output: Vec<u8>,
    waiting: VecDeque<u64>,
}

impl Model {
    fn new() -> Self {
        Model {
            sender: new_sender(WORKERS),
            receiver: Receiver::new(WINDOW),
            now: Instant::now(),
            wires: Default::default(),
            counts: [0; WORKERS],
            acks: Default::default(),
            told: edge(0),
            pushed: Vec::new(),
            output: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push(len) => {
                let at = self.pushed.len();
                let piece: Vec<u8> = (at..at + len).map(|i| (i * 31 % 251) as u8).collect();
                self.pushed.extend(&piece);
                self.sender.push(Arc::new(piece));
            }
            Step::Take(connection) => self.take(connection)?,
            Step::Arrive(connection) => self.arrive(connection)?,
            Step::Damage(connection) => self.damage(connection)?,
            Step::Deliver => {
                if let Some(len) = self.waiting.pop_front() {
                    self.receiver.delivered(1, len);
                }
            }
            Step::Ack(connection) => self.ack(connection)?,
            Step::OldAck(connection, index) => {
                if self.wires[connection].is_some() && !self.acks[connection].is_empty() {
                    let old = *index.get(&self.acks[connection]);
                    prop_assert!(self.sender.ack(self.now, connection, &old).is_ok());
                }
            }
            Step::Kill(connection) => {
                self.wires[connection] = None;
                self.sender.detach(connection);
            }
            Step::Connect(connection) => {
                if self.wires[connection].is_none() {
                    self.connect(connection)?;
                }
            }
            Step::Wait(millis) => {
                self.now += ms(millis);
                self.sender.rescue(self.now);
            }
        }
        self.holds()
    }

    fn connect(&mut self, connection: usize) -> Result<(), TestCaseError> {
        let told = self.receiver.edge();
        prop_assert_eq!(attach(&mut self.sender, connection, self.receiver.next(), told), Ok(true));
        self.wires[connection] = Some(VecDeque::new());
        self.counts[connection] = 0;
        self.acks[connection].clear();
        self.told = told;
        Ok(())
    }

    fn take(&mut self, connection: usize) -> Result<(), TestCaseError> {
        let Some(leg) = take_leg(&mut self.sender, self.now, connection) else { return Ok(()) };
        prop_assert!(
            leg.range().end <= self.told.bytes && leg.sequence < self.told.legs,
            "beyond the window"
        );
        let range = leg.offset as usize..leg.range().end as usize;
        prop_assert_eq!(leg.bytes(), &self.pushed[range]);
        match self.wires[connection].as_mut() {
            Some(wire) => wire.push_back(leg),
            None => prop_assert!(false, "given to a connection that is gone"),
        }
        Ok(())
    }

    fn arrive(&mut self, connection: usize) -> Result<(), TestCaseError> {
        let Some(leg) = self.wires[connection].as_mut().and_then(VecDeque::pop_front) else { return Ok(()) };
        self.counts[connection] += 1;
        if self.receiver.leg(leg).map_err(|e| TestCaseError::fail(e.to_string()))? == LegFate::InOrder {
            while let Some(leg) = self.receiver.next_ready() {
                self.waiting.push_back(leg.len());
                self.output.extend(leg.bytes());
            }
        }
        Ok(())
    }

    /// The leg arrives, but damaged: a nack, and only then an ack that counts it.
    fn damage(&mut self, connection: usize) -> Result<(), TestCaseError> {
        let Some(leg) = self.wires[connection].as_mut().and_then(VecDeque::pop_front) else { return Ok(()) };
        prop_assert!(self.sender.nack(connection, leg.sequence).is_ok());
        self.counts[connection] += 1;
        self.ack(connection)
    }

    fn ack(&mut self, connection: usize) -> Result<(), TestCaseError> {
        if self.wires[connection].is_none() {
            return Ok(());
        }
        let ack = Ack {
            next: self.receiver.next(),
            delivered: self.receiver.delivered_bytes(),
            edge: self.receiver.edge(),
            count: self.counts[connection],
            blocked_ms: 0,
        };
        self.acks[connection].push(ack);
        self.told = ack.edge;
        prop_assert!(self.sender.ack(self.now, connection, &ack).is_ok());
        Ok(())
    }

    fn holds(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.output == self.pushed[..self.output.len()], "the output is no prefix of the input");
        prop_assert!(self.sender.head() <= self.receiver.next(), "a leg was dropped before it was received");
        let Progress { pushed, sent, delivered } = self.sender.progress();
        prop_assert!(delivered <= sent && sent <= pushed && sent <= self.told.bytes);
        Ok(())
    }

    /// All heals: whatever went before, the rest arrives in as many rounds as there are legs, at most.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        self.sender.end();
        let rounds = self.pushed.len() * 2 + 10;
        for _ in 0..rounds {
            for connection in 0..WORKERS {
                self.step(Step::Connect(connection))?;
                for step in
                    [Step::Take(connection), Step::Arrive(connection), Step::Deliver, Step::Ack(connection)]
                {
                    self.step(step)?;
                }
            }
            self.step(Step::Wait(100))?;
        }
        prop_assert!(self.output == self.pushed, "{} of {} bytes", self.output.len(), self.pushed.len());
        prop_assert!(self.sender.all_received());
        prop_assert_eq!(self.sender.fin(false).map(|fin| fin.bytes), Some(self.pushed.len() as u64));
        Ok(())
    }
}

proptest! {
    /// Whatever happens to connections and acks, the window holds, no leg is dropped before it is received,
    /// and once all heals everything arrives.
    #[test]
    fn whatever_happens_the_window_holds_and_nothing_is_lost(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.step(step)?;
        }
        model.finish()?;
    }
}
