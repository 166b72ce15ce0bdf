//! What comes in on a connection, and which role it is for: the type of a frame says that.

use super::receiving::Receiving;
use super::sending::{self, Sending};
use crate::chaos::{Harm, Hazard};
use crate::proto::wire::{Frame, LegHeader};
use crate::run::pool::Buffer;
use crate::run::pump::{Fault, Intake};

/// What a connection may bring, for the roles that there are.
pub struct Inbox<'a> {
    /// The role that hears a receiver.
    sending: Option<&'a mut Sending>,
    /// The role that hears a sender.
    receiving: Option<&'a mut Receiving>,
    /// What is done to connections on purpose.
    hazard: &'a Hazard,
    /// What the frame just read does to its connection.
    pub harm: Option<Harm>,
}

impl<'a> Inbox<'a> {
    /// For these roles; nothing has come yet.
    pub fn new(
        sending: &'a mut Option<Sending>,
        receiving: &'a mut Option<Receiving>,
        hazard: &'a Hazard,
    ) -> Self {
        Inbox { sending: sending.as_mut(), receiving: receiving.as_mut(), hazard, harm: None }
    }

    fn harmed(&self) -> Result<(), Fault> {
        self.harm.map_or(Ok(()), |_| Err(Fault::Harmed))
    }

    /// What a receiver says.
    fn give_sending(&mut self, frame: Frame) -> Result<(), Fault> {
        let Some(sending) = &mut self.sending else {
            return self.receiving.as_mut().map_or(Ok(()), |receiving| receiving.frame(frame));
        };
        let judged = matches!(frame, Frame::Verdict(_));
        if !sending.is_over() {
            sending.say(sending::Report::Frame(frame));
        }
        if let (true, true, Some(receiving)) = (judged, sending.is_over(), &mut self.receiving) {
            // the hub had it, said bye and ended; that was lost
            receiving.reply(Frame::Bye);
        }
        Ok(())
    }

    /// What a sender says. A sending hub judges it as well as anyone.
    fn give_receiving(&mut self, frame: Frame) -> Result<(), Fault> {
        match &mut self.receiving {
            Some(receiving) => receiving.frame(frame),
            None => self.give_sending(frame),
        }
    }

    fn is_deaf(&self) -> bool {
        self.sending.as_ref().is_none_or(|role| role.is_over())
            && self.receiving.as_ref().is_none_or(|role| role.is_over())
    }
}

impl Intake for Inbox<'_> {
    fn place(&mut self, header: &LegHeader) -> Result<Option<Buffer>, Fault> {
        match &mut self.receiving {
            Some(receiving) => receiving.place(header, &mut self.harm),
            None => Err(Fault::Breach("sent a leg to the sender".into())),
        }
    }

    fn leg(&mut self, header: LegHeader, buffer: Option<Buffer>) -> Result<(), Fault> {
        if let Some(receiving) = &mut self.receiving {
            self.harm = self.harm.or(receiving.take_leg(&header, buffer));
        }
        self.harmed()
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Fault> {
        let counts = !is_last_word(&frame) && !self.is_deaf();
        match frame {
            Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) => {
                self.give_sending(frame)?;
            }
            Frame::Abort(_) if self.sending.is_some() && self.receiving.is_some() => {
                self.give_sending(frame.clone())?;
                self.give_receiving(frame)?;
            }
            frame => self.give_receiving(frame)?,
        }
        if counts {
            self.harm = self.harm.or(self.hazard.frame());
        }
        self.harmed()
    }
}

/// Harm to these changes nothing: the fault plan does not count them.
pub fn is_last_word(frame: &Frame) -> bool {
    matches!(frame, Frame::Bye | Frame::Abort(_))
}
