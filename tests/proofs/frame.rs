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
    /// Header as it came, without the masking key.
    pub(super) head: Vec<u8>,
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

/// These bytes of header and payload, masked where a client sends them.
pub(super) fn spell(head: &[u8], payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = head.to_vec();
    let mut payload = payload.to_vec();
    if masked {
        bytes[1] |= 0x80;
        bytes.extend(MASK);
        unmask(&mut payload, MASK);
    }
    bytes.append(&mut payload);
    bytes
}

/// Eight bytes at a time: some payloads have millions.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().expect("twice four bytes"));
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("eight bytes")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    chunks.into_remainder().iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// Header without masking key, masking key, declared length.
type Head = (Vec<u8>, Option<[u8; 4]>, u64);

fn header(bytes: &[u8]) -> Option<Head> {
    let second = *bytes.get(1)?;
    let (length, end) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let mask = if second & 0x80 != 0 { Some(*bytes.get(end..end + 4)?.first_chunk()?) } else { None };
    Some((bytes[..end].to_vec(), mask, length))
}

/// The frame at the beginning of `bytes` and its length, if it is whole.
pub(super) fn parse(bytes: &[u8], at: Duration) -> Option<(Frame, usize)> {
    let (head, mask, length) = header(bytes)?;
    let begin = head.len() + mask.map_or(0, |_| 4);
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    let mut payload = bytes.get(begin..end)?.to_vec();
    unmask(&mut payload, mask.unwrap_or_default());
    Some((Frame { at, first: head[0], head, masked: mask.is_some(), payload }, end))
}

/// Header and unmasked payload of a frame that is not whole.
pub(super) fn unfinished(rest: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (head, mask, _) = header(rest)?;
    let mut payload = rest[head.len() + mask.map_or(0, |_| 4)..].to_vec();
    unmask(&mut payload, mask.unwrap_or_default());
    Some((head, payload))
}

/// What a frame that was cut brought: first byte, declared length, unmasked part of the payload. Only short frames.
pub(super) fn cut(rest: &[u8]) -> Option<(u8, bool, u8, Vec<u8>)> {
    let (first, second) = (*rest.first()?, *rest.get(1)?);
    let masked = second & 0x80 != 0;
    let (mask, payload) = if masked { rest.get(2..)?.split_at_checked(4)? } else { (&[0, 0, 0, 0][..], rest.get(2..)?) };
    let payload = payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    Some((first, masked, second & 0x7f, payload))
}
