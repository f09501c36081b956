//! Rules of good behaviour at a reconnect, each with its reason and its source. Whether a client keeps them: `judge`.

use super::findings::Findings;
pub use super::judge::Judgement;
use super::judge::{
    cap, close_answer, close_end, first_random, growth, jitter, one_connection, patience, pings, quiet_after_close, refused_stays,
    retry_after, returns, silence, stable_reset, unavailable,
};
use crate::units::parse_duration;
use std::time::Duration;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// As in `--require`.
    pub name: &'static str,
    /// In a sentence.
    pub text: &'static str,
    /// What happens otherwise, and where it is written.
    pub why: &'static str,
    /// Judges; the limit is of `--require NAME<TIME`, or the rule's own.
    judge: fn(&Findings, Option<Duration>) -> Judgement,
    /// The limit, where the rule has one.
    pub limit: Option<Duration>,
}

const MINUTE: Duration = Duration::from_secs(60);

/// All, in the order of a card.
pub const RULES: [Rule; 16] = [
    Rule {
        name: "jitter",
        text: "Waits are random.",
        why: "Clients that were cut together come back together otherwise (AWS Architecture Blog, Exponential Backoff And Jitter, 2015).",
        judge: jitter,
        limit: None,
    },
    Rule {
        name: "first-random",
        text: "The first wait is random and not zero.",
        why: "RFC 6455 §7.2.3: the first attempt after an abnormal closure is to be delayed by a random time.",
        judge: first_random,
        limit: None,
    },
    Rule {
        name: "growth",
        text: "Waits grow while the server cannot be reached.",
        why: "RFC 6455 §7.2.3: further attempts are to be delayed by longer and longer times.",
        judge: growth,
        limit: None,
    },
    Rule {
        name: "cap",
        text: "No wait is longer than a minute.",
        why: "A user who waits longer takes the application for dead.",
        judge: cap,
        limit: Some(MINUTE),
    },
    Rule {
        name: "stable-reset",
        text: "Waits begin anew only after a connection that lasted.",
        why: "A server that accepts and dies at once is hit at the shortest wait otherwise, for as long as it is ill.",
        judge: stable_reset,
        limit: None,
    },
    Rule {
        name: "returns",
        text: "It comes back after a cut, a refused connection, 1001, 1005, 1006, 1011, 1012 and 1013.",
        why: "Servers send these when they restart or are overloaded (IANA registry of close codes); a client that stays away needs a reload.",
        judge: returns,
        limit: None,
    },
    Rule {
        name: "unavailable",
        text: "It comes back after 429 and 503.",
        why: "Both say that it is too early, not that it is useless (RFC 6585 §4, RFC 9110 §15.6.4).",
        judge: unavailable,
        limit: None,
    },
    Rule {
        name: "retry-after",
        text: "It waits as long as Retry-After asks.",
        why: "A server under load has no other way to say when (RFC 9110 §10.2.3). Browsers do not show the header to pages.",
        judge: retry_after,
        limit: None,
    },
    Rule {
        name: "refused-stays",
        text: "It does not come back by itself after 1008, 4401, 401 and 403.",
        why: "The server has said that it does not want this client: the same attempt again gets the same answer, for ever.",
        judge: refused_stays,
        limit: None,
    },
    Rule {
        name: "silence",
        text: "It notices within a minute that the server is gone without a word.",
        why: "A cut cable sends neither FIN nor RST; without a heartbeat the application looks alive and is not.",
        judge: silence,
        limit: Some(MINUTE),
    },
    Rule {
        name: "patience",
        text: "It abandons an opening handshake that is not answered within a minute.",
        why: "A server whose queue is full accepts connections and answers none: without a time-out the client hangs there.",
        judge: patience,
        limit: Some(MINUTE),
    },
    Rule {
        name: "one-connection",
        text: "It never has two connections open.",
        why: "Two open connections of one client double its messages, and the load of a herd.",
        judge: one_connection,
        limit: None,
    },
    Rule {
        name: "close-answer",
        text: "It answers a Close frame with the same code.",
        why: "RFC 6455 §5.5.1: an endpoint that gets a Close frame sends one back, typically with the code that it got.",
        judge: close_answer,
        limit: None,
    },
    Rule {
        name: "close-end",
        text: "It comes back within a minute of a closing handshake, also where the server does not end TCP.",
        why: "RFC 6455 §7.1.1: the server ends TCP first, and a client waits for that; one that waits for ever never comes back.",
        judge: close_end,
        limit: Some(MINUTE),
    },
    Rule {
        name: "quiet-after-close",
        text: "It sends no data after its Close frame.",
        why: "RFC 6455 §5.5.1: no more data frames after a Close frame. They are lost, and their sender does not know.",
        judge: quiet_after_close,
        limit: None,
    },
    Rule {
        name: "pings",
        text: "Of many pings at once it answers at least the last, and stays connected.",
        why: "RFC 6455 §5.5.2 and §5.5.3: a ping is to be answered, of several at once the latest. A server closes connections that do not.",
        judge: pings,
        limit: None,
    },
];

impl Rule {
    /// What a client makes of it, with another limit if one is given.
    pub fn judge(&self, found: &Findings, limit: Option<Duration>) -> Judgement {
        (self.judge)(found, limit.or(self.limit))
    }
}

/// Reads `jitter,cap<60s`.
///
/// # Errors
/// A name that is no rule, a limit where the rule has none, a time that is none.
pub fn requirements(text: &str) -> Result<Vec<(&'static Rule, Option<Duration>)>, String> {
    text.split(',').map(|one| requirement(one.trim())).collect()
}

fn requirement(text: &str) -> Result<(&'static Rule, Option<Duration>), String> {
    let (name, limit) = text.split_once('<').map_or((text, None), |(name, limit)| (name.trim(), Some(limit.trim())));
    let names = || RULES.iter().map(|rule| rule.name);
    let rule = RULES.iter().find(|rule| rule.name == name).ok_or_else(|| {
        let near = crate::units::nearest(name, names()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("unknown rule \"{name}\"{near} Rules: {}", names().collect::<Vec<_>>().join(", "))
    })?;
    let limit = limit.map(|limit| match rule.limit {
        Some(_) => parse_duration(limit).map_err(|error| format!("limit of {name}: {error}")),
        None => Err(format!("{name} has no limit")),
    });
    Ok((rule, limit.transpose()?))
}
