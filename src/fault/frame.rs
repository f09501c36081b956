//! A frame as a fault wants it on the wire, legal or not (RFC 6455 §5.2).

use serde::{Deserialize, Serialize};

/// A frame as it goes on the wire, whether RFC 6455 allows it or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// FIN bit.
    pub fin: bool,
    /// RSV1 to RSV3, the highest first: 0 to 7.
    pub rsv: u8,
    /// 0 to 15.
    pub opcode: u8,
    /// Masked although the sender is a server, unmasked although it is a client (RFC 6455 §5.1).
    pub wrong_mask: bool,
    /// How the length is written.
    pub length: LengthForm,
    /// Length in the header; `None`: that of the payload.
    pub declared: Option<u64>,
    /// What is on the wire after the header.
    pub payload: Payload,
}

/// How a payload length is written in a frame header (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LengthForm {
    /// In the fewest bytes, as the RFC demands.
    #[default]
    Shortest,
    /// In 16 bits.
    Two,
    /// In 64 bits.
    Eight,
}

/// Payload of a [`Frame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of `x`.
    Filled(u64),
}

impl Frame {
    /// A legal final frame.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
        let payload = Payload::Bytes(payload.into());
        Frame { fin: true, rsv: 0, opcode, wrong_mask: false, length: LengthForm::Shortest, declared: None, payload }
    }

    /// A legal Close frame with any code; `None`: empty body.
    pub fn close(code: Option<u16>, reason: &[u8]) -> Frame {
        Frame::new(CLOSE, code.map(|code| [&code.to_be_bytes(), reason].concat()).unwrap_or_default())
    }

    /// Status code in the body; `None` for an empty body or a body of one byte.
    pub fn close_code(&self) -> Option<u16> {
        match &self.payload {
            Payload::Bytes(bytes) => Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?])),
            Payload::Filled(_) => None,
        }
    }
}

/// Opcodes (RFC 6455 §11.8).
pub const CONTINUATION: u8 = 0x0;
/// Text frame.
pub const TEXT: u8 = 0x1;
/// Close frame.
pub const CLOSE: u8 = 0x8;
/// Ping frame.
pub const PING: u8 = 0x9;
/// Pong frame.
pub const PONG: u8 = 0xa;
