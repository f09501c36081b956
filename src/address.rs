//! The address of a target, as `wss://user:word@host:9000/room/{client}?v=2`, taken apart once. Resolves nothing.

use crate::secret::mask_address;
use crate::template::{Template, TemplateValues};
use crate::text::percent_decoded;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::convert::Infallible;
use std::fmt;
use url::{Host, ParseError, Position, Url};

/// A ws:// or wss:// URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    /// As it may be shown.
    shown: String,
    /// wss.
    pub secure: bool,
    /// Name (in lower case, other letters than ASCII as Punycode) or IP address, the latter without brackets.
    pub host: String,
    /// As written, else 80 or 443.
    pub port: u16,
    /// Host, and port if it is not the scheme's: the Host header, as browsers write it.
    pub authority: String,
    /// The socket on this machine that `ws+unix:` names; then the host is `localhost`.
    pub socket: Option<String>,
    /// `user:word` before the host, percent-decoded.
    credentials: Option<Template>,
    /// Begins with `/`; percent-encoded where it must be.
    pub path: Template,
    /// Without `?`; percent-encoded where it must be.
    pub query: Option<Template>,
}

impl Address {
    /// Reads an address; the scheme may be in any case.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Address, &'static str> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a URL has no spaces and no control characters");
        }
        if let Some((secure, socket, path)) = unix(text) {
            let socket = socket?;
            let address = Address::parse(&format!("{}://localhost{path}", if secure { "wss" } else { "ws" }))?;
            return Ok(Address { text: text.to_owned(), shown: mask_address(text), socket: Some(socket), ..address });
        }
        if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:")) {
            return Err("a socket of this machine is written `ws+unix:/run/app.sock:/path`");
        }
        let (_, rest) = text.split_once("://").ok_or(NOT_OURS)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (before, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, authority) = before.rsplit_once('@').map_or((None, before), |(user, authority)| (Some(user), authority));
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let url = read(text, authority)?;
        let template = |text: &str| Template::parse(text).ok().filter(Template::is_simple).ok_or(UNKNOWN);
        let credentials = match user.filter(|user| !user.is_empty()) {
            // A user without a word: RFC 7617 wants the colon.
            Some(user) if !user.contains(':') => Some(template(&format!("{user}:"))?.map(user_text)?),
            Some(user) => Some(template(user)?.map(user_text)?),
            None => None,
        };
        Ok(Address {
            text: text.to_owned(),
            shown: mask_address(text),
            socket: None,
            secure: url.scheme() == "wss",
            host: match url.host().ok_or(NO_HOST)? {
                Host::Domain(name) => name.to_owned(),
                Host::Ipv4(ip) => ip.to_string(),
                Host::Ipv6(ip) => ip.to_string(),
            },
            port: url.port_or_known_default().ok_or(NOT_OURS)?,
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            credentials,
            path: encoded(template(if path.is_empty() { "/" } else { path })?),
            query: query.map(|query| template(query).map(encoded)).transpose()?,
        })
    }

    /// As it was written, secrets included.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// To be shown as the scenario has it, where variables are not filled in.
    pub fn shown_as(self, written: &str) -> Address {
        Address { shown: mask_address(written), ..self }
    }

    /// Credentials for an `Authorization` header that differ from attempt to attempt.
    pub fn own_credentials(&self) -> Option<&Template> {
        self.credentials.as_ref().filter(|credentials| !credentials.is_plain())
    }

    /// The `Authorization` header of an attempt, where there are credentials.
    pub fn authorization(&self, values: &TemplateValues<'_>) -> Option<String> {
        self.credentials.as_ref().map(|credentials| basic(&credentials.fill(values)))
    }
}

/// The userinfo before the host of any address, as written; empty where there is none. Its scheme may be any, or missing as in variables with
/// proxies, and it need not be one that can be used.
pub fn userinfo(address: &str) -> &str {
    let rest = address.split_once("://").map(|(_, rest)| rest).or_else(|| address.strip_prefix("//")).unwrap_or(address);
    let before = rest.split(['/', '?', '#']).next().unwrap_or_default();
    before.rsplit_once('@').map_or("", |(user, _)| user)
}

/// Secrets are left out.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The URL that a word of the command line stands for: one with a scheme, where http is ws and https is wss, or `host:port`, which is ws. `None`: it is
/// meant to be a path or a name.
pub(crate) fn of_word(word: &str) -> Option<String> {
    if let Some((scheme, rest)) = word.split_once("://") {
        return Some(match scheme.to_ascii_lowercase().as_str() {
            "http" => format!("ws://{rest}"),
            "https" => format!("wss://{rest}"),
            _ => word.to_owned(),
        });
    }
    if unix(word).is_some() {
        return Some(word.to_owned());
    }
    let authority = word.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && !host.is_empty()).then(|| format!("ws://{word}"))
}

/// The URL that may be meant by a word that is neither a file nor a scenario: a port alone, or a host without one.
pub(crate) fn perhaps(word: &str) -> Option<String> {
    if let Some(port) = word.strip_prefix(':') {
        return port.starts_with(|first: char| first.is_ascii_digit()).then(|| format!("ws://127.0.0.1:{port}"));
    }
    let host = word.split(['/', '?', '#']).next().unwrap_or_default();
    let named = host.eq_ignore_ascii_case("localhost") || host.trim_matches('.').contains('.') && !word.ends_with(".toml");
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    (named && plain).then(|| format!("ws://{word}"))
}

/// The parts of `ws+unix:/run/app.sock:/path`, as Node's ws library writes it: whether with TLS, socket, and path.
fn unix(text: &str) -> Option<(bool, Result<String, &'static str>, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "ws+unix" => false,
        "wss+unix" => true,
        _ => return None,
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
    let socket = match () {
        () if socket.is_empty() || socket.contains(['?', '{']) => Err("write the path of the socket: `ws+unix:/run/app.sock:/path`"),
        // sun_path of sockaddr_un, with the zero at its end (unix(7)).
        () if socket.len() > 107 => Err("the path of a Unix socket has at most 107 bytes"),
        () => Ok(socket.to_owned()),
    };
    Some((secure, socket, if path.is_empty() { "/" } else { path }))
}

const NOT_OURS: &str = "this is not a ws:// or wss:// URL";
const NO_HOST: &str = "this URL has no host";
const NO_PORT: &str = "the port of this URL is not a number up to 65535";
const UNKNOWN: &str = "this URL has an unknown name in braces";

/// Credentials of RFC 7617.
pub fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

/// Percent-encodes what a URL does not have, as braces that are text. What is encoded already stays.
pub fn encoded(template: Template) -> Template {
    let encode = |text: &str| {
        let byte = |byte: u8| {
            let plain = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
            if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        };
        Ok::<_, Infallible>(text.bytes().map(byte).collect())
    };
    let Ok(template) = template.map(encode);
    template
}

fn user_text(text: &str) -> Result<String, &'static str> {
    percent_decoded(text).ok_or("before the @ of this URL, `%` must stand before two hexadecimal digits of UTF-8 text")
}

/// Reads a URL whose names in braces are filled in with an example, as the URL standard does. `authority`: host and port as written.
fn read(text: &str, authority: &str) -> Result<Url, &'static str> {
    let host = authority.rfind(':').filter(|_| !authority.ends_with(']')).map_or(authority, |colon| &authority[..colon]);
    // The standard would look for a host in the path, and takes an empty port for none.
    if host.is_empty() {
        return Err(NO_HOST);
    }
    if host.contains('{') {
        return Err("the host of a URL must be the same for all clients: it cannot contain {client} or {attempt}");
    }
    if authority.ends_with(':') || authority[host.len()..].contains('{') {
        return Err(NO_PORT);
    }
    let example = TemplateValues { client: "0".into(), attempt: "0".into(), own: None };
    let filled = Template::parse(text).map_err(|_| UNKNOWN)?;
    let url = Url::parse(&filled.fill(&example)).map_err(|error| match error {
        ParseError::EmptyHost => NO_HOST,
        ParseError::InvalidPort => NO_PORT,
        ParseError::InvalidIpv6Address => "between the brackets of this URL is no IPv6 address",
        ParseError::RelativeUrlWithoutBase | ParseError::RelativeUrlWithCannotBeABaseBase => NOT_OURS,
        _ => "the host of this URL is neither a host name nor an IP address",
    })?;
    if matches!(url.scheme(), "ws" | "wss") { Ok(url) } else { Err(NOT_OURS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_urls_are_told_from_names_and_paths() {
        for (word, url, perhaps_url) in [
            ("ws://h.test/x", Some("ws://h.test/x"), None),
            ("WSS://h.test", Some("WSS://h.test"), None),
            ("http://h.test:80/x", Some("ws://h.test:80/x"), None),
            ("HTTPS://h.test", Some("wss://h.test"), None),
            ("ftp://h.test", Some("ftp://h.test"), None),
            ("ws+unix:/run/app.sock:/x", Some("ws+unix:/run/app.sock:/x"), None),
            ("localhost:8080", Some("ws://localhost:8080"), None),
            ("localhost:8080/chat?a=b:c", Some("ws://localhost:8080/chat?a=b:c"), None),
            ("[::1]:9/x", Some("ws://[::1]:9/x"), None),
            ("joe:word@h.test:9", Some("ws://joe:word@h.test:9"), None),
            ("crash-storm", None, None),
            ("mine.toml", None, None),
            ("folder/mine.toml", None, None),
            ("a:b", None, None),
            (":8080/x", None, Some("ws://127.0.0.1:8080/x")),
            ("localhost", None, Some("ws://localhost")),
            ("example.org/chat", None, Some("ws://example.org/chat")),
            ("../mine", None, None),
        ] {
            assert_eq!(of_word(word).as_deref(), url, "{word}");
            if url.is_none() {
                assert_eq!(perhaps(word).as_deref(), perhaps_url, "{word}");
            }
        }
    }

    fn values() -> TemplateValues<'static> {
        TemplateValues { client: "7".into(), attempt: "2".into(), own: None }
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, secure, host, port, authority, path, query) in [
            ("ws://127.0.0.1:9000/path?x=1", false, "127.0.0.1", 9000, "127.0.0.1:9000", "/path", Some("x=1")),
            ("ws://example.org", false, "example.org", 80, "example.org", "/", None),
            ("WSS://Example.org:443/", true, "example.org", 443, "example.org", "/", None),
            ("ws://bücher.example:81/", false, "xn--bcher-kva.example", 81, "xn--bcher-kva.example:81", "/", None),
            // What a browser reaches by these.
            ("ws://2130706433/", false, "127.0.0.1", 80, "127.0.0.1", "/", None),
            ("ws://0x7f.1:9/", false, "127.0.0.1", 9, "127.0.0.1:9", "/", None),
            ("Ws://[::1]:81/p/q#top", false, "::1", 81, "[::1]:81", "/p/q", None),
            ("wss://[::1]", true, "::1", 443, "[::1]", "/", None),
            ("wss://user:word@h:9?a=1#top", true, "h", 9, "h:9", "/", Some("a=1")),
            ("ws://h/room/{client}?no={attempt}", false, "h", 80, "h", "/room/7", Some("no=2")),
            // Braces that are text, and letters that a URL does not have.
            ("ws://h/{{client}/ö%20?q={\"x\":1}", false, "h", 80, "h", "/%7Bclient%7D/%C3%B6%20", Some("q=%7B%22x%22:1%7D")),
        ] {
            let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            let (values, query) = (values(), query.map(str::to_owned));
            assert_eq!((address.secure, address.host.as_str(), address.port), (secure, host, port), "{text}");
            assert_eq!((address.authority.as_str(), address.path.fill(&values).as_ref()), (authority, path), "{text}");
            assert_eq!(address.query.as_ref().map(|query| query.fill(&values).into_owned()), query, "{text}");
        }
    }

    #[test]
    fn sockets_of_this_machine_have_a_path_and_a_request() {
        for (text, secure, socket, path) in [
            ("ws+unix:/run/app.sock:/chat?x=1", false, "/run/app.sock", "/chat"),
            ("ws+unix:///run/app.sock:/chat", false, "/run/app.sock", "/chat"),
            ("WSS+unix:app.sock", true, "app.sock", "/"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((address.secure, address.socket.as_deref()), (secure, Some(socket)), "{text}");
            assert_eq!((address.path.fill(&values()).as_ref(), address.authority.as_str()), (path, "localhost"), "{text}");
            assert_eq!(address.as_written(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("ws+unix:", "path of the socket"),
            ("unix:///run/app.sock", "written `ws+unix:/run/app.sock:/path`"),
            ("ws+unix::/chat", "path of the socket"),
            ("http://localhost:1/", "not a ws:// or wss:// URL"),
            ("localhost:9000", "not a ws:// or wss:// URL"),
            ("ws://", "no host"),
            ("ws:///a", "no host"),
            ("ws://[::1/", "IPv6"),
            ("ws://a<b/", "neither a host name"),
            ("ws://:80/", "no host"),
            ("ws://h:70000/", "port"),
            ("ws://h:/", "port"),
            ("ws://h:+1/", "port"),
            ("ws://[::1]x/", "IPv6"),
            ("ws://[h]/", "IPv6"),
            ("ws://h:8{client}/", "port"),
            ("ws://room{client}.example.org/", "same for all clients"),
            ("ws://h/a b", "spaces"),
            ("ws://a%b@h/", "hexadecimal"),
            ("ws://h/{clinet}", "unknown name"),
        ] {
            let found = Address::parse(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn whatever_is_an_address_may_have_credentials() {
        for (address, user) in [
            ("ws://user:word@h/", "user:word"),
            ("HTTPS://user:word@h?x", "user:word"),
            ("user:word@proxy:8080", "user:word"),
            ("//user:word@h/x", "user:word"),
            ("proxy:8080", ""),
            ("/chat@x:y", ""),
            ("ws://h/a@b", ""),
        ] {
            assert_eq!(userinfo(address), user, "{address}");
        }
    }

    #[test]
    fn credentials_become_a_header_and_are_not_shown() {
        for (text, header, shown) in [
            // The example of RFC 7617 §2.
            ("ws://Aladdin:open%20sesame@h/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "ws://***@h/"),
            ("ws://a:b:c@h", Some("Basic YTpiOmM="), "ws://***@h"),
            ("ws://token@h/", Some("Basic dG9rZW46"), "ws://***@h/"),
            ("ws://u{client}:p@h/", Some("Basic dTc6cA=="), "ws://***@h/"),
            ("ws://@h/", None, "ws://@h/"),
            ("ws://h/a@b", None, "ws://h/a@b"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(address.authorization(&values()).as_deref(), header, "{text}");
            assert_eq!((address.to_string().as_str(), address.as_written()), (shown, text));
        }
        assert!(Address::parse("ws://u{client}@h").is_ok_and(|address| address.own_credentials().is_some()));
    }
}
