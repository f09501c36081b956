//! The cookies of one client: what a server sets in its answers, and what the client sends again (RFC 6265, for one host).
//!
//! All go to the target and to nobody else: cookies for another `Domain` are refused, and a cookie for all of a domain is one for the target.
//! `Expires` is held against the `Date` of the same answer: no result depends on the clock of this machine.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use std::time::Duration;

/// Cookies of a client; more take the place of the oldest.
const COOKIES_MAX: usize = 50;
/// Longest cookie that is kept, bytes (RFC 6265 §6.1).
const COOKIE_MAX: usize = 4096;
/// The beginning of 2020, seconds since 1970: to take a cookie away servers let it expire long ago.
const LONG_AGO: i64 = 1_577_836_800;

/// One cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    /// Begins with `/`.
    path: String,
    /// It goes out over TLS only.
    secure: bool,
    /// Offset in the run from which on it is gone.
    until: Option<Duration>,
}

/// What was asked: it decides which cookies an answer may set, and which a request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CookieScope {
    /// The Host header without its port, in small letters.
    pub(crate) host: Box<str>,
    /// Of the request, without its query.
    pub(crate) path: Box<str>,
    /// Over TLS.
    pub(crate) secure: bool,
}

/// What an answer says of cookies.
#[derive(Debug, Default)]
pub(crate) struct CookieFields {
    pub(crate) set: Vec<String>,
    /// Its `Date`: what is over by the server's clock.
    pub(crate) date: Option<String>,
}

/// Those of one client, in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct CookieJar(Vec<Cookie>);

impl CookieScope {
    /// Of a request with this path and Host header.
    pub(crate) fn new(path: &str, host: &str, secure: bool) -> CookieScope {
        let host = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(host, _)| host);
        CookieScope { host: host.to_ascii_lowercase().into(), path: path.split('?').next().unwrap_or_default().into(), secure }
    }

    /// Of a request as it was sent: its path and its Host header.
    pub(crate) fn of_request(head: &[u8], secure: bool) -> CookieScope {
        // Frames may go out behind it.
        let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(head.len());
        let head = std::str::from_utf8(&head[..end]).unwrap_or_default();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let host = head.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("host")));
        CookieScope::new(path, host.map_or("", |(_, host)| host.trim()), secure)
    }

    /// Whether a cookie of this `Domain` is one of the host (RFC 6265 §5.1.3). An IP address is no part of another.
    fn takes_domain(&self, domain: &str) -> bool {
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let is_name = !self.host.starts_with('[') && self.host.parse::<std::net::IpAddr>().is_err();
        // Of a domain without a dot, as `com`, nobody may speak for all.
        let inside = is_name && domain.contains('.') && self.host.strip_suffix(&*domain).is_some_and(|before| before.ends_with('.'));
        domain.is_empty() || *self.host == *domain || inside
    }

    /// The path of a cookie without `Path` (RFC 6265 §5.1.4).
    fn default_path(&self) -> &str {
        match self.path.rfind('/') {
            Some(at) if at > 0 && self.path.starts_with('/') => &self.path[..at],
            _ => "/",
        }
    }

    /// Whether a cookie of this path goes with the request (RFC 6265 §5.1.4).
    fn takes_path(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
    }
}

impl CookieJar {
    /// A client's jar after an answer with these fields at this offset; none where nothing is in it: a client without one sends what all send.
    pub(crate) fn after(
        jar: Option<Box<CookieJar>>,
        (scope, fields): &(CookieScope, Box<CookieFields>),
        now: Duration,
    ) -> Option<Box<CookieJar>> {
        let mut jar = jar.unwrap_or_default();
        let date = fields.date.as_deref().and_then(instant);
        fields.set.iter().for_each(|field| jar.take(field, (scope, date), now));
        Some(jar).filter(|jar| !jar.0.is_empty())
    }

    /// Keeps what a `Set-Cookie` field says, if it is well-formed and the server may set it; a cookie of the same name and path is replaced.
    fn take(&mut self, field: &str, (scope, date): (&CookieScope, Option<Timestamp>), now: Duration) {
        self.0.retain(|cookie| cookie.until.is_none_or(|until| until > now));
        let mut parts = field.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() + value.len() > COOKIE_MAX || field.chars().any(char::is_control) {
            return;
        }
        let (mut path, mut secure, mut age, mut expires) = (scope.default_path(), false, None, None);
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part.trim(), ""), |(name, value)| (name.trim(), value.trim()));
            match name.to_ascii_lowercase().as_str() {
                "domain" if !scope.takes_domain(value) => return,
                "path" => path = if value.starts_with('/') { value } else { scope.default_path() },
                "secure" => secure = true,
                // Of several the last one counts, and `Max-Age` before `Expires` (RFC 6265 §5.3).
                "max-age" => age = value.parse::<i64>().ok().map(|age| Duration::from_secs(u64::try_from(age).unwrap_or(0))).or(age),
                "expires" => expires = left(value, date).or(expires),
                _ => {}
            }
        }
        // Over a plain connection nobody may set what only TLS is to carry (RFC 6265bis §5.7).
        if secure && !scope.secure {
            return;
        }
        self.0.retain(|known| (&*known.name, &*known.path) != (name, path));
        let age = age.or(expires);
        if age.is_some_and(|age| age.is_zero()) {
            return;
        }
        if self.0.len() >= COOKIES_MAX {
            self.0.remove(0);
        }
        let until = age.map(|age| now.saturating_add(age));
        self.0.push(Cookie { name: name.to_owned(), value: value.to_owned(), path: path.to_owned(), secure, until });
    }

    /// The value of each cookie.
    pub(crate) fn values(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|cookie| &cookie.value)
    }

    /// The value of the `Cookie` field of a request at this offset; `None`: no cookie goes with it. Those of longer paths come first.
    pub(crate) fn field(&self, scope: &CookieScope, now: Duration) -> Option<String> {
        let goes = |cookie: &&Cookie| {
            scope.takes_path(&cookie.path) && (scope.secure || !cookie.secure) && cookie.until.is_none_or(|until| until > now)
        };
        let mut all: Vec<_> = self.0.iter().filter(goes).collect();
        all.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let all: Vec<_> = all.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// An instant as HTTP writes it; old servers write it with hyphens.
fn instant(date: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date.replace('-', " ")).ok()
}

/// How long it is until a cookie expires; `None`: nobody knows. Without the date of the answer a time is over that no server's clock shows.
fn left(expires: &str, date: Option<Timestamp>) -> Option<Duration> {
    let expires = instant(expires)?;
    match date {
        Some(date) => Some(Duration::try_from(expires.duration_since(date)).unwrap_or_default()),
        None => (expires.as_second() < LONG_AGO).then_some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);

    fn scope(path: &str) -> CookieScope {
        CookieScope::new(path, "app.example.org:8080", false)
    }

    fn fields(set: &str, date: Option<&str>) -> Box<CookieFields> {
        Box::new(CookieFields { set: vec![set.to_owned()], date: date.map(str::to_owned) })
    }

    fn after(jar: Option<Box<CookieJar>>, field: &str) -> Option<Box<CookieJar>> {
        CookieJar::after(jar, &(scope("/"), fields(field, None)), NOW)
    }

    #[test]
    fn a_request_is_its_head_whatever_goes_out_behind_it() {
        let mut bytes = b"GET /a/b?c=d HTTP/1.1\r\nHost: App.example.org:8080\r\nX: y\r\n\r\n".to_vec();
        let alone = CookieScope::of_request(&bytes, false);
        assert_eq!((&*alone.host, &*alone.path), ("app.example.org", "/a/b"));
        bytes.extend([0x82, 0xff, 0xc3, 0x28]);
        assert_eq!(CookieScope::of_request(&bytes, false), alone);
    }

    #[test]
    fn nobody_keeps_an_empty_jar() {
        let jar = after(None, "node=7");
        assert_eq!(jar.as_ref().and_then(|jar| jar.field(&scope("/"), NOW)).as_deref(), Some("node=7"));
        assert!(after(jar, "node=; Max-Age=0").is_none());
        assert!(after(None, "no cookie").is_none());
        let jar = after(None, "node=7; Expires=Fri, 27 Nov 2026 10:00:00 GMT");
        assert!(jar.is_some() && after(jar, "node=; Expires=Thu, 01 Jan 1970 00:00:00 GMT").is_none(), "without a date");
    }

    #[test]
    fn cookies_are_kept_replaced_and_taken_away() {
        let mut jar = CookieJar::default();
        for (field, expected) in [
            ("node=a; Path=/; HttpOnly", Some("node=a")),
            ("user = 7 ; Max-Age=60", Some("node=a; user=7")),
            ("node=b", Some("user=7; node=b")),
            ("no pair", Some("user=7; node=b")),
            ("=x", Some("user=7; node=b")),
            ("bad=a\r\nX: y", Some("user=7; node=b")),
            ("user=; max-age=0", Some("node=b")),
            ("node=; Max-Age=-1", None),
        ] {
            jar.take(field, (&scope("/"), None), NOW);
            assert_eq!(jar.field(&scope("/"), NOW).as_deref(), expected, "{field}");
        }
        (0..60).for_each(|n| jar.take(&format!("c{n}=1"), (&scope("/"), None), NOW));
        assert!(jar.field(&scope("/"), NOW).is_some_and(|field| field.matches('=').count() == COOKIES_MAX && field.ends_with("c59=1")));
    }

    #[test]
    fn domain_path_secure_and_age_say_where_a_cookie_goes() {
        let goes = |field: &str, set: &CookieScope, get: &CookieScope, later: u64| {
            let jar = CookieJar::after(None, &(set.clone(), fields(field, Some("Wed, 21 Oct 2026 07:28:00 GMT"))), NOW);
            jar.and_then(|jar| jar.field(get, NOW + Duration::from_secs(later))).is_some()
        };
        let (chat, tls) = (scope("/chat/room"), CookieScope { secure: true, ..scope("/chat/room") });
        for (field, expected) in [
            ("a=1; Domain=example.org", true),
            ("a=1; Domain=.App.Example.org", true),
            ("a=1; domain=other.org", false),
            ("a=1; Domain=org", false),
            ("a=1; Domain=pp.example.org", false),
            ("a=1; Path=/chat", true),
            ("a=1; Path=/chat/", true),
            ("a=1; Path=/cha", false),
            ("a=1; Path=/chat/room/7", false),
            ("a=1; Path=chat", true),
            ("a=1; Secure", false),
            ("a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT", false),
            ("a=1; Expires=Wed, 21-Oct-2015 07:28:00 GMT", false),
            ("a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Max-Age=60", true),
            ("a=1; Expires=Wed, 21 Oct 2026 07:28:02 GMT", true),
            ("a=1; Expires=Wed, 21 Oct 2026 07:28:01 GMT", false),
            ("a=1; Expires=Mon, 21 Oct 2120 07:28:00 GMT", true),
            ("a=1; Expires=some day", true),
        ] {
            assert_eq!(goes(field, &chat, &chat, 1), expected, "{field}");
        }
        // Without a path: for all below the folder of the request.
        assert!(goes("a=1", &chat, &scope("/chat/other"), 0) && !goes("a=1", &chat, &scope("/other"), 0));
        assert!(goes("a=1; Secure", &tls, &tls, 0) && !goes("a=1; Secure", &tls, &chat, 0));
        assert!(goes("a=1; Max-Age=5", &chat, &chat, 4) && !goes("a=1; Max-Age=5", &chat, &chat, 5));
        let ip = CookieScope::new("/?a=b", "127.0.0.1:80", false);
        assert!(goes("a=1; Domain=127.0.0.1", &ip, &ip, 0) && !goes("a=1; Domain=0.0.1", &ip, &ip, 0));
        // The more special come first; two of one name with different paths are two.
        let mut jar = CookieJar::default();
        ["a=1; Path=/", "b=2; Path=/chat", "a=3; Path=/chat"].iter().for_each(|field| jar.take(field, (&chat, None), NOW));
        assert_eq!(jar.field(&chat, NOW).as_deref(), Some("b=2; a=3; a=1"));
    }

    #[test]
    fn what_was_asked_is_read_of_the_request() {
        let head = b"GET /chat/7?token=a HTTP/1.1\r\nhost: [::1]:8080\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(CookieScope::of_request(head, true), CookieScope { host: "[::1]".into(), path: "/chat/7".into(), secure: true });
    }
}
