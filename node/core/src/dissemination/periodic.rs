//! Periodic exchange and nothing else: all that happens is what [`super::exchange`] does behind every protocol.

use super::message::{DisseminationMessage, MessageId};
use super::protocol::{Broadcast, Context};
use crate::NodeId;

#[derive(Debug)]
pub(super) struct Periodic;

impl Broadcast for Periodic {
    fn publish(&mut self, _context: &mut Context<'_>, _id: MessageId) {}

    fn learned(&mut self, _context: &mut Context<'_>, _from: NodeId, _id: MessageId) {}

    fn on_message(&mut self, _context: &mut Context<'_>, _from: NodeId, _message: DisseminationMessage) -> bool {
        false
    }
}
