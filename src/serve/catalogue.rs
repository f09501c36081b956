//! What each step does, in words: for the page of `serve`, the body of a 400, `--help`, and the documents.

use crate::fault::{self, Effect, Form, Injection, KindRow, Layer, Side};
use crate::units::nearest;

/// A step that is no kind of fault.
#[derive(Clone, Copy, Debug)]
pub struct OwnStep {
    /// As in a path, with its arguments in capitals.
    pub usage: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What the client sees.
    pub expect: &'static str,
    /// A path that shows it.
    pub example: &'static str,
}

/// Steps that are no kinds of faults.
pub const OWN: [OwnStep; 10] = [
    OwnStep {
        usage: "echo",
        does: "sends every message back, until the client closes. The server does this during all other steps, too, but for page.",
        expect: "client: its own messages",
        example: "/echo",
    },
    OwnStep { usage: "message/TEXT", does: "sends a text message", expect: "client: that message", example: "/message/hello" },
    OwnStep {
        usage: "repeat/TEXT/TIME",
        does: "sends the same text message again and again, the first at once, while later steps go on",
        expect: "client: a message every TIME",
        example: "/repeat/tick/1s",
    },
    OwnStep {
        usage: "wait/TIME",
        does: "waits before the next step. Before a step of the opening handshake it waits with the answer.",
        expect: "client: nothing",
        example: "/wait/1s/drop_rst",
    },
    OwnStep {
        usage: "pings/COUNT",
        does: "sends so many pings at once, each with another payload: its number, from 0, in four bytes",
        expect: "client: nothing; it answers each of them, or the latest",
        example: "/wait/1s/pings/1000",
    },
    OwnStep {
        usage: "close/CODE",
        does: "starts the closing handshake with a status code (default 1000) and the reason of ?reason=; as close_code",
        expect: "client: that code and reason, clean; for a code that may not be sent 1006",
        example: "/close/1011?reason=oops",
    },
    OwnStep {
        usage: "flaky/PERCENT/STEP",
        does: "carries the step behind it out on this share of the connections, at random from the seed",
        expect: "client: sometimes what the step does",
        example: "/flaky/20/drop_rst",
    },
    OwnStep {
        usage: "subprotocol/NAME",
        does: "answers the opening handshake with this subprotocol, whatever the client offers",
        expect: "client: that subprotocol, or a failed opening handshake if it did not offer it",
        example: "/subprotocol/chat",
    },
    OwnStep {
        usage: "no-subprotocol",
        does: "answers the opening handshake without a subprotocol",
        expect: "client: no subprotocol; a browser that offered some fails the opening handshake",
        example: "/no-subprotocol",
    },
    OwnStep {
        usage: "page",
        does: "greets, sends a second message after 5 s and closes with 1000 \"Normal closure\"; sends nothing back",
        expect: "client: two messages, then 1000 \"Normal closure\", clean",
        example: "/page",
    },
];

/// Whether a server can do a kind to one connection, so that it is a step.
pub fn is_step(row: &KindRow) -> bool {
    let one = matches!(row.form, Form::Instant | Form::Holding | Form::Attempts);
    let effect = Injection { row: fault::row(row.kind).unwrap_or_else(|| unreachable!("a row of the list")), values: row.defaults() };
    // Of both ends only one is ours.
    one && row.sides.contains(&Side::Server) && !matches!(effect.effect(Side::Server), Effect::BothEnds { .. })
}

/// Kinds that are steps.
pub fn kinds() -> impl Iterator<Item = &'static KindRow> {
    fault::rows().filter(|row| is_step(row))
}

/// Groups of kinds, in the order in which they are listed.
pub const GROUPS: [(Layer, &str); 5] = [
    (Layer::Handshake, "Opening handshake"),
    (Layer::Transport, "TCP connection"),
    (Layer::Frames, "Frames"),
    (Layer::Closing, "Closing handshake"),
    (Layer::Process, "Overload and errors of the server"),
];

/// Kinds that are steps and act on this layer.
pub fn of_layer(layer: Layer) -> impl Iterator<Item = &'static KindRow> {
    kinds().filter(move |row| row.layer == layer)
}

/// A path that shows a kind. One that only shows when messages pass has some.
pub fn example(row: &KindRow) -> String {
    let query = row.params.iter().find_map(|param| Some(format!("?{}={}", param.name, param.default?.replace(' ', "+"))));
    format!("/{}{}", row.kind, query.unwrap_or_default())
}

/// When a kind acts, as far as it is not at once.
pub fn when(row: &KindRow) -> &'static str {
    match row.form {
        Form::Attempts => "Acts right after the request was read, in place of a prompt and proper answer.",
        Form::Holding => "Holds to the end of the connection, or as long as ?for= says.",
        _ => "",
    }
}

/// What is said of a step that there is not: the nearest, and all.
pub(super) fn unknown(name: &str) -> String {
    let own = OWN.iter().filter_map(|step| step.usage.split('/').next());
    let near = nearest(name, own.chain(kinds().map(|row| row.kind)));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("unknown step `{name}`{near}\n\n{}", list())
}

/// All steps, a line each.
pub fn list() -> String {
    let own = OWN.iter().map(|step| (step.usage, step.does));
    let lines = own.chain(kinds().map(|row| (row.kind, row.summary)));
    let lines: String = lines.map(|(name, does)| format!("  /{name:<25} {does}\n")).collect();
    format!("Steps:\n{lines}\nParameters are query keys: /close_ack_delay?delay=10s; STEP.key where two steps have the same one.\n")
}
