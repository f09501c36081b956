//! Sans-I/O frame scanner: where frames begin and end in a stream of bytes cut anywhere, and the few frames that we write ourselves.
//!
//! It checks nothing but what it needs: `tokio-tungstenite` above it judges data frames, `ws::frame_tap` judges Close frames.

use crate::close::{INVALID_PAYLOAD, NO_STATUS, PROTOCOL_ERROR, may_be_sent};
use crate::fault::{Frame, LengthForm, Payload};

pub(crate) use crate::fault::CLOSE;

/// Pong frame (RFC 6455 §11.8).
pub(crate) const PONG: u8 = 0xA;

/// Longest frame header: 2 bytes, 8 of length, 4 of mask.
const HEADER_MAX: usize = 14;
/// Longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: u64 = 125;
/// Longer frames are handed up in parts of so many bytes, so that buffers grow with what came and not with what a header says.
pub(crate) const PART: u64 = 64 * 1024;
/// A filled payload is written in runs of so many bytes; a multiple of the mask's four.
const FILL_RUN: usize = 64 * 1024;

/// Follows frame boundaries in one direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    header: [u8; HEADER_MAX],
    have: u8,
    /// Payload bytes still to come of the frame whose header is complete.
    left: u64,
    /// The last whole data frame was not its message's last.
    fragmented: bool,
}

/// A run of bytes that belong to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePiece {
    /// How many bytes.
    pub len: usize,
    /// The frame's opcode.
    pub opcode: u8,
    /// The piece begins the frame.
    pub begins: bool,
    /// The piece ends the frame.
    pub ends: bool,
    /// How many of the bytes belong to the frame's header.
    pub header: usize,
    /// The frame cannot be a legal control frame: too long or fragmented. Set from the piece that completes the header.
    pub illegal_control: bool,
}

impl Scanner {
    /// Whether the stream stands inside a frame.
    pub(crate) fn mid_frame(&self) -> bool {
        self.have > 0
    }

    /// Whether the stream stands inside the header of a frame.
    pub(crate) fn mid_header(&self) -> bool {
        self.mid_frame() && !self.header_complete()
    }

    /// Whether the stream stands inside the payload of a frame that has more than `bytes` of it.
    pub(crate) fn is_longer_than(&self, bytes: u64) -> bool {
        self.header_complete() && self.payload_length() > bytes
    }

    /// Whether the stream stands inside a message: in a frame, or between the frames of a fragmented one.
    pub(crate) fn mid_message(&self) -> bool {
        self.mid_frame() || self.fragmented
    }

    /// The next piece of `bytes`, which must not be empty.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> FramePiece {
        let begins = self.have == 0;
        let mut used = 0;
        while !self.header_complete() && used < bytes.len() {
            self.header[usize::from(self.have)] = bytes[used];
            self.have += 1;
            used += 1;
            if self.header_complete() {
                self.left = self.payload_length();
            }
        }
        let opcode = self.header[0] & 0x0f;
        if !self.header_complete() {
            return FramePiece { len: used, opcode, begins, ends: false, header: used, illegal_control: false };
        }
        let payload = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - used);
        self.left -= payload as u64;
        let illegal_control = opcode >= CLOSE && (self.payload_length() > CONTROL_MAX || self.header[0] & 0x80 == 0);
        let ends = self.left == 0;
        if ends {
            self.have = 0;
            if opcode < CLOSE {
                self.fragmented = self.header[0] & 0x80 == 0;
            }
        }
        FramePiece { len: used + payload, opcode, begins, ends, header: used, illegal_control }
    }

    /// Goes on behind bytes of any number of frames.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.piece(bytes).len..];
        }
    }

    /// Whether the frame in which the stream stands says a length that no frame may have (RFC 6455 §5.2: the top bit of 64 must be 0).
    pub(crate) fn length_is_illegal(&self) -> bool {
        self.header_complete() && self.header[1] & 0x7f == 127 && self.header[2] & 0x80 != 0
    }

    /// Writes to `out` what has come, with every frame whose payload has more than [`PART`] and at most `longest` bytes as a fragmented message
    /// of parts of that length (RFC 6455 §5.4), and headers only when they are whole. The stream stands before `bytes`, and behind them after.
    pub(crate) fn write_in_parts(&mut self, bytes: &[u8], longest: u64, out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = self.piece(rest);
            let (payload, whole) = (&rest[piece.header..piece.len], piece.ends || !self.mid_header());
            rest = &rest[piece.len..];
            if !whole {
                continue;
            }
            let length = self.payload_length();
            if length <= PART || length > longest {
                if piece.header > 0 {
                    out.extend_from_slice(&self.header[..usize::from(self.header_length())]);
                }
                out.extend_from_slice(payload);
                continue;
            }
            let mut at = length - self.left - payload.len() as u64;
            let mut payload = payload;
            while !payload.is_empty() {
                if at.is_multiple_of(PART) {
                    self.write_part_header(at, length, out);
                }
                let count = payload.len().min((PART - at % PART) as usize);
                out.extend_from_slice(&payload[..count]);
                (payload, at) = (&payload[count..], at + count as u64);
            }
        }
    }

    /// The header of the part that begins `at` bytes into the payload. Parts are a multiple of the mask's four bytes long.
    fn write_part_header(&self, at: u64, length: u64, out: &mut Vec<u8>) {
        let (count, last) = ((length - at).min(PART), length - at <= PART);
        let first = self.header[0];
        let kept = if at == 0 { first & 0x7f } else { 0 };
        out.push(if last { first & 0x80 } else { 0 } | kept);
        out.push(self.header[1] & 0x80 | 127);
        out.extend(count.to_be_bytes());
        if self.header[1] & 0x80 != 0 {
            let end = usize::from(self.header_length());
            out.extend_from_slice(&self.header[end - 4..end]);
        }
    }

    fn header_complete(&self) -> bool {
        self.have >= 2 && self.have == self.header_length()
    }

    /// Length of the header that came last, which must be whole as far as its second byte.
    pub(crate) fn header_length(&self) -> u8 {
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.header[1] & 0x80 != 0 { 4 } else { 0 }
    }

    /// Payload bytes that the header which came last declares.
    pub(crate) fn payload_length(&self) -> u64 {
        match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes(self.header[2..10].try_into().expect("eight bytes of a fourteen byte array")),
            short => u64::from(short),
        }
    }
}

/// A received Close frame, as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseFrame {
    /// Status code; 1005 for an empty body.
    pub code: u16,
    /// Reason; replacement characters where it is not UTF-8.
    pub reason: String,
    /// What a healthy peer answers: an echo, or the code of the protocol error.
    pub answer: CloseAnswer,
}

/// What a healthy peer answers to a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseAnswer {
    /// The same code; an empty frame to an empty frame (RFC 6455 §5.5.1).
    Echo,
    /// This code: the frame was invalid (§7.1.7), and the user is told 1006.
    Fail(u16),
}

impl CloseFrame {
    /// Reads a whole Close frame, header included. `masks`: its sender must mask (RFC 6455 §5.1).
    pub(crate) fn parse(frame: &[u8], illegal: bool, masks: bool) -> CloseFrame {
        let payload = payload(frame);
        let illegal = illegal || frame.get(1).is_some_and(|second| (second & 0x80 != 0) != masks);
        let reserved_bits = frame.first().is_some_and(|first| first & 0x70 != 0);
        if payload.len() < 2 {
            let answer =
                if payload.is_empty() && !illegal && !reserved_bits { CloseAnswer::Echo } else { CloseAnswer::Fail(PROTOCOL_ERROR) };
            return CloseFrame { code: NO_STATUS, reason: String::new(), answer };
        }
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        let reason = &payload[2..];
        let answer = if illegal || reserved_bits || !may_be_sent(code) {
            CloseAnswer::Fail(PROTOCOL_ERROR)
        } else if std::str::from_utf8(reason).is_err() {
            CloseAnswer::Fail(INVALID_PAYLOAD)
        } else {
            CloseAnswer::Echo
        };
        CloseFrame { code, reason: String::from_utf8_lossy(reason).into_owned(), answer }
    }
}

/// The unmasked payload of a whole short frame.
pub(crate) fn payload(frame: &[u8]) -> Vec<u8> {
    let masked = frame.get(1).is_some_and(|second| second & 0x80 != 0);
    let start = match frame.get(1).map_or(0, |second| second & 0x7f) {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let (mask, body) = if masked { (frame.get(start..start + 4), start + 4) } else { (None, start) };
    let bytes = frame.get(body..).unwrap_or_default();
    match mask {
        Some(mask) => bytes.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect(),
        None => bytes.to_vec(),
    }
}

/// A frame's bytes; masked with `mask` if given, as a client must (RFC 6455 §5.3).
pub(crate) fn encode(frame: &Frame, mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = match &frame.payload {
        Payload::Bytes(bytes) => bytes.len(),
        Payload::Filled(count) => usize::try_from(*count).unwrap_or(0),
    };
    let declared = frame.declared.unwrap_or(length as u64);
    let mut bytes = Vec::with_capacity(length + HEADER_MAX);
    bytes.push(if frame.fin { 0x80 } else { 0 } | (frame.rsv & 7) << 4 | frame.opcode & 0x0f);
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    match (frame.length, declared) {
        (LengthForm::Shortest, 0..=125) => bytes.push(mask_bit | declared as u8),
        (LengthForm::Shortest, 126..=0xffff) | (LengthForm::Two, ..=0xffff) => {
            bytes.push(mask_bit | 126);
            bytes.extend_from_slice(&(declared as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 127);
            bytes.extend_from_slice(&declared.to_be_bytes());
        }
    }
    bytes.extend(mask.into_iter().flatten());
    let (head, mask) = (bytes.len(), mask.unwrap_or_default());
    match &frame.payload {
        Payload::Bytes(payload) => bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key)),
        // Millions of bytes: copied in long runs, because a step for each takes a second where nothing is optimized.
        Payload::Filled(_) => {
            let run = mask.map(|key| b'x' ^ key).repeat(length.min(FILL_RUN).div_ceil(4));
            while bytes.len() - head < length {
                bytes.extend_from_slice(&run[..run.len().min(length - (bytes.len() - head))]);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::TEXT;
    use proptest::prelude::*;

    fn body(code: Option<u16>, reason: &str) -> Vec<u8> {
        code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat()).unwrap_or_default()
    }

    #[test]
    fn frames_are_followed_wherever_the_stream_is_cut() {
        let frames = [
            encode(&Frame::new(TEXT, "hello"), None),
            encode(&Frame::new(0x2, [7; 300]), Some([1, 2, 3, 4])),
            encode(&Frame::new(PONG, ""), Some([9, 9, 9, 9])),
            encode(&Frame::new(0x2, [1; 70_000]), None),
            encode(&Frame { length: LengthForm::Eight, ..Frame::new(TEXT, "wide") }, None),
            encode(&Frame::close(Some(1000), b"bye"), None),
        ];
        let stream: Vec<u8> = frames.concat();
        for step in [1, 2, 3, 7, 1000, 65_536, stream.len()] {
            let mut scanner = Scanner::default();
            let mut ended = Vec::new();
            for chunk in stream.chunks(step) {
                let mut rest = chunk;
                while !rest.is_empty() {
                    let piece = scanner.piece(rest);
                    assert!(piece.len > 0);
                    if piece.ends {
                        ended.push(piece.opcode);
                    }
                    rest = &rest[piece.len..];
                }
            }
            assert_eq!(ended, [TEXT, 2, PONG, 2, TEXT, CLOSE], "chunks of {step}");
            assert!(!scanner.mid_frame());
        }
    }

    #[test]
    fn close_frames_say_what_stood_on_the_wire_and_what_to_answer() {
        for (body, code, answer) in [
            (body(None, ""), 1005, CloseAnswer::Echo),
            (body(Some(1000), "bye"), 1000, CloseAnswer::Echo),
            (body(Some(1014), ""), 1014, CloseAnswer::Echo), // tungstenite would make it 1002
            (body(Some(4999), ""), 4999, CloseAnswer::Echo),
            (body(Some(999), ""), 999, CloseAnswer::Fail(1002)),
            (body(Some(1006), ""), 1006, CloseAnswer::Fail(1002)),
            (body(Some(5000), ""), 5000, CloseAnswer::Fail(1002)),
            (vec![3], 1005, CloseAnswer::Fail(1002)),            // a body of one byte
            (vec![3, 232, 0xff], 1000, CloseAnswer::Fail(1007)), // reason is not UTF-8
        ] {
            for mask in [None, Some([3, 141, 59, 26])] {
                let frame = CloseFrame::parse(&encode(&Frame::new(CLOSE, body.clone()), mask), false, mask.is_some());
                assert_eq!((frame.code, frame.answer), (code, answer), "{body:?}");
            }
        }
    }

    #[test]
    fn a_filled_payload_is_masked_like_any_other() {
        for length in [0, 1, 3, 4, 125, 65_535, 65_536, 65_537, 200_001] {
            let frame = |payload| Frame { payload, ..Frame::new(0x2, "") };
            for mask in [None, Some([1, 20, 30, 77])] {
                let filled = encode(&frame(Payload::Filled(length)), mask);
                let bytes = encode(&frame(Payload::Bytes(vec![b'x'; length as usize])), mask);
                assert!(filled == bytes, "{length} bytes with the mask {mask:?}");
            }
        }
    }

    #[test]
    fn long_frames_go_up_in_parts_and_all_others_as_they_are() {
        let part = PART as usize;
        let payload: Vec<u8> = (0..2 * part + 5).map(|at| at as u8).collect();
        for mask in [None, Some([1, 2, 3, 4])] {
            let frame = |fin, opcode, bytes: &[u8]| encode(&Frame { fin, ..Frame::new(opcode, bytes) }, mask);
            let eight = |fin, opcode, bytes: &[u8]| encode(&Frame { fin, length: LengthForm::Eight, ..Frame::new(opcode, bytes) }, mask);
            let (short, long, too_long) = (frame(true, TEXT, b"short"), frame(true, 2, &payload), frame(true, 2, &vec![7; 3 * part]));
            let stream = [&short[..], &long, &short, &too_long, &short].concat();
            // Parts of one frame go on with its mask, where it stands: a part is a multiple of four bytes long.
            let parts =
                [eight(false, 2, &payload[..part]), eight(false, 0, &payload[part..2 * part]), eight(true, 0, &payload[2 * part..])];
            let expected = [&short[..], &parts.concat(), &short, &too_long, &short].concat();
            for step in [1, 2, 3, 7, 1000, 4096, 65_536, stream.len()] {
                let (mut scanner, mut out) = (Scanner::default(), Vec::new());
                stream.chunks(step).for_each(|chunk| scanner.write_in_parts(chunk, (2 * part + 5) as u64, &mut out));
                assert!(out == expected, "chunks of {step}, mask {mask:?}");
                assert!(!scanner.mid_frame());
            }
        }
    }

    proptest! {
        #[test]
        fn scanner_never_loses_a_byte(bytes in proptest::collection::vec(any::<u8>(), 1..400)) {
            let mut scanner = Scanner::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let piece = scanner.piece(rest);
                prop_assert!(piece.len > 0 && piece.len <= rest.len());
                rest = &rest[piece.len..];
            }
        }
    }
}
