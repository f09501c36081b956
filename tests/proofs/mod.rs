//! Every kind of fault on every side, seen by an observer that shares no code with the program: bytes, FIN or RST, and when.
//!
//! Each proof runs twice at the same time, with the injector and without it. What proves the fault must show on the connections that
//! were selected, and nowhere else: not on their neighbours, and not in the run without the injector. Then what the run recorded must
//! be what the observer saw. The observer is in `wire` and `frame`, the two arms are in `arms`.

mod accounts;
mod arms;
mod attempts;
mod client_side;
mod findings;
mod frame;
mod frames;
mod handshake;
mod limits;
mod listener;
mod meddling;
mod new;
mod oversize;
mod path;
mod path_runs;
mod peers;
mod process;
mod proxied;
mod proxied_crowd;
mod ready;
mod receive;
mod select;
mod served;
mod server_side;
mod session;
mod tls;
mod wire;

use closestorm::fault::{Side, rows};

/// Files with proofs, and the sides of whose connections they prove the faults.
const FILES: &[(&[Side], &str)] = &[
    (&[Side::Client], include_str!("client_side.rs")),
    (&[Side::Server], include_str!("server_side.rs")),
    (&[Side::Server], include_str!("attempts.rs")),
    (&[Side::Server], include_str!("process.rs")),
    (&[Side::Client, Side::Server], include_str!("frames.rs")),
    (&[Side::Client, Side::Server], include_str!("path.rs")),
    (&[Side::Client, Side::Server], include_str!("meddling.rs")),
    (&[Side::Client, Side::Server], include_str!("handshake.rs")),
    (&[Side::Client, Side::Server], include_str!("listener.rs")),
    (&[Side::Client, Side::Server], include_str!("limits.rs")),
];

#[test]
fn every_kind_is_proved_on_every_side() {
    let (client, server) = include_str!("session.rs").split_once("\nmod server_side").expect("a module for each side");
    let session: [(&[Side], &str); 2] = [(&[Side::Client], client), (&[Side::Server], server)];
    let proved = |kind: &str, side: &Side| {
        let wanted = [format!("{kind} = {{"), format!("{kind}()]")];
        FILES.iter().chain(&session).any(|(sides, text)| sides.contains(side) && wanted.iter().any(|wanted| text.contains(wanted)))
    };
    let pairs = rows().flat_map(|row| row.sides.iter().map(|side| (row.kind, side)));
    let missing: Vec<_> = pairs.filter(|(kind, side)| !proved(kind, side)).collect();
    assert_eq!(missing, [], "kinds without a proof on a side");
}
