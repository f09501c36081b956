//! Messages that say whose they are: client, connection, number, and dots up to their size.

use super::Outgoing;
use crate::event::{ClientIndex, ConnectionNo};

/// Bytes at the beginning of a message that say whose it is: client, connection (4 each) and number (8), big-endian.
pub const STAMP: usize = 16;
/// What a message is filled up with.
const FILL: u8 = b'.';

/// The numbered messages of one connection.
#[derive(Debug)]
pub(super) struct Stamps {
    client: ClientIndex,
    connection: ConnectionNo,
    /// Of the last message, from 1.
    number: u64,
    size: usize,
}

impl Stamps {
    /// For messages of `bytes` each, at least [`STAMP`].
    pub(super) fn new(client: ClientIndex, connection: ConnectionNo, bytes: u32) -> Stamps {
        Stamps { client, connection, number: 0, size: usize::try_from(bytes).unwrap_or(STAMP).max(STAMP) }
    }

    /// The next message.
    pub(super) fn message(&mut self) -> Outgoing {
        self.number += 1;
        let mut bytes = vec![FILL; self.size];
        bytes[..4].copy_from_slice(&self.client.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.connection.0.to_be_bytes());
        bytes[8..STAMP].copy_from_slice(&self.number.to_be_bytes());
        Outgoing::Binary(bytes)
    }

    /// Number of the last message; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.number
    }

    /// The number in these bytes, where all others are those of a message of this connection.
    pub(super) fn number_in(&self, bytes: &[u8]) -> Option<u64> {
        if bytes.len() != self.size {
            return None;
        }
        let ours = bytes[..4] == self.client.0.to_be_bytes() && bytes[4..8] == self.connection.0.to_be_bytes();
        // Without a way out in the middle: many bytes at a time.
        let differ = bytes[STAMP..].iter().fold(0, |differ, byte| differ | (byte ^ FILL));
        let number = u64::from_be_bytes(bytes[8..STAMP].try_into().ok()?);
        (ours && differ == 0).then_some(number)
    }
}
