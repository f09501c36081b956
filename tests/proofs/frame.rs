//! Frames of RFC 6455 §5.2 by hand: built, read, and read where they were cut. No fragments: nobody here sends any.

use std::time::Duration;

pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;
const MASK: [u8; 4] = [7, 77, 177, 217];

/// A whole frame.
#[derive(Clone, PartialEq)]
pub(super) struct Frame {
    /// Age of the connection when its last byte was read.
    pub(super) at: Duration,
    /// First byte: FIN bit and opcode.
    pub(super) first: u8,
    /// Whether it was masked.
    pub(super) masked: bool,
    /// Unmasked.
    pub(super) payload: Vec<u8>,
}

/// The number in a ping's or pong's payload.
pub(super) fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
}

/// A whole frame; masked as a client's are.
pub(super) fn encode(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(bit | short as u8),
        middle @ 126..=65535 => {
            bytes.push(bit | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// The frame at the beginning of `bytes` and its length, if it is whole.
pub(super) fn parse(bytes: &[u8], at: Duration) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let masked = second & 0x80 != 0;
    let (length, mut head) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let mask: [u8; 4] = if masked { *bytes.get(head..head + 4)?.first_chunk()? } else { [0; 4] };
    head += if masked { 4 } else { 0 };
    let end = head + usize::try_from(length).ok()?;
    let payload = bytes.get(head..end)?.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    Some((Frame { at, first, masked, payload }, end))
}

/// What a frame that was cut brought: first byte, declared length, unmasked part of the payload. Only short frames.
pub(super) fn cut(rest: &[u8]) -> Option<(u8, bool, u8, Vec<u8>)> {
    let (first, second) = (*rest.first()?, *rest.get(1)?);
    let masked = second & 0x80 != 0;
    let (mask, payload) = if masked { rest.get(2..)?.split_at_checked(4)? } else { (&[0, 0, 0, 0][..], rest.get(2..)?) };
    let payload = payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    Some((first, masked, second & 0x7f, payload))
}
