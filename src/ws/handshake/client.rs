//! A client's opening handshake: the request as bytes, also one that no WebSocket library would send, and which answers open.
//!
//! Written by hand because a handshake of tungstenite keeps kilobytes of buffers for each attempt under way.

use crate::address;
use crate::address::Address;
use crate::event::{Outcome, Stage};
use crate::fault::RequestEdit;
use crate::secret::is_secret_name;
use crate::template::{Template, TemplateValues};
use crate::transport::tls_words;
use crate::transport::tls_words::Asked;
use crate::ws::frame;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::cookies::{CookieFields, CookieJar, CookieScope};
use crate::ws::handshake::failure::{Failure, fail};
use crate::ws::handshake::own_headers::Id;
use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Longest head of an answer.
const HEAD_MAX: usize = 64 * 1024;
/// Characters of a `Location` that are kept.
pub(crate) const LOCATION_MAX: usize = 200;
/// Most header fields.
const HEADERS_MAX: usize = 124;
/// Read at once; nearly every answer is shorter.
const CHUNK: usize = 2048;
const KEY: &str = "Sec-WebSocket-Key";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
/// Stand in a [`RequestTemplate`] for what each attempt has of its own. Private use, planes 15 and 16: nobody's text.
pub(crate) const CLIENT: &str = "\u{f0c11}";
pub(crate) const ATTEMPT: &str = "\u{f0c12}";
const OWN_KEY: &str = "\u{f0c13}";
const CREDENTIALS: &str = "\u{f0c14}";

/// `Set-Cookie` fields of an answer; `None`: it has none, as most.
pub(crate) type SetCookies = Option<Box<CookieFields>>;

/// An opening request: its path and header fields.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    path: Cow<'a, str>,
    fields: Vec<(&'a str, Cow<'a, str>)>,
    /// The key is a fresh one, not of the user's.
    own_key: bool,
}

impl<'a> Request<'a> {
    /// The request that RFC 6455 §4.1 asks for, with a new key. `path` stands in place of the address's, `query` is added to it.
    pub(crate) fn new(address: &'a Address, path: Option<&'a Template>, query: Option<&Template>, values: &TemplateValues<'_>) -> Self {
        let mut path = path.unwrap_or(&address.path).fill(values);
        for (query, mark) in address.query.iter().chain(query).zip("?&".chars()) {
            path = Cow::Owned(format!("{path}{mark}{}", query.fill(values)));
        }
        let mut fields = Vec::with_capacity(8);
        fields.extend([("Host", Cow::Borrowed(&*address.authority)), ("Connection", "Upgrade".into()), ("Upgrade", "websocket".into())]);
        fields.extend([("Sec-WebSocket-Version", "13".into()), (KEY, generate_key().into())]);
        let marked = *values.client == *CLIENT && address.own_credentials().is_some();
        let authorization = if marked { Some(CREDENTIALS.to_owned()) } else { address.authorization(values) };
        fields.extend(authorization.map(|value| ("Authorization", value.into())));
        Request { path, fields, own_key: true }
    }

    /// What stands in a [`RequestTemplate`] for the values of each attempt.
    pub(crate) fn marks() -> TemplateValues<'static> {
        TemplateValues { client: CLIENT.into(), attempt: ATTEMPT.into(), own: None }
    }

    /// Adds a field; one that the request has already is replaced.
    ///
    /// # Errors
    /// If that is no header field.
    pub(crate) fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) -> Result<(), String> {
        let value = value.into();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
            return Err(format!("header name {name}"));
        }
        if value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return Err(format!("header value {value}"));
        }
        match self.fields.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
            Some((_, old)) => {
                *old = value;
                self.own_key &= !name.eq_ignore_ascii_case(KEY);
            }
            None => self.fields.push((name, value)),
        }
        Ok(())
    }

    /// Makes it one for another URL.
    pub(crate) fn redirect(&mut self, url: &Address, values: &TemplateValues<'_>) {
        self.path = Cow::Owned(url.path.fill(values).into_owned());
        if let Some(query) = &url.query {
            self.path = Cow::Owned(format!("{}?{}", self.path, query.fill(values)));
        }
    }

    /// Adds cookies to those that it has. `secure`: it goes out over TLS.
    pub(crate) fn add_cookies(&mut self, jar: &CookieJar, secure: bool, now: Duration) {
        let scope = CookieScope::new(&self.path, self.field("Host").unwrap_or_default(), secure);
        let Some(cookies) = jar.field(&scope, now) else { return };
        let all = match self.field("Cookie") {
            Some(own) => format!("{own}; {cookies}"),
            None => cookies,
        };
        // Made of what is fit for a field.
        let _ = self.set("Cookie", all);
    }

    /// Makes it one to another host than the target's: what is said to that only is taken out, as browsers do after a redirect.
    pub(crate) fn withhold(&mut self, host: &str) {
        let _ = self.set("Host", host.to_owned());
        // Those of the handshake itself are no secrets, although their names have "key" in them.
        self.fields
            .retain(|(name, _)| !is_secret_name(name) || name.get(..14).is_some_and(|begin| begin.eq_ignore_ascii_case("Sec-WebSocket-")));
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// Takes header fields out and puts others in.
    fn edit(&mut self, ask: &'a RequestEdit) {
        self.fields.retain(|(name, _)| !ask.without.iter().any(|without| without.eq_ignore_ascii_case(name)));
        for (name, value) in &ask.with {
            // What is no header field is left out.
            let _ = self.set(name, value.as_str());
        }
    }

    /// The request head and the frames behind it, masked with what follows from `mask`.
    fn written(&self, ask: Option<&RequestEdit>, mut mask: u32) -> Vec<u8> {
        let method = ask.and_then(|ask| ask.method.as_deref()).unwrap_or("GET");
        let version = ask.and_then(|ask| ask.version.as_deref()).unwrap_or("HTTP/1.1");
        let mut bytes = Vec::with_capacity(512);
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        put(&[method, " ", &self.path, " ", version, "\r\n"]);
        self.fields.iter().for_each(|(name, value)| put(&[name, ": ", value, "\r\n"]));
        if let Some(padding) = ask.map(|ask| ask.padding as usize).filter(|padding| *padding > 0) {
            bytes.extend_from_slice(b"X-Padding: ");
            bytes.resize(bytes.len() + padding, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        for early in ask.iter().flat_map(|ask| &ask.early) {
            mask = mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend(frame::encode(early, (!early.wrong_mask).then(|| mask.to_be_bytes())));
        }
        bytes
    }

    /// Appends the request to `bytes`. What its answer must have.
    pub(crate) fn put(&self, bytes: &mut Vec<u8>) -> ResponseCheck {
        bytes.extend(self.written(None, 0));
        self.expects(false)
    }

    /// What an answer must have.
    pub(in crate::ws) fn expects(&self, edited: bool) -> ResponseCheck {
        ResponseCheck {
            accept: self.field(KEY).map(|key| derive_accept_key(key.as_bytes())),
            protocols: self.field(PROTOCOL).map(Into::into),
            extensions: self.field(EXTENSIONS).is_some(),
            edited,
            forgets: false,
        }
    }
}

/// The values of an attempt.
pub(crate) fn values(id: Id) -> TemplateValues<'static> {
    TemplateValues { client: id.client.0.to_string().into(), attempt: id.connection.0.to_string().into(), own: None }
}

/// What the opening requests of a cohort to one place have in common: text, with marks where each differs.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    text: String,
    /// What stands for [`CREDENTIALS`], before its encoding hides where attempts differ.
    credentials: Option<Template>,
    /// Where the marks are, in order: first byte, which.
    marks: Vec<(usize, &'static str)>,
    /// As long as the key is each request's own.
    expects: ResponseCheck,
}

impl RequestTemplate {
    /// From a request with [`Request::marks`] for values, and the address that it goes to.
    pub(crate) fn new(mut request: Request<'_>, address: &Address) -> RequestTemplate {
        let own = request.own_key;
        if own {
            request.fields.iter_mut().filter(|(name, _)| *name == KEY).for_each(|(_, value)| *value = OWN_KEY.into());
        }
        // A request is made of strings.
        let text = String::from_utf8_lossy(&request.written(None, 0)).into_owned();
        let find = |mark: &'static str| text.match_indices(mark).map(move |(at, _)| (at, mark)).collect::<Vec<_>>();
        let mut marks = [CLIENT, ATTEMPT, OWN_KEY, CREDENTIALS].map(find).concat();
        marks.sort_unstable();
        let mut expects = request.expects(false);
        expects.accept.take_if(|_| own);
        RequestTemplate { text, credentials: address.own_credentials().cloned(), marks, expects }
    }

    /// Appends the request of an attempt to `bytes`. What its answer must have.
    pub(crate) fn fill(&self, id: Id, bytes: &mut Vec<u8>) -> ResponseCheck {
        use std::io::Write;
        let mut expects = self.expects.clone();
        let mut at = 0;
        for (mark, which) in &self.marks {
            bytes.extend_from_slice(&self.text.as_bytes()[at..*mark]);
            at = mark + which.len();
            // Writing to a vector does not fail.
            let _ = match *which {
                CLIENT => write!(bytes, "{}", id.client.0),
                ATTEMPT => write!(bytes, "{}", id.connection.0),
                CREDENTIALS => {
                    let credentials = self.credentials.as_ref().map(|credentials| address::basic(&credentials.fill(&values(id))));
                    bytes.extend_from_slice(credentials.unwrap_or_default().as_bytes());
                    Ok(())
                }
                _ => {
                    let key = generate_key();
                    bytes.extend_from_slice(key.as_bytes());
                    expects.accept = Some(derive_accept_key(key.as_bytes()));
                    Ok(())
                }
            };
        }
        bytes.extend_from_slice(&self.text.as_bytes()[at..]);
        expects.protocols = expects.protocols.map(|protocols| own(&protocols, id).into());
        expects
    }
}

/// A text with the numbers of an attempt in place of the marks.
fn own(text: &str, id: Id) -> String {
    text.replace(CLIENT, &id.client.0.to_string()).replace(ATTEMPT, &id.connection.0.to_string())
}

/// What an answer must have to open the connection.
#[derive(Clone, Debug)]
pub(crate) struct ResponseCheck {
    /// The answer to the key; none where a fault took the key away.
    accept: Option<String>,
    /// Subprotocols that were offered.
    protocols: Option<Box<str>>,
    /// Whether an extension was offered.
    extensions: bool,
    /// A request that a fault edited is open after any 101 that knows its key.
    edited: bool,
    /// The client keeps no cookies: none are told.
    forgets: bool,
}

impl ResponseCheck {
    /// Whether an answer's head, if it is complete, opens the connection; then its `Set-Cookie` fields, where there are any.
    pub(in crate::ws) fn judge(&self, head: &[u8]) -> Option<Result<SetCookies, Failure>> {
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut []);
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, head, &mut fields) {
            Ok(httparse::Status::Partial) if head.len() < HEAD_MAX => return None,
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                let why = format!("the head of the answer is longer than {} KiB", HEAD_MAX / 1024);
                return Some(Err(fail(Stage::Upgrade, &why)));
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Some(Err(fail(Stage::Upgrade, &format!("the answer has more than {HEADERS_MAX} header fields"))));
            }
            Err(_) => return Some(Err(fail(Stage::Upgrade, "the answer was not HTTP"))),
        }
        let field = |name: &str| answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
        let words = |name: &str| field(name).and_then(|value| str::from_utf8(value).ok()).unwrap_or_default();
        let status = answer.code.unwrap_or_default();
        if status != 101 {
            let retry_after = words("Retry-After").trim().parse().ok().map(Duration::from_secs);
            let location = field("Location").map(|_| words("Location").trim().chars().take(LOCATION_MAX).collect());
            return Some(Err(Failure {
                stage: Stage::Upgrade,
                outcome: Outcome::Rejected { status, retry_after, location },
                fault: None,
                local: None,
            }));
        }
        let ResponseCheck { accept, protocols, extensions, edited, forgets } = self;
        let cookies = || {
            if *forgets {
                return None;
            }
            let fields = answer.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("Set-Cookie"));
            let set: Vec<_> = fields.filter_map(|field| str::from_utf8(field.value).ok().map(str::to_owned)).collect();
            (!set.is_empty()).then(|| Box::new(CookieFields { set, date: field("Date").map(|_| words("Date").to_owned()) }))
        };
        let protocol = field(PROTOCOL).map(|_| words(PROTOCOL));
        // RFC 6455 §4.1, in the order of its list.
        let wrong = match () {
            () if !edited && answer.version != Some(1) => "HTTP version must be 1.1",
            () if !edited && !words("Upgrade").eq_ignore_ascii_case("websocket") => "no \"Upgrade: websocket\" header",
            () if !edited && !words("Connection").split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")) => {
                "no \"Connection: Upgrade\" header"
            }
            () if accept.as_ref().is_some_and(|accept| field("Sec-WebSocket-Accept") != Some(accept.as_bytes())) => {
                "wrong Sec-WebSocket-Accept"
            }
            () if field(EXTENSIONS).is_some() && !extensions => "an extension that was not offered",
            () if *edited => return Some(Ok(cookies())),
            () if protocol.is_some() && protocols.is_none() => "a subprotocol that was not offered",
            () if protocol.is_none() && protocols.is_some() => "none of the subprotocols was chosen",
            () if protocol.is_some_and(|chosen| !protocols.iter().flat_map(|all| all.split(',')).any(|one| one.trim() == chosen)) => {
                "a subprotocol that was not offered"
            }
            () => return Some(Ok(cookies())),
        };
        Some(Err(fail(Stage::Upgrade, &format!("opening handshake: {wrong}"))))
    }
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    /// What the kernel has not taken of it.
    rest: Vec<u8>,
    expects: ResponseCheck,
    /// Why it takes no more.
    cut: Option<io::Error>,
}

impl ClientHandshake {
    /// One of which nothing is sent.
    pub(crate) fn new(rest: Vec<u8>, expects: ResponseCheck) -> ClientHandshake {
        ClientHandshake { rest, expects, cut: None }
    }

    /// Of a client that keeps no cookies.
    pub(crate) fn forget_cookies(&mut self) {
        self.expects.forgets = true;
    }

    /// A request as it is.
    pub(crate) fn plain(request: &Request<'_>) -> ClientHandshake {
        ClientHandshake::new(request.written(None, 0), request.expects(false))
    }

    /// One of whose `bytes` the kernel took so many.
    pub(crate) fn begun(bytes: &[u8], sent: io::Result<usize>, expects: ResponseCheck) -> ClientHandshake {
        match sent {
            Ok(sent) => ClientHandshake { rest: bytes[sent..].to_vec(), expects, cut: None },
            Err(error) => ClientHandshake { rest: Vec::new(), expects, cut: Some(error) },
        }
    }

    /// A request as a fault wants it. `mask`: where masks of its frames begin.
    pub(crate) fn edited<'a>(mut request: Request<'a>, ask: &'a RequestEdit, mask: u32) -> ClientHandshake {
        request.edit(ask);
        ClientHandshake::new(request.written(Some(ask), mask), request.expects(true))
    }

    /// What is left to be sent of it.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.rest
    }

    /// Sends what is left and takes the answer; frames behind its head stay in the tap.
    ///
    /// # Errors
    /// Another answer than 101, a wrong one, or none.
    pub(crate) async fn shake_hands(mut self, tap: &mut Tap, asked: &Asked) -> Result<SetCookies, Failure> {
        if !self.rest.is_empty() {
            // A server may answer and close before it has read all: what it says counts more than a failed write.
            self.cut = tap.write_all(&self.rest).await.and(tap.flush().await).err();
            self.rest = Vec::new();
        }
        let told = |error: io::Error| {
            // In TLS 1.3 a server judges the client when that believes to be through.
            if let Some(words) = tls_words::of(&error, asked.was()) {
                return fail(Stage::Tls, &format!("tls: {words}"));
            }
            let words = match error.kind() {
                io::ErrorKind::UnexpectedEof => "end of stream".to_owned(),
                kind => kind.to_string(),
            };
            fail(Stage::Upgrade, &format!("connection ended before the 101 response: {words}"))
        };
        let judged = read_head(tap, |head| self.expects.judge(head)).await;
        // What TLS says of it counts more than a write that failed over it.
        judged.unwrap_or_else(|error| Err(told(self.cut.filter(|_| tls_words::of(&error, false).is_none()).unwrap_or(error))))
    }
}

/// Reads until `judge` knows what to say of all that came.
async fn read_head<T>(tap: &mut Tap, judge: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
    let mut earlier = Vec::new();
    poll_fn(move |cx| {
        loop {
            // On the stack, so that no attempt that waits has a buffer.
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut *tap).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return std::task::Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let judged = if earlier.is_empty() {
                judge(chunk.filled())
            } else {
                earlier.extend_from_slice(chunk.filled());
                judge(&earlier)
            };
            if let Some(judged) = judged {
                return std::task::Poll::Ready(Ok(judged));
            }
            if earlier.is_empty() {
                earlier.extend_from_slice(chunk.filled());
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Frame, TEXT};

    const ID: Id = Id { client: crate::event::ClientIndex(17), connection: crate::event::ConnectionNo(3) };

    fn address(url: &str) -> Address {
        Address::parse(url).expect("a URL")
    }

    fn template(text: &str) -> Template {
        Template::parse(text).expect("known names")
    }

    #[test]
    fn another_host_is_told_no_secret() {
        let address = Address::parse("ws://user:word@h/").expect("a URL");
        let mut request = bare(&address);
        for name in ["X-Api-Key", "x-session-id", "Cookie", "X-Plain", "Sec-WebSocket-Protocol"] {
            request.set(name, "value").expect("a field");
        }
        request.withhold("other.test");
        let there = ["Host", "Connection", "Upgrade", "Sec-WebSocket-Version", KEY, "X-Plain", "Sec-WebSocket-Protocol"];
        assert_eq!(request.fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(), there);
        assert_eq!(request.field("Host"), Some("other.test"));
    }

    fn bare(address: &Address) -> Request<'_> {
        Request::new(address, None, None, &values(ID))
    }

    #[test]
    fn a_request_is_written_as_asked() {
        let ask = |ask: RequestEdit| {
            let address = address("ws://h:1/a?b=c");
            let mut request = bare(&address);
            request.edit(&ask);
            request.written(Some(&ask), 1)
        };
        let plain = ask(RequestEdit::default());
        assert!(plain.starts_with(b"GET /a?b=c HTTP/1.1\r\nHost: h:1\r\n") && plain.ends_with(b"\r\n\r\n"));
        let post = ask(RequestEdit { method: Some("POST".into()), version: Some("HTTP/1.0".into()), padding: 9, ..RequestEdit::default() });
        assert!(post.starts_with(b"POST /a?b=c HTTP/1.0\r\n") && post.ends_with(b"\r\nX-Padding: xxxxxxxxx\r\n\r\n"));
        let without = ask(RequestEdit { without: vec!["sec-websocket-key".into()], ..RequestEdit::default() });
        assert!(!String::from_utf8_lossy(&without).to_lowercase().contains("sec-websocket-key"));
        let early = ask(RequestEdit { early: vec![Frame::new(TEXT, "hi")], ..RequestEdit::default() });
        let frame = &early[early.len() - 8..];
        assert_eq!((frame[0], frame[1], frame[6] ^ frame[2], frame[7] ^ frame[3]), (0x81, 0x82, b'h', b'i'));
    }

    #[test]
    fn paths_and_fields_stand_as_given() {
        for (url, own, query, path, host, authorization) in [
            ("ws://h", None, None, "/", "h", None),
            ("wss://user:word@h:9?a=1#top", None, Some("b=2"), "/?a=1&b=2", "h:9", Some("Basic dXNlcjp3b3Jk")),
            ("ws://[::1]:80/p/q", None, Some("x={attempt}"), "/p/q?x=3", "[::1]", None),
            ("ws://h/{client}?v=2", Some("/room/{client}"), None, "/room/17?v=2", "h", None),
            ("ws://{client}:p@h/{client}", None, None, "/17", "h", Some("Basic MTc6cA==")),
        ] {
            let (address, own, query) = (address(url), own.map(template), query.map(template));
            let request = Request::new(&address, own.as_ref(), query.as_ref(), &values(ID));
            assert_eq!((request.path.as_ref(), request.field("host")), (path, Some(host)), "{url}");
            assert_eq!(request.field("authorization"), authorization, "{url}");
        }
        let address = address("ws://h");
        let mut request = bare(&address);
        assert!(request.set("host", "elsewhere").is_ok() && request.set("X-Two", "a\tb").is_ok());
        assert!(request.set("X Three", "").is_err() && request.set("X-Four", "a\r\nb").is_err());
        let written = String::from_utf8(request.written(None, 0)).expect("ASCII");
        assert!(written.contains("\r\nHost: elsewhere\r\n") && written.contains("\r\nX-Two: a\tb\r\n"), "{written}");
    }

    #[test]
    fn a_form_is_filled_for_each_attempt() {
        let address = address("ws://u{client}:p@h/{client}");
        let query = template("who={client}&no={attempt}");
        let mut request = Request::new(&address, None, Some(&query), &Request::marks());
        request.set("X-Id", format!("{CLIENT}/{ATTEMPT}")).expect("a field");
        request.set(PROTOCOL, format!("one, c{CLIENT}")).expect("a field");
        let form = RequestTemplate::new(request, &address);
        let fill = || {
            let mut bytes = Vec::new();
            let expects = form.fill(ID, &mut bytes);
            (String::from_utf8(bytes).expect("ASCII"), expects)
        };
        let (text, expects) = fill();
        assert!(text.starts_with("GET /17?who=17&no=3 HTTP/1.1\r\nHost: h\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nX-Id: 17/3\r\n") && text.is_ascii());
        assert!(text.contains("\r\nAuthorization: Basic dTE3OnA=\r\n"), "{text}");
        let key = text.split_once("Sec-WebSocket-Key: ").and_then(|(_, rest)| rest.split("\r\n").next()).expect("a key");
        assert_eq!(key.len(), 24);
        assert_eq!(expects.accept, Some(derive_accept_key(key.as_bytes())));
        assert_eq!(expects.protocols.as_deref(), Some("one, c17"));
        assert_ne!(fill().0, text, "each has a key of its own");
        let mut fixed = bare(&address);
        fixed.set("sec-websocket-key", "mine").expect("a field");
        let (mut bytes, form) = (Vec::new(), RequestTemplate::new(fixed, &address));
        assert_eq!(form.fill(ID, &mut bytes).accept, Some(derive_accept_key(b"mine")));
        assert!(String::from_utf8_lossy(&bytes).contains("\r\nSec-WebSocket-Key: mine\r\n"));
    }

    #[test]
    fn an_answer_opens_only_if_it_is_a_101_to_this_request() {
        let address = address("ws://h");
        let mut request = bare(&address);
        request.set(PROTOCOL, "one, two").expect("a field");
        let key = request.field(KEY).expect("a key").to_owned();
        let good = format!(
            "HTTP/1.1 101 Yes\r\nUPGRADE: WebSocket\r\nConnection: keep-alive, upgrade\r\nsec-websocket-accept: \
             {}\r\nSec-WebSocket-Protocol: two\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        let judge = |head: &str, edited| match request.expects(edited).judge(head.as_bytes()) {
            None => "incomplete".to_owned(),
            Some(Ok(_)) => "open".to_owned(),
            Some(Err(Failure { outcome: Outcome::Rejected { status, retry_after, location }, .. })) => {
                format!("{status} {retry_after:?}{}", location.map(|location| format!(" {location}")).unwrap_or_default())
            }
            Some(Err(Failure { outcome: Outcome::Failed { why }, .. })) => why,
            Some(Err(other)) => format!("{other:?}"),
        };
        let without = |line: &str| good.split_inclusive("\r\n").filter(|other| !other.starts_with(line)).collect::<String>();
        for (head, edited, expected) in [
            (good.clone(), false, "open"),
            (good[..good.len() - 1].to_owned(), false, "incomplete"),
            (without("UPGRADE"), false, "opening handshake: no \"Upgrade: websocket\" header"),
            (without("Connection"), false, "opening handshake: no \"Connection: Upgrade\" header"),
            (without("sec-websocket-accept"), false, "opening handshake: wrong Sec-WebSocket-Accept"),
            (without("sec-websocket-accept"), true, "opening handshake: wrong Sec-WebSocket-Accept"),
            (without("Sec-WebSocket-Protocol"), false, "opening handshake: none of the subprotocols was chosen"),
            (without("UPGRADE"), true, "open"),
            (good.replace(": two", ": three"), false, "opening handshake: a subprotocol that was not offered"),
            (good.replace("HTTP/1.1", "HTTP/1.0"), false, "opening handshake: HTTP version must be 1.1"),
            (
                good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
                false,
                "opening handshake: an extension that was not offered",
            ),
            ("HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n".to_owned(), false, "503 Some(7s)"),
            ("HTTP/1.1 302 No\r\nlocation: /a?b \r\n\r\n".to_owned(), false, "302 None /a?b"),
            ("HTTP/1.0 426 Upgrade Required\r\nX: y\r\n\r\n".to_owned(), false, "426 None"),
            ("\x16\x03not HTTP\r\n\r\n".to_owned(), false, "the answer was not HTTP"),
            ("SSH-2.0-OpenSSH".to_owned(), false, "the answer was not HTTP"),
            (format!("HTTP/1.1 101 Yes\r\nX: {}", "x".repeat(HEAD_MAX)), false, "the head of the answer is longer than 64 KiB"),
            (format!("HTTP/1.1 101 Yes\r\n{}\r\n", "X: y\r\n".repeat(125)), false, "the answer has more than 124 header fields"),
        ] {
            assert_eq!(judge(&head, edited), expected, "{head}");
        }
        let sets = good.replace("\r\n\r\n", "\r\nSet-Cookie: node=7\r\n\r\n");
        for (forgets, expected) in [(false, Some(vec!["node=7".to_owned()])), (true, None)] {
            let cookies = ResponseCheck { forgets, ..request.expects(false) }.judge(sets.as_bytes());
            assert_eq!(cookies.and_then(Result::ok).map(|cookies| cookies.map(|cookies| cookies.set)), Some(expected), "{forgets}");
        }
    }
}
