//! What of a scenario is a secret, and how it is shown: `***` for what is written out, `${VAR}` for what a variable holds.
//!
//! The one place that decides this. Texts are taken as they stand in a scenario, before variables are filled in: `${VAR}` is no secret,
//! the word beside it may be. Which keys of a scenario go to a target is the business of `scenario::stored`.

use crate::lock::lock;
use crate::text::percent_decoded;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

/// Stands for a secret.
pub const MASK: &str = "***";

/// A name that has one of these in it is that of a secret, in any case.
const WORDS: &[&str] = &[
    "token",
    "key",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "jwt",
    "auth",
    "cred",
    "cookie",
    "session",
    "sessid",
    "signature",
    "bearer",
    "otp",
];
/// So is a name that is one of these.
const NAMES: &[&str] = &["pass", "sid", "sig", "code", "pin", "ticket"];
/// First words of an Authorization header, which say of what kind the secret behind them is.
const SCHEMES: &[&str] = &["basic", "bearer", "digest", "token", "apikey", "negotiate", "hmac"];
/// Shorter values are not looked for in other texts: they would be found where they mean something else. Bytes.
const VALUE_MIN: usize = 6;

/// Places in a text, ascending.
type Spans = Vec<Range<usize>>;

/// What holds a text that goes to a target, and so where in it secrets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A URL: userinfo, and what its query and fragment have under the name of a secret.
    Address,
    /// A query without `?`.
    Query,
    /// The value of the header or of the variable of the environment with this name.
    Field(&'a str),
    /// The name of a subprotocol, behind the one before it, if any.
    Subprotocol(Option<&'a str>),
    /// A command line, or any other text: URLs, `name=value`, `--name value`, `"name": "value"`.
    Text,
}

/// Whether what has this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word)) || NAMES.contains(&name.as_str())
}

/// A text as it may be shown and stored.
pub fn mask(holder: Holder<'_>, text: &str) -> String {
    replaced(text, &spans(holder, text), |_| MASK.to_owned())
}

/// A text with something else in place of each secret that is written out.
pub fn replace(holder: Holder<'_>, text: &str, mut with: impl FnMut(&str) -> String) -> String {
    replaced(text, &spans(holder, text), |secret| with(secret))
}

/// A URL as it may be shown, also one that is wrong.
pub fn mask_address(text: &str) -> String {
    mask(Holder::Address, text)
}

/// Any text as it may be shown, as long as it was, so that places in it stay where they are.
pub fn starred(text: &str) -> String {
    replaced(text, &spans(Holder::Text, text), |secret| "*".repeat(secret.len()))
}

/// Where the secrets of a text stand.
fn spans(holder: Holder<'_>, text: &str) -> Spans {
    let mut spans = Spans::new();
    let all = 0..text.len();
    match holder {
        Holder::Address => address(text, all, &mut spans),
        Holder::Query => query(text, all, &mut spans),
        Holder::Field(name) => field(name, text, &mut spans),
        Holder::Subprotocol(before) => subprotocol(before, text, &mut spans),
        Holder::Text => free(text, &mut spans),
    }
    spans.sort_by_key(|span| span.start);
    spans
}

fn replaced(text: &str, spans: &[Range<usize>], mut with: impl FnMut(&str) -> String) -> String {
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for span in spans {
        // One inside another was replaced with it.
        if span.start >= from {
            out += &text[from..span.start];
            out += &with(&text[span.clone()]);
            from = span.end;
        }
    }
    out + &text[from..]
}

/// A piece of a text as written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Range<usize>),
    /// `${VAR}` or `${VAR:-default}`; the place of its default, which may be empty.
    Variable(Range<usize>, Range<usize>),
}

/// The pieces of a part of a text; together they are all of it. `$${` is literal.
fn pieces(text: &str, part: Range<usize>) -> Vec<Piece> {
    let (mut pieces, mut literal, mut from) = (Vec::new(), part.start, part.start);
    while let Some(start) = text[from..part.end].find("${").map(|at| from + at) {
        let escaped = start > part.start && text.as_bytes()[start - 1] == b'$';
        let end = text[start..part.end].find('}').map(|at| start + at + 1);
        let (false, Some(end)) = (escaped, end) else {
            from = start + 2;
            continue;
        };
        if start > literal {
            pieces.push(Piece::Literal(literal..start));
        }
        let default = text[start..end - 1].find(":-").map_or(end - 1, |at| start + at + 2);
        pieces.push(Piece::Variable(start..end, default..end - 1));
        (literal, from) = (end, end);
    }
    if part.end > literal {
        pieces.push(Piece::Literal(literal..part.end));
    }
    pieces
}

/// The text with variables that have nothing in them that separates; bytes stay where they are.
fn without_variables(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for piece in pieces(text, 0..text.len()) {
        if let Piece::Variable(at, _) = piece {
            bytes[at].fill(b'v');
        }
    }
    bytes
}

/// All of a part is secret but its variables.
fn literals(text: &str, part: Range<usize>, spans: &mut Spans) {
    for piece in pieces(text, part) {
        let (Piece::Literal(at) | Piece::Variable(_, at)) = piece;
        // A colon between two variables separates user and password.
        if !at.is_empty() && ![MASK, ":"].contains(&&text[at.clone()]) {
            spans.push(at);
        }
    }
}

/// Defaults of variables that are URLs themselves.
fn defaults(text: &str, part: Range<usize>, spans: &mut Spans) {
    for piece in pieces(text, part) {
        if let Piece::Variable(_, default) = piece
            && text[default.clone()].contains("://")
        {
            let inner = &text[default.clone()];
            let mut found = Spans::new();
            address(inner, 0..inner.len(), &mut found);
            spans.extend(found.into_iter().map(|span| span.start + default.start..span.end + default.start));
        }
    }
}

fn address(text: &str, part: Range<usize>, spans: &mut Spans) {
    let shadow = without_variables(text);
    let first =
        |from: usize, set: &[u8]| shadow[from..part.end].iter().position(|byte| set.contains(byte)).map_or(part.end, |at| from + at);
    let bare = part.start + if shadow[part.clone()].starts_with(b"//") { 2 } else { 0 };
    let scheme = shadow[part.clone()].windows(3).position(|three| three == b"://").map_or(bare, |at| part.start + at + 3);
    let mut end = first(scheme, b"/?#");
    let at_sign = |end: usize| shadow[scheme..end].iter().rposition(|byte| *byte == b'@').map(|at| scheme + at);
    let mut user = at_sign(end);
    // A password with `/` in it that is not encoded: then what stands before it looks like a host with a wrong port.
    let port = shadow[scheme..end].iter().rposition(|byte| *byte == b':').map(|at| &shadow[scheme + at + 1..end]);
    let plain = |port: &[u8]| port == b"{port}" || port.ends_with(b"]") || port.iter().all(|byte| byte.is_ascii_digit() || *byte == b'v');
    let wrong = port.is_some_and(|port| !plain(port));
    if user.is_none() && wrong {
        user = at_sign(part.end);
        end = user.map_or(end, |at| first(at, b"/?#"));
    }
    if let Some(at) = user {
        literals(text, scheme..at, spans);
    }
    defaults(text, part.clone(), spans);
    let from = user.unwrap_or(scheme).max(end);
    let (question, hash) = (first(from, b"?#"), first(from, b"#"));
    for segment in split(&shadow, from..question, b"/") {
        spans.extend(is_token(&text[segment.clone()]).then_some(segment));
    }
    if question < hash {
        query(text, question + 1..hash, spans);
    }
    if hash < part.end {
        query(text, hash + 1..part.end, spans);
    }
}

/// The parts between separators.
fn split(shadow: &[u8], part: Range<usize>, separators: &[u8]) -> Vec<Range<usize>> {
    let (mut parts, mut from) = (Vec::new(), part.start);
    for at in part.clone().filter(|at| separators.contains(&shadow[*at])) {
        parts.push(from..at);
        from = at + 1;
    }
    parts.push(from..part.end);
    parts
}

fn query(text: &str, part: Range<usize>, spans: &mut Spans) {
    let shadow = without_variables(text);
    for pair in split(&shadow, part, b"&;") {
        let equals = shadow[pair.clone()].iter().position(|byte| *byte == b'=').map(|at| pair.start + at);
        let (name, value) = equals.map_or((pair.start..pair.start, pair.clone()), |at| (pair.start..at, at + 1..pair.end));
        let name = &text[name];
        if is_secret_name(&percent_decoded(name).unwrap_or_else(|| name.to_owned())) || is_token(&text[value.clone()]) {
            literals(text, value, spans);
        }
    }
}

/// Whether a text is a JSON Web Token, whatever its name.
fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.len() > 20
}

fn field(name: &str, text: &str, spans: &mut Spans) {
    let shadow = without_variables(text);
    let all = 0..text.len();
    if name.eq_ignore_ascii_case("cookie") || name.eq_ignore_ascii_case("set-cookie") {
        for pair in split(&shadow, all, b";") {
            let equals = shadow[pair.clone()].iter().position(|byte| *byte == b'=');
            let value = equals.map_or(pair.start, |at| pair.start + at + 1)..pair.end;
            let blank = text[value.clone()].len() - text[value.clone()].trim_start().len();
            literals(text, value.start + blank..value.end, spans);
        }
    } else if is_secret_name(name) {
        let scheme = text.find(' ').filter(|at| SCHEMES.contains(&text[..*at].to_ascii_lowercase().as_str()));
        literals(text, scheme.map_or(0, |at| at + 1)..text.len(), spans);
    } else if is_token(text) {
        literals(text, all, spans);
    } else {
        free(text, spans);
        defaults(text, all, spans);
    }
}

fn subprotocol(before: Option<&str>, text: &str, spans: &mut Spans) {
    let ends_secret = |text: &str| WORDS.iter().any(|word| text.to_ascii_lowercase().ends_with(word)) || text.ends_with("authorization");
    let lower = String::from_utf8_lossy(&without_variables(text)).to_ascii_lowercase();
    let behind = |word: &&str| {
        let at = lower.rfind(*word)?;
        lower[at..].find(['-', '.', '_', '~', '|', '+', '!']).map(|separator| at + separator + 1)
    };
    // As browsers do, which cannot set headers: the name first, then the secret as the name of another subprotocol.
    if before.is_some_and(|before| ends_secret(&before.to_ascii_lowercase())) || is_token(text) {
        literals(text, 0..text.len(), spans);
    } else if let Some(from) = WORDS.iter().filter_map(behind).max() {
        literals(text, from..text.len(), spans);
    }
}

/// Secrets of a text of which only the form is known.
fn free(text: &str, spans: &mut Spans) {
    let shadow = without_variables(text);
    let stop = |byte: u8| byte.is_ascii_whitespace() || b"\"'`<>,)".contains(&byte);
    for (at, _) in text.match_indices("://") {
        let end = (at..text.len()).find(|at| stop(shadow[*at])).unwrap_or(text.len());
        let start = (0..at).rev().find(|at| !shadow[*at].is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        if shadow[at] != b'v' {
            address(text, start..end, spans);
        }
    }
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    for (at, byte) in shadow.iter().enumerate().filter(|(_, byte)| b"=: ".contains(byte)) {
        // The name before it, which may stand in quotes.
        let before = text[..at].trim_end();
        let quoted = before.ends_with(['"', '\'']);
        let before = before.trim_end_matches(['"', '\'']);
        let start = shadow[..before.len()].iter().rposition(|byte| !named(byte)).map_or(0, |at| at + 1);
        let name = &before[start.min(before.len())..];
        let header = is_secret_name(name) && (name.to_ascii_lowercase().ends_with("authorization") || name.eq_ignore_ascii_case("cookie"));
        let means = match byte {
            b'=' => true,
            b':' => quoted || header,
            _ => name.starts_with("--"),
        };
        if *byte == b'=' && name == "subprotocols" {
            list(text, &shadow, at + 1, spans);
        }
        if !means || !is_secret_name(name.trim_start_matches('-')) {
            continue;
        }
        let value = at + 1 + shadow[at + 1..].iter().take_while(|byte| **byte == b' ').count();
        let end_of = |ends: &dyn Fn(u8) -> bool, from: usize| (from..text.len()).find(|at| ends(shadow[*at])).unwrap_or(text.len());
        match shadow.get(value).copied() {
            Some(quote @ (b'"' | b'\'')) => {
                let mut end = value + 1;
                while end < text.len() && shadow[end] != quote && shadow[end] != b'\n' {
                    end += if shadow[end] == b'\\' && quote == b'"' { 2 } else { 1 };
                }
                literals(text, value + 1..end.min(text.len()), spans);
            }
            Some(b'{' | b'[' | b'=' | b'-') | None => {}
            Some(_) if *byte == b':' && header && !quoted => {
                literals(text, value..end_of(&|byte| b"\r\n\"'".contains(&byte), value), spans)
            }
            Some(_) => {
                let value = value..end_of(&|byte| stop(byte) || b"&;}]".contains(&byte), value);
                // Everywhere in scenarios, and no secret: `close_code = { code = 1012 }`.
                let is_close_code = name == "code" && text[value.clone()].parse().is_ok_and(|code: u16| (1000..5000).contains(&code));
                if !is_close_code {
                    literals(text, value, spans);
                }
            }
        }
    }
}

/// A list of names of subprotocols in quotes.
fn list(text: &str, shadow: &[u8], from: usize, spans: &mut Spans) {
    let end = shadow[from..].iter().position(|byte| *byte == b']').map_or(text.len(), |end| from + end);
    let quotes: Vec<usize> = (from..end).filter(|at| shadow[*at] == b'"' || shadow[*at] == b'\'').collect();
    let mut before = None;
    for pair in quotes.chunks(2) {
        let one = pair[0] + 1..pair.get(1).copied().unwrap_or(end);
        let mut found = Spans::new();
        subprotocol(before, &text[one.clone()], &mut found);
        spans.extend(found.into_iter().map(|span| span.start + one.start..span.end + one.start));
        before = Some(&text[one]);
    }
}

/// What variables of a scenario held, and which texts must not be shown.
///
/// Prints nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Each variable that was filled in, and what it held.
    variables: BTreeMap<String, String>,
    /// What is not shown, the longest first, and what stands for it.
    hidden: BTreeMap<(Reverse<usize>, String), String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} variables, {} texts)", self.variables.len(), self.hidden.len())
    }
}

impl Secrets {
    /// With these variables.
    pub fn new(variables: BTreeMap<String, String>) -> Secrets {
        Secrets { variables, hidden: BTreeMap::new() }
    }

    /// What variables held.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Adds what a text as written has that must not be shown: its secrets, and what its variables held.
    pub fn add(&mut self, holder: Holder<'_>, written: &str) {
        for span in spans(holder, written) {
            let literal = written[span].replace("$${", "${");
            // What is filled in for each client has another value each time.
            let parts = literal.split('{').enumerate();
            let parts = parts.map(|(index, part)| part.split_once('}').filter(|_| index > 0).map_or(part, |(_, behind)| behind));
            parts.for_each(|text| self.hide_value(text, MASK));
        }
        for piece in pieces(written, 0..written.len()) {
            let Piece::Variable(at, default) = piece else { continue };
            let name = written[at.start + 2..at.end - 1].split(":-").next().unwrap_or_default();
            // A default that is used stands in the scenario anyway, or is a secret of its own.
            if let Some(value) = self.variables.get(name).filter(|value| value.as_str() != &written[default.clone()]).cloned() {
                self.hide_value(&value, &format!("${{{name}}}"));
            }
        }
    }

    /// Adds the userinfo of an address as it is sent, and its password alone.
    pub fn add_credentials(&mut self, filled: &str) {
        if let Some((_, word)) = filled.split_once(':').filter(|(_, word)| !word.contains(['{', '}'])) {
            self.hide_value(word, MASK);
        }
        let filled = percent_decoded(filled).unwrap_or_default();
        if filled.len() >= VALUE_MIN && !filled.contains(['{', '}']) {
            self.put(&BASE64_STANDARD.encode(filled), MASK);
        }
    }

    /// Adds what a variable holds, and what stands for it.
    pub fn hide_variable(&mut self, name: &str, shown: &str) {
        self.variables.get(name).cloned().iter().for_each(|value| self.hide_value(value, shown));
    }

    /// Adds a value, however it is encoded, and what stands for it. A short one is not hidden.
    pub fn hide_value(&mut self, value: &str, shown: &str) {
        if value.len() < VALUE_MIN || value == MASK {
            return;
        }
        self.put(value, shown);
        // As it stands in a URL, and in quotes.
        let encoded: String = value
            .bytes()
            .map(
                |byte| {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).into() } else { format!("%{byte:02X}") }
                },
            )
            .collect();
        let quoted = format!("{value:?}");
        self.put(&encoded, shown);
        self.put(&quoted[1..quoted.len() - 1], shown);
        self.put(&percent_decoded(value).unwrap_or_default(), shown);
    }

    fn put(&mut self, value: &str, shown: &str) {
        if value.len() >= VALUE_MIN {
            self.hidden.entry((Reverse(value.len()), value.to_owned())).or_insert_with(|| shown.to_owned());
        }
    }

    /// A text without what must not be shown.
    pub fn hide(&self, text: &str) -> String {
        let found = self.hidden.iter().filter(|((_, value), _)| text.contains(value.as_str()));
        found.fold(text.to_owned(), |text, ((_, value), shown)| text.replace(value.as_str(), shown))
    }

    /// As [`hide`](Secrets::hide), of a text that a peer wrote and that may have been cut: also the beginning of a secret at its end.
    pub fn hide_cut(&self, text: &str) -> String {
        let text = self.hide(text);
        let begins = |value: &str| {
            let lengths = VALUE_MIN..value.len().min(text.len() + 1);
            lengths.rev().find(|length| value.is_char_boundary(*length) && text.ends_with(&value[..*length]))
        };
        let cut = self.hidden.iter().find_map(|((_, value), shown)| Some((begins(value)?, shown)));
        cut.map_or_else(|| text.clone(), |(length, shown)| format!("{}{shown}", &text[..text.len() - length]))
    }

    /// As [`hide`](Secrets::hide), as long as it was.
    pub fn starred(&self, text: &str) -> String {
        self.hidden.keys().fold(starred(text), |text, (_, value)| text.replace(value.as_str(), &"*".repeat(value.len())))
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.hidden.is_empty()
    }

    /// From now on [`hide`] hides this, too.
    pub fn keep(&self) {
        let mut kept = lock(&KEPT);
        self.hidden.iter().for_each(|((_, value), shown)| kept.put(value, shown));
    }
}

/// What this process must not print where it ends: in an error, and in a panic.
static KEPT: Mutex<Secrets> = Mutex::new(Secrets { variables: BTreeMap::new(), hidden: BTreeMap::new() });

/// A text without what any [`Secrets::keep`] has told.
pub fn hide(text: &str) -> String {
    lock(&KEPT).hide(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in ["token", "access_token", "apiKey", "X-Api-Key", "client_secret", "PASSWORD", "DB_PWD", "jwt", "Authorization", "sid"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["", "v", "room", "User-Agent", "Origin", "zipcode", "inside", "PORT"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("ws://h:9000/echo?v=2", "ws://h:9000/echo?v=2"),
            ("ws://user:S3cret@h/", "ws://***@h/"),
            ("ws://token@h/", "ws://***@h/"),
            ("ws://@h/", "ws://@h/"),
            ("ws://h/a@b", "ws://h/a@b"),
            ("ws://${USER}:${PW}@${HOST}:${PORT:-80}/${ROOM}", "ws://${USER}:${PW}@${HOST}:${PORT:-80}/${ROOM}"),
            ("ws://u:${PW:-s3cret}@h", "ws://***${PW:-***}@h"),
            ("${URL:-ws://u:p@h/?token=x}", "${URL:-ws://***@h/?token=***}"),
            ("ws://h/?access_token=x&v=2&${A}=1&KEY=${K}", "ws://h/?access_token=***&v=2&${A}=1&KEY=${K}"),
            ("ws://h/?a%63cess_token=x;b=c#id_token=y", "ws://h/?a%63cess_token=***;b=c#id_token=***"),
            ("ws://h/eyJhbGciOiJIUzI1NiJ9.e30.abc/x", "ws://h/***/x"),
            // An unencoded slash in the password.
            ("ws://u:p/w@h/", "ws://***@h/"),
            ("ws://h:{port}/{client}@", "ws://h:{port}/{client}@"),
            ("u:p@h", "***@h"),
        ] {
            assert_eq!(mask_address(text), shown, "{text}");
            assert_eq!(mask_address(shown), shown, "again: {text}");
        }
    }

    #[test]
    fn headers_queries_and_subprotocols() {
        for (holder, text, shown) in [
            (Holder::Field("Authorization"), "Bearer abc", "Bearer ***"),
            (Holder::Field("authorization"), "Bearer ${TOKEN}", "Bearer ${TOKEN}"),
            (Holder::Field("Proxy-Authorization"), "abc def", "***"),
            (Holder::Field("X-Api-Key"), "k-${A}-{client}", "***${A}***"),
            (Holder::Field("Cookie"), "sid=${COOKIE}; theme=dark", "sid=${COOKIE}; theme=***"),
            (Holder::Field("Origin"), "https://h/?token=x", "https://h/?token=***"),
            (Holder::Field("X-Room"), "blue", "blue"),
            (Holder::Field("X-Any"), "eyJhbGciOiJIUzI1NiJ9.e30.abc", "***"),
            (Holder::Field("DATABASE_URL"), "pg://u:p@h/db", "pg://***@h/db"),
            (Holder::Field("X-Cost"), "$${5}", "$${5}"),
            (Holder::Query, "jwt=${JWT}&room=1", "jwt=${JWT}&room=1"),
            (Holder::Query, "jwt=abc&room=1", "jwt=***&room=1"),
            (Holder::Subprotocol(None), "auth-${SUBTOK}", "auth-${SUBTOK}"),
            (Holder::Subprotocol(None), "auth-abc", "auth-***"),
            (Holder::Subprotocol(None), "graphql-transport-ws", "graphql-transport-ws"),
            (Holder::Subprotocol(None), "base64url.bearer.authorization.k8s.io.abc", "base64url.bearer.authorization.***"),
            (Holder::Subprotocol(Some("access_token")), "abc", "***"),
            (Holder::Subprotocol(Some("v1")), "abc", "abc"),
            (Holder::Text, "server --token abc --port 80 --api-key=xyz", "server --token *** --port 80 --api-key=***"),
            (Holder::Text, "sh -c 'TOKEN=abc exec server ws://u:p@h'", "sh -c 'TOKEN=*** exec server ws://***@h'"),
            (Holder::Text, "server --token ${TOKEN} {port}", "server --token ${TOKEN} {port}"),
            (Holder::Text, r#"{"token": "a\"b", "n": 1}"#, r#"{"token": "***", "n": 1}"#),
            (Holder::Text, "inject = { close_code = { code = 1012 } }", "inject = { close_code = { code = 1012 } }"),
            (Holder::Text, "--code 123456 code = \"1012\" --pass=abc --sid 12", "--code *** code = \"***\" --pass=*** --sid ***"),
            (Holder::Text, "subprotocols = ['v1', \"auth-abc\"]", "subprotocols = ['v1', \"auth-***\"]"),
            (Holder::Text, "Authorization: Bearer abc\nX: y", "Authorization: ***\nX: y"),
        ] {
            let masked = mask(holder, text);
            assert_eq!(masked, shown, "{holder:?} {text}");
            assert_eq!(mask(holder, &masked), shown, "again: {text}");
        }
    }

    #[test]
    fn a_text_keeps_its_length_under_stars() {
        let text = "headers = { Authorization = \"Bearer äbc\", X = \"y\" }\naddress = \"ws://u:p@h/?token=x\"";
        let stars = starred(text);
        assert_eq!(stars.len(), text.len());
        assert_eq!(stars, "headers = { Authorization = \"***********\", X = \"y\" }\naddress = \"ws://***@h/?token=*\"");
    }

    #[test]
    fn values_are_hidden_in_other_texts() {
        let variables = [("TOKEN", "s3cret/tok"), ("V", "2"), ("HOST", "example.org")].map(|(name, value)| (name.into(), value.into()));
        let mut secrets = Secrets::new(variables.into());
        secrets.add(Holder::Field("Authorization"), "Bearer ${TOKEN}");
        secrets.add(Holder::Query, "v=${V}&password=literal-{client}-end");
        secrets.add_credentials("Aladdin:open%20sesame");
        for (text, shown) in [
            ("see s3cret/tok and s3cret%2Ftok", "see ${TOKEN} and ${TOKEN}"),
            ("2 of example.org", "2 of example.org"),
            ("literal-17-end", "***17-end"),
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic ***"),
        ] {
            assert_eq!(secrets.hide(text), shown);
        }
        assert_eq!(format!("{secrets:?}"), "Secrets(3 variables, 7 texts)");
        assert_eq!(secrets.hide("client 17"), "client 17");
        for (text, shown) in
            [("cut: s3cret/t", "cut: ${TOKEN}"), ("s3cre", "s3cre"), ("s3cret/ ", "s3cret/ "), ("s3cret", "${TOKEN}"), ("", "")]
        {
            assert_eq!(secrets.hide_cut(text), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_masked(text in "[a-z:/@?#&;={}$\"' ä-]{0,40}", name in "[a-zA-Z-]{0,8}") {
            for holder in [Holder::Address, Holder::Query, Holder::Field(&name), Holder::Subprotocol(Some(&name)), Holder::Text] {
                let _ = mask(holder, &text);
            }
            proptest::prop_assert_eq!(starred(&text).len(), text.len());
        }
    }
}
