//! Every kind of fault on every side, seen by an observer that shares no code with the program: bytes, FIN or RST, and when.
//!
//! Each proof runs twice at the same time, with the injector and without it. What proves the fault must show on the connections that
//! were selected, and nowhere else: not on their neighbours, and not in the run without the injector. Then what the run recorded must
//! be what the observer saw. The observer is in `wire` and `frame`, the two arms are in `arms`.

mod accounts;
mod arms;
mod attempts;
mod client_side;
mod frame;
mod handshake;
mod listener;
mod process;
mod select;
mod server_side;
mod wire;

use closestorm::fault::{Form, Side, rows};

#[test]
fn every_kind_is_proved_on_every_side() {
    let (client, server) = (include_str!("client_side.rs"), include_str!("server_side.rs"));
    let (attempts, process) = (include_str!("attempts.rs"), include_str!("process.rs"));
    let handshake = concat!(include_str!("handshake.rs"), include_str!("listener.rs"));
    for row in rows() {
        for side in row.sides {
            let proofs = match (row.form, side) {
                (Form::Attempts, Side::Server) => attempts,
                (Form::Listener, Side::Server) | (Form::Attempts, Side::Client) => handshake,
                (Form::Process { .. }, Side::Server) => process,
                (Form::Instant | Form::Holding, Side::Client) => client,
                (Form::Instant | Form::Holding, Side::Server) => server,
                other => panic!("{}: nobody proves {other:?}", row.kind),
            };
            let proof = format!("{} = {{", row.kind);
            assert!(proofs.contains(&proof) || handshake.contains(&proof), "{} on the side of the {side:?} has no proof", row.kind);
        }
    }
}
