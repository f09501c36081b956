//! The list of fault kinds, what they ask of a connection, an attempt or a process, and how several combine.
//!
//! A kind is one documented [`KindRow`] beside its siblings in the file of its mechanism. Its `effect` turns parameters into an
//! [`Effect`]: data without socket, clock or random source, which `transport::link`, `ws` and `run` carry out. None of
//! those names a kind.

mod attempt;
mod closing;
mod effect;
mod end;
mod enough;
pub mod expected_codes;
mod frame;
mod frame_faults;
mod frames;
mod gate;
mod handshake;
mod limits;
pub mod liveness;
mod meddle;
mod on_process;
mod path;
mod process;
mod proxied;
mod row;
pub mod shape;
mod step;
mod transport;
mod values;

pub use attempt::{OnAttempt, OnListener, RequestEdit, ResponseEdit, Shedding};
pub use effect::{Acts, Effect, Leaves};
pub use end::End;
pub use enough::{EffectLimit, HowEnough, Since};
pub use frame::{CLOSE, CONTINUATION, Frame, LengthForm, PING, PONG, Payload, TEXT};
pub use gate::{CloseAck, ConnectionEffects, Flood, Flow};
pub use meddle::{Meddle, Meddling};
pub use on_process::OnProcess;
pub use proxied::{beside, proxied_rows};
pub use row::{Form, Injection, KindRow, Layer, Param, Side, ValueShape};
pub use step::InjectionStep;
pub use values::{Value, Values};

/// All kinds, by layer, in the order of the catalogue.
pub fn rows() -> impl Iterator<Item = &'static KindRow> {
    [handshake::ROWS, transport::ROWS, path::ROWS, limits::ROWS, frames::ROWS, frame_faults::ROWS, closing::ROWS, process::ROWS]
        .into_iter()
        .flatten()
}

/// The row of a kind.
pub fn row(kind: &str) -> Option<&'static KindRow> {
    rows().find(|row| row.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_unique_and_documented() {
        let mut kinds: Vec<_> = rows().map(|row| row.kind).collect();
        kinds.sort_unstable();
        kinds.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        for row in rows() {
            assert!(!row.sides.is_empty() && !row.summary.is_empty() && !row.expect.is_empty() && !row.source.is_empty(), "{}", row.kind);
        }
    }
}
