//! What the users of the two sides are told of connections that a kind ended: the expectation of the catalogue in codes.
//!
//! A row names one of these functions beside its words in `expect`. `results::unexpected_codes` lists the endings that differ.

use super::Values;
use crate::close::{ABNORMAL, NO_STATUS, may_be_sent, reported};

/// The codes that a side's user may be told. Empty: the kind ends nothing. `None`: whatever the other side did.
pub type ExpectedCodes = Option<Vec<u16>>;

/// Expected codes of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Of the side that carries the fault out.
    pub own: ExpectedCodes,
    /// Of the other one.
    pub peer: ExpectedCodes,
}

fn told(own: &[u16], peer: &[u16]) -> Told {
    Told { own: Some(own.to_vec()), peer: Some(peer.to_vec()) }
}

/// The connection goes on, or did not open.
pub(super) fn nothing(_: &Values) -> Told {
    told(&[], &[])
}

/// TCP ends without a Close frame.
pub(super) fn abnormal(_: &Values) -> Told {
    told(&[ABNORMAL], &[ABNORMAL])
}

/// Nothing comes any more: a pong deadline ends it, by FIN or, in some libraries, with 1011; or the path answers RST.
pub(super) fn silent(_: &Values) -> Told {
    told(&[ABNORMAL, 1011], &[ABNORMAL, 1011])
}

/// Frames that are missing, doubled or out of order: parts of messages fail the connection, lost pongs pass a deadline.
pub(super) fn meddled(_: &Values) -> Told {
    told(&[1002, ABNORMAL, 1011], &[1002, ABNORMAL, 1011])
}

/// Frames that fail the connection: 1002 in answer, or nothing.
pub(super) fn violation(_: &Values) -> Told {
    told(&[1002, ABNORMAL], &[ABNORMAL])
}

/// Text that is no UTF-8: 1007 in answer, 1002 from some, or nothing.
pub(super) fn bad_text(_: &Values) -> Told {
    told(&[1007, 1002, ABNORMAL], &[ABNORMAL])
}

/// A message over the peer's limit: 1009 in answer, or nothing.
pub(super) fn too_big(_: &Values) -> Told {
    told(&[1009, ABNORMAL], &[ABNORMAL])
}

/// Too many pings: some peers have enough of it.
pub(super) fn flood(_: &Values) -> Told {
    told(&[1008, ABNORMAL], &[1008, ABNORMAL])
}

/// A code in a Close frame: echoed, or where it may not be sent answered with 1002.
fn close(code: Option<u64>) -> Told {
    let code = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(1001);
    if may_be_sent(code) { told(&[code], &[code]) } else { violation(&Values::default()) }
}

/// The parameter `code` in a Close frame.
pub(super) fn code(values: &Values) -> Told {
    close(values.whole("code"))
}

/// An empty Close frame.
pub(super) fn empty(_: &Values) -> Told {
    told(&[NO_STATUS], &[NO_STATUS])
}

/// 1000 in a Close frame.
pub(super) fn normal(_: &Values) -> Told {
    told(&[1000], &[1000])
}

/// The parameter `code` in a Close frame, and TCP ends so soon that the answer, or after RST the code itself, may be lost.
pub(super) fn code_and_end(values: &Values) -> Told {
    or_abnormal(code(values))
}

fn or_abnormal(told: Told) -> Told {
    let more = |codes: ExpectedCodes| codes.map(|codes| codes.into_iter().chain([ABNORMAL]).collect());
    Told { own: more(told.own), peer: more(told.peer) }
}

/// A limit that was reached: `end` or `then` says how.
pub(super) fn limit(values: &Values) -> Told {
    match values.text("end").or(values.text("then")) {
        Some("close") => or_abnormal(code(values)),
        Some("silent") => silent(values),
        _ => abnormal(values),
    }
}

/// The answer to the peer's Close frame never comes: only the other side's deadline, or the end of TCP.
pub(super) fn no_answer(_: &Values) -> Told {
    Told { own: None, peer: Some(vec![ABNORMAL]) }
}

/// The parameter `code` in answer to the peer's Close frame.
pub(super) fn answer(values: &Values) -> Told {
    let code = values.whole("code").and_then(|code| u16::try_from(code).ok());
    Told { own: None, peer: Some(vec![reported(code)]) }
}

/// What the peer did, late.
pub(super) fn anything(_: &Values) -> Told {
    Told { own: None, peer: None }
}

/// Each side has the other's code.
pub(super) fn crossed(values: &Values) -> Told {
    Told { own: close(values.whole("code_c")).peer, peer: close(values.whole("code_s")).peer }
}

/// A killed server has no account; its clients see TCP end.
pub(super) fn killed(_: &Values) -> Told {
    Told { own: None, peer: Some(vec![ABNORMAL]) }
}

/// Each instance ends by `mode`.
pub(super) fn restarted(values: &Values) -> Told {
    if values.text("mode") == Some("crash") { killed(values) } else { code_and_end(values) }
}

/// A sleeper is told at wake what happened meanwhile.
pub(super) fn slept(values: &Values) -> Told {
    if values.text("on_wake") == Some("resume") { Told { own: None, ..silent(values) } } else { silent(values) }
}

/// A share is turned away, perhaps with 1013.
pub(super) fn shed(values: &Values) -> Told {
    if values.text("with") == Some("1013") { told(&[1013], &[1013]) } else { nothing(values) }
}

/// A handler failed.
pub(super) fn failed(values: &Values) -> Told {
    if values.text("end") == Some("drop") { abnormal(values) } else { told(&[1011], &[1011]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Value;

    #[test]
    fn codes_follow_the_parameters() {
        let whole = |name: &str, code| Values([(name.to_owned(), Value::Whole(code))].into());
        let text = |name: &str, word: &str| Values([(name.to_owned(), Value::Text(word.to_owned()))].into());
        for (what, got, own, peer) in [
            ("a code that may be sent is echoed", code(&whole("code", 4000)), vec![4000], vec![4000]),
            ("one that may not is answered with 1002", code(&whole("code", 1006)), vec![1002, 1006], vec![1006]),
            ("a limit by FIN", limit(&text("end", "fin")), vec![1006], vec![1006]),
            ("a limit with a code", limit(&text("end", "close")), vec![1001, 1006], vec![1001, 1006]),
            ("turned away before 101", shed(&text("with", "503")), vec![], vec![]),
        ] {
            assert_eq!(got, told(&own, &peer), "{what}");
        }
        let both = Values([("code_c".to_owned(), Value::Whole(1000)), ("code_s".to_owned(), Value::Whole(4001))].into());
        assert_eq!(crossed(&both), told(&[1000], &[4001]), "the server carries it out");
    }
}
