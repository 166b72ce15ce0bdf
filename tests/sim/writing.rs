//! From the mailboxes to the network: one item after another, as long as there is room, one leg at a time.

use super::end::End;
use super::net::Net;
use super::world::Mutation;
use millipede::proto::hello::Reply;
use millipede::proto::leg::Leg;
use millipede::proto::mailbox::Item;
use millipede::proto::outcome::Status;
use millipede::proto::wire::{Frame, LegFlags, LegHeader, Verdict};

impl End {
    /// Writes until the socket is full or nothing is left; what stays in the mailbox stays a state.
    pub fn write(&mut self, net: &mut Net, connection: usize) {
        while let Some(line) = &mut self.lines[connection] {
            let conn = line.conn;
            line.sent += net.write(conn, self.which, &line.out[line.sent..]);
            if !line.has_written() {
                return net.want_drained(conn, self.which);
            }
            line.out.clear();
            line.sent = 0;
            if std::mem::take(&mut line.carries) {
                net.want_drained(conn, self.which);
            }
            if !line.may_write() {
                return;
            }
            match self.session.take(connection) {
                Some(item) => {
                    let next = self.overtakes(connection, &item);
                    next.into_iter().for_each(|next| self.begin(net, connection, next));
                    self.begin(net, connection, item);
                }
                None if self.over.is_some() => {
                    line.finished = true;
                    net.shutdown(conn, self.which);
                }
                None => return,
            }
        }
        // what is there for a connection that is not is for none that comes later
        if self.over.is_none() && !self.session.mailbox(connection).is_empty() {
            self.fail("something is to be written on a connection that is not there");
        }
    }

    /// There is room again.
    pub fn drained(&mut self, net: &mut Net, conn: usize) {
        let Some(connection) = self.number_of(conn) else { return };
        self.write(net, connection);
        let asked = self.session.mailbox(connection).leg_bytes() == 0;
        let Some(line) = &mut self.lines[connection] else { return };
        let free =
            line.has_written() && line.welcoming.lets_frames_out() && line.is_known() && self.over.is_none();
        if free && asked && !std::mem::replace(&mut line.books.ready, true) {
            self.session.ready(net.clock.now, connection);
        } else if self.over.is_some() {
            self.part(net, false);
        }
    }

    /// The next item is to be written.
    fn begin(&mut self, net: &mut Net, connection: usize, item: Item) {
        let welcomes = self.session.receiving().is_some();
        let Some(line) = &mut self.lines[connection] else { return };
        if let Some(wrong) = line.books.write(&item, welcomes) {
            self.failure.get_or_insert(format!("connection {connection}: {wrong}"));
        }
        match item {
            Item::Welcome(welcome) => {
                line.out.extend(Reply::Welcome(welcome).encode());
                line.welcoming.note_written();
            }
            Item::Frame(Frame::Verdict(_)) if self.mute_verdict => {}
            Item::Frame(frame) => frame.encode(&mut line.out),
            Item::Leg(leg) => self.begin_leg(net, connection, &leg),
        }
    }

    fn begin_leg(&mut self, net: &mut Net, connection: usize, leg: &Leg) {
        if self.talks {
            self.said.push(format!("{leg:?} to connection {connection}"));
        }
        if leg.sequence >= self.edge.legs || leg.range().end > self.edge.bytes {
            self.failure = Some(format!("{leg:?} was sent beyond the window, {:?}", self.edge));
        }
        let crc = if self.checked { crc32fast::hash(leg.bytes()) } else { 0 };
        if self.checked {
            self.session.note_crc(net.clock.now, leg.sequence, crc);
        }
        let Some(line) = &mut self.lines[connection] else { return };
        let link = net.conns[line.conn].link;
        net.links[link].carried += leg.len();
        let header = LegHeader {
            sequence: leg.sequence,
            offset: leg.offset,
            raw: leg.len() as u32,
            encoded: leg.len() as u32,
            flags: if self.checked { LegFlags::CHECKED } else { 0 },
            crc,
        };
        Frame::Leg(header).encode(&mut line.out);
        self.sent += 1;
        line.out.extend_from_slice(leg.bytes());
        if self.damage_every > 0 && self.sent.is_multiple_of(self.damage_every) {
            *line.out.last_mut().expect("a leg is not empty") ^= 1;
        }
        line.carries = true;
    }

    // ---- mistakes on purpose --------------------------------------------------------------------------

    /// The mutation: what is next is written before a complaint.
    fn overtakes(&mut self, connection: usize, item: &Item) -> Option<Item> {
        let complaint = matches!(item, Item::Frame(Frame::Nack { .. }));
        (complaint && self.mutation == Mutation::LateComplaint).then(|| self.session.take(connection))?
    }

    /// The mutation: a verdict when all has been received, though the output has not taken it.
    pub fn judge_early(&mut self, net: &mut Net) {
        let receiver = self.session.receiving().and_then(|receiving| receiving.receiver());
        let whole = receiver.and_then(|receiver| receiver.whole());
        let Some(fin) = whole.filter(|_| self.mutation == Mutation::EarlyVerdict && !self.early) else {
            return;
        };
        self.early = true;
        let verdict = Verdict {
            bytes: fin.bytes,
            crc: fin.crc,
            status: Status::Complete,
            command: None,
            sentence: String::new(),
        };
        for connection in 0..self.lines.len() {
            if let Some(line) = self.lines[connection].as_mut().filter(|line| line.is_up()) {
                Frame::Verdict(verdict.clone()).encode(&mut line.out);
                self.write(net, connection);
            }
        }
    }
}
