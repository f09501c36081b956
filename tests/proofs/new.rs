//! `new = true`: a fault reaches connections that open while it is active, too, and none that opens afterwards.

use super::arms::{Server, effect, observe};
use super::frame::PONG;
use super::wire::{Conn, Script, ms};
use closestorm::fault::Effect;
use closestorm::plan::Embedded;
use serde_json::json;

/// Whether the one frame of the fault came.
fn hit(conn: &Conn) -> bool {
    let pongs = conn.of(PONG);
    assert!(pongs.len() <= 1, "once for each connection: {conn:?}");
    pongs.first().is_some_and(|pong| pong.payload == b"unsolicited")
}

#[tokio::test]
async fn clients_that_connect_later_are_hit_where_the_fault_is_for_new_ones() {
    let scenario = |new: bool| {
        format!(
            "[clients.web]\ncount = 4\narrive = {{ over = \"1200ms\" }}\nreconnect = \"none\"\n\
             [[faults]]\nname = \"f\"\nat = \"450ms\"\nside = \"client\"\nnew = {new}\ninject = {{ pong_unsolicited = {{}} }}\n"
        )
    };
    let (new, old) = (scenario(true), scenario(false));
    let ((with, run), (without, control)) = tokio::join!(observe(&new, |_| Script::default()), observe(&old, |_| Script::default()));
    assert!(with.len() == 4 && with.values().all(hit), "{with:?}");
    let open: Vec<_> = without.values().map(hit).collect();
    assert_eq!(open, [true, true, false, false], "only those that were open at the firing");
    assert_eq!((run.fault("f").selected, run.fault("f").injected), (4, 4));
    assert_eq!((control.fault("f").selected, control.fault("f").injected), (2, 2));
}

#[tokio::test]
async fn a_server_hits_connections_that_open_while_the_fault_stands() {
    let mut server = Server::start(&Embedded::default()).await;
    let Effect::Connection { gate, steps } = effect("pong_unsolicited = {}") else { panic!("of a connection") };
    let mut conns = Vec::new();
    for client in 0..4 {
        if client == 1 {
            server.allow_hits(2);
            let standing = json!({ "clients": null, "pick": "All", "stream": "proof", "bounded": true });
            let dose = json!({ "firing": { "fault": 3, "number": 0 }, "gate": gate, "steps": steps });
            server.tell(&json!({ "InjectNew": { "dose": dose, "standing": standing } })).await;
            // The server reads what it is told in its own time: a listener's word that comes behind it says that it has.
            server.tell(&json!({ "Listener": { "firing": { "fault": 9, "number": 0 }, "on": { "Files": 1000 }, "instance": null } })).await;
            server.reported("Reached", 1).await;
        }
        let mut conn = Conn::open(server.port, Some(&format!("{client}/1"))).await;
        conn.play(&Script::default(), ms(300)).await;
        conns.push(conn);
    }
    assert_eq!(conns.iter().map(hit).collect::<Vec<_>>(), [false, true, true, false], "not before it stood, nor beyond `first_n`");
    let told = server.reported("Injected", 2).await;
    let clients: Vec<_> = told.iter().filter_map(|line| line["id"]["client"].as_u64()).collect();
    assert_eq!(clients, [1, 2]);
}
