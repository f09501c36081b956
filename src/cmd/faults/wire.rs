//! What a kind puts on the wire with its defaults, in bytes: made from the steps that the engine carries out.

use crate::fault::{Effect, Frame, Injection, InjectionStep, KindRow, Payload, Side};
use crate::units::Bytes;
use crate::ws::frame::encode;

/// Payload bytes that are shown of a long frame.
const SHOWN: usize = 12;
/// Length of a control frame's longest payload, of which the beginning says enough.
const LONG: usize = 24;
/// Masking key of the examples of RFC 6455 §5.7.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a server sends, step by step; `None` for kinds that only change what is sent anyway.
pub(super) fn on_the_wire(row: &'static KindRow) -> Option<String> {
    let injection = Injection { row, values: row.defaults() };
    let Effect::Connection { steps, .. } = injection.effect(Side::Server) else { return None };
    let words: Vec<_> = steps.iter().map(step).collect();
    (!words.is_empty()).then(|| words.join(", then "))
}

fn step(step: &InjectionStep) -> String {
    step.on_the_wire().map_or_else(|words| words, |frames| frames.iter().map(frame).collect::<Vec<_>>().join(", "))
}

/// A frame's bytes in hexadecimal; of a long one the header and the beginning.
fn frame(whole: &Frame) -> String {
    let length = match &whole.payload {
        Payload::Bytes(bytes) => bytes.len() as u64,
        Payload::Filled(count) => *count,
    };
    let mut shown = whole.clone();
    if length > LONG as u64 {
        shown.declared = Some(whole.declared.unwrap_or(length));
        shown.payload = Payload::Bytes(match &whole.payload {
            Payload::Bytes(bytes) => bytes[..SHOWN].to_vec(),
            Payload::Filled(_) => vec![b'x'; SHOWN],
        });
    }
    let bytes = encode(&shown, whole.wrong_mask.then_some(MASK));
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let more = if length > LONG as u64 { format!(" … ({} of payload)", Bytes(length)) } else { String::new() };
    hex.join(" ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::row;

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        for (kind, wire) in [
            ("close_code", Some("88 02 03 e9")), // Close 1001
            ("close_empty", Some("88 00")),
            ("drop_rst", Some("RST")),
            ("pong_unsolicited", Some("8a 0b 75 6e 73 6f 6c 69 63 69 74 65 64")),
            ("frame_oversize", Some("82 7f 00 00 00 00 01 10 00 00 78 78 78 78 78 78 78 78 78 78 78 78 … (17MiB of payload)")),
            // A masked frame from a server; "mask" under the key 37 fa 21 3d.
            ("frame_mask_violation", Some("81 84 37 fa 21 3d 5a 9b 52 56")),
            ("close_ack_delay", None),
            ("server_crash", None),
        ] {
            assert_eq!(on_the_wire(row(kind).expect("a kind")).as_deref(), wire, "{kind}");
        }
    }
}
