//! The few bytes of RFC 6455 that the floor and the echo server need. Not a library: what the peers here do not send is not handled.

/// A masking key that changes bytes.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame as found at the start of some bytes.
pub(crate) struct Frame {
    /// FIN, reserved bits and opcode, as they stood.
    pub(crate) first: u8,
    pub(crate) key: Option<[u8; 4]>,
    /// Where the payload begins.
    pub(crate) start: usize,
    /// Where the next frame begins.
    pub(crate) end: usize,
}

impl Frame {
    /// The frame at the start of `bytes`; `None` if it is not complete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Frame> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut start) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let key = if second & 0x80 == 0 {
            None
        } else {
            let key = bytes.get(start..start + 4)?.try_into().ok()?;
            start += 4;
            Some(key)
        };
        let end = start.checked_add(length)?;
        (bytes.len() >= end).then_some(Frame { first, key, start, end })
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub(crate) fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }
}

/// Appends a masked frame.
pub(crate) fn write_masked(out: &mut Vec<u8>, first: u8, key: [u8; 4], payload: &[u8]) {
    let at = out.len();
    write_header(out, first, payload.len());
    out[at + 1] |= 0x80;
    out.extend_from_slice(&key);
    append_masked(out, key, payload);
}

/// Appends the header of a frame that is not masked.
pub(crate) fn write_header(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    if let (Ok(length), true) = (u8::try_from(length), length < 126) {
        out.push(length);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }
}

/// Appends bytes under a masking key, eight at a time.
pub(crate) fn append_masked(out: &mut Vec<u8>, key: [u8; 4], payload: &[u8]) {
    let from = out.len();
    out.extend_from_slice(payload);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut chunks = out[from..].chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(key) {
        *byte ^= mask;
    }
}

/// Where the head of an HTTP message ends: the index behind its empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
