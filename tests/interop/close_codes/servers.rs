//! Real server libraries with our clients, one for each thing of the list that clients can do to them.
//!
//! All libraries are measured at the same time, each in a run of its own.

use super::super::{Run, detail, events};
use super::library::{Heard, Library, OBSERVED, Told};
use super::table::{Line, Side};
use super::ways::{Act, Peer, WAYS, Way};
use closestorm::results::Loaded;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

/// In the order of the columns.
const LIBRARIES: [&str; 3] = ["ws", "websockets", "aiohttp"];
/// When faults fire, and how much later a server closes that is to.
const AT: Duration = Duration::from_secs(1);
/// From the opening of a connection to the end of the time in which its server is watched.
const WATCHED: Duration = AT.saturating_add(OBSERVED);
/// Clients that all open at once on a busy machine are open so long before that.
const SPARE: Duration = Duration::from_secs(2);

fn ways() -> impl Iterator<Item = &'static Way> + Clone {
    WAYS.iter().filter(|way| way.to_servers)
}

fn inject(way: &Way) -> &'static str {
    let Act::Inject(inject) = way.act else { panic!("{}: not a fault", way.title) };
    inject
}

/// Its faults act on attempts: on the second of a client, because the first is under way when the fault fires.
fn on_attempts(way: &Way) -> bool {
    let kind = inject(way).split(' ').next();
    kind.and_then(closestorm::fault::row).is_some_and(|row| row.form == closestorm::fault::Form::Attempts)
}

fn can(library: &str, way: &Way) -> bool {
    way.peer != Peer::Pings || library != "ws"
}

/// A client for each way.
fn scenario(port: u16) -> String {
    let mut text = format!("duration = \"{}ms\"\n[target.url]\naddress = \"ws://127.0.0.1:{port}/\"\n", (WATCHED + SPARE).as_millis());
    for (number, way) in ways().enumerate() {
        let mut query = format!("watched={}", WATCHED.as_millis());
        match way.peer {
            Peer::Closes => write!(query, "&close={}", (AT * 2).as_millis()).unwrap(),
            Peer::Pings => query += "&keepalive=1",
            Peer::Waits => {}
        }
        let (stay, at) = if on_attempts(way) { ("stay = { for = \"400ms\", return = \"200ms\" }\n", AT / 5) } else { ("", AT) };
        write!(
            text,
            "[clients.w{number}]\ncount = 1\nmax_message = \"64MiB\"\narrive = {{ at_once = true }}\nreconnect = \"none\"\nquery = \"{query}\"\n{stay}\
             [[faults]]\nat = \"{}ms\"\nside = \"client\"\nselect = {{ cohort = \"w{number}\" }}\ninject = {{ {} }}\n",
            at.as_millis(),
            inject(way)
        )
        .unwrap();
    }
    text
}

/// Measures all.
pub(super) async fn measure() -> Side {
    let mut measuring = tokio::task::JoinSet::new();
    for library in LIBRARIES {
        measuring.spawn(measure_one(library));
    }
    let mut side = Side { versions: BTreeMap::new(), lines: ways().map(Line::new).collect() };
    while let Some(one) = measuring.join_next().await {
        let (library, versions, heard, loaded) = one.unwrap();
        side.versions.extend(versions);
        for (number, way) in ways().enumerate().filter(|(_, way)| can(library, way)) {
            let connection = if on_attempts(way) { 2 } else { 1 };
            let cell = heard.cell(&format!("{number}/{connection}"), Some("over"), wire(&loaded, way, number as u32, connection));
            side.lines[number].cells.insert(library.to_owned(), cell);
        }
    }
    side
}

async fn measure_one(library: &'static str) -> (&'static str, BTreeMap<String, String>, Heard, Loaded) {
    let (say, mut said) = unbounded_channel();
    let program = Library::start(library, "servers", 0, &say);
    drop(say);
    let Some((_, Told { versions: Some(versions), port: Some(port), .. })) = said.recv().await else { panic!("{library} does not listen") };
    let run = Run::new();
    let loaded = tokio::task::spawn_blocking(move || {
        let file = run.file(&scenario(port));
        run.load(&file, &[])
    });
    let loaded = loaded.await.unwrap();
    program.end().await;
    let mut heard = Heard::default();
    while let Some((_, told)) = said.recv().await {
        heard.push(told);
    }
    (library, versions, heard, loaded)
}

/// What our client saw of the library while it was watched.
fn wire(loaded: &Loaded, way: &Way, client: u32, connection: u32) -> Option<String> {
    let of = |name: &'static str| events(loaded, name).find(move |row| row.client == Some(client) && row.connection == Some(connection));
    let Some(opened) = of("opened") else {
        let failed = events(loaded, "attempt_failed").find(|row| row.client == Some(client))?;
        let pairs = detail(failed);
        return Some(pairs.get("status").map_or_else(|| pairs["outcome"].clone(), |status| format!("HTTP {status}")));
    };
    let Some(ended) = of("ended").filter(|row| !way.holds_tcp() && row.offset_us < opened.offset_us + WATCHED.as_micros() as u64) else {
        return Some("nothing".to_owned());
    };
    let pairs = detail(ended);
    let close = pairs["wire_received"].parse().ok();
    Some(super::table::wire(close, &pairs["tcp_end"]))
}
