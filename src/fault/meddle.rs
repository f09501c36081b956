//! What is asked of whole frames on their way: data, which the frame queue of a connection carries out.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happens to a share of the frames in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meddle {
    /// Chance of each frame, 0 to 1.
    pub chance: f64,
    /// Opcodes it applies to, a bit for each; never Close.
    pub opcodes: u16,
    /// What happens.
    pub how: Meddling,
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meddling {
    /// It vanishes.
    Drop,
    /// It comes twice, one right behind the other.
    Duplicate,
    /// It lets others overtake it.
    Reorder {
        /// How many.
        by: u32,
        /// Longest wait for them.
        within: Duration,
    },
    /// It is late; others overtake it.
    Delay(Duration),
    /// Bits of its payload are flipped; its header and masking key stay.
    Corrupt {
        /// How many, each another one; in a payload that has fewer, all.
        bits: u32,
    },
    /// Every byte of its payload is inverted; an empty one has one byte. Of a pong: it answers no ping.
    Invert,
}

impl Meddle {
    /// Whether it applies to frames with this opcode.
    pub fn applies(&self, opcode: u8) -> bool {
        self.opcodes >> (opcode & 0x0f) & 1 == 1
    }
}
