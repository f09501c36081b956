//! Which client a connection is of: what the user names of its opening request stands for the client.
//!
//! A value that may be a credential, as a cookie or what stands under the name of a secret, is never shown or kept: a keyed hash of it is, whose
//! key lives as long as the process.

use crate::secret::{Holder, mask};
use crate::text::{percent_decoded, printable};
use ring::hmac;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Longer values are shown as hashes, too. Bytes.
const VALUE_MAX: usize = 64;
/// Bytes of a hash that are shown: enough that two clients of a run never share them.
const HASH_SHOWN: usize = 9;

/// What tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKey {
    /// The value of this header of the opening request, in any case.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this key of the query of its URL.
    Query(String),
    /// The IP address from which it connects.
    Address,
}

impl FromStr for ClientKey {
    type Err = String;

    /// Reads `header:NAME`, `cookie:NAME`, `query:NAME` or `address`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" does not tell clients apart: it is header:NAME, cookie:NAME, query:NAME, or address");
        let (of, name) = match text.split_once(':') {
            None if text == "address" => return Ok(ClientKey::Address),
            None => return Err(wrong()),
            Some((of, name)) => (of, name.trim()),
        };
        let is_token =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte));
        match of {
            "header" if is_token(name) => Ok(ClientKey::Header(name.to_owned())),
            "cookie" if is_token(name) => Ok(ClientKey::Cookie(name.to_owned())),
            "query" if !name.is_empty() => Ok(ClientKey::Query(name.to_owned())),
            _ => Err(wrong()),
        }
    }
}

/// As the user writes it.
impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientKey::Header(name) => write!(f, "header:{name}"),
            ClientKey::Cookie(name) => write!(f, "cookie:{name}"),
            ClientKey::Query(name) => write!(f, "query:{name}"),
            ClientKey::Address => f.write_str("address"),
        }
    }
}

/// Gives each client its label.
#[derive(Debug)]
pub struct ClientLabels {
    key: ClientKey,
    hashes: hmac::Key,
}

impl ClientLabels {
    /// For clients that this tells apart. Labels of two processes differ where they are hashes.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn new(key: ClientKey) -> Result<Self, String> {
        let hashes = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()).map_err(|_| "there are no random numbers")?;
        Ok(ClientLabels { key, hashes })
    }

    /// Whether the opening request says whose it is.
    pub(crate) fn are_asked(&self) -> bool {
        self.key != ClientKey::Address
    }

    /// What tells clients apart.
    pub(crate) fn key(&self) -> &ClientKey {
        &self.key
    }

    /// The label of a client of which only its address is known; `None`: that does not tell.
    pub(crate) fn of_address(&self, from: IpAddr) -> Option<String> {
        if self.key == ClientKey::Address { self.of("", &[], from) } else { None }
    }

    /// The label of the client that sent this request head from this address; `None`: the request does not have what tells clients apart.
    pub(crate) fn of(&self, target: &str, headers: &[httparse::Header<'_>], from: IpAddr) -> Option<String> {
        let value = self.key.value(target, headers, from)?;
        let shown = value.len() <= VALUE_MAX && printable(&value) == value && !self.key.hides(&value);
        Some(if shown { value } else { self.hash(&value) })
    }

    /// `#` and hexadecimal digits.
    fn hash(&self, value: &str) -> String {
        let tag = hmac::sign(&self.hashes, value.as_bytes());
        "#".to_owned() + &tag.as_ref()[..HASH_SHOWN].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    }
}

impl ClientKey {
    /// What stands there; an empty value stands for nobody.
    fn value(&self, target: &str, headers: &[httparse::Header<'_>], from: IpAddr) -> Option<String> {
        let values = |name: &str| {
            let found = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value.trim_ascii()).into_owned()).collect::<Vec<_>>()
        };
        let value = match self {
            ClientKey::Address => return Some(from.to_canonical().to_string()),
            ClientKey::Header(name) => values(name).into_iter().next(),
            ClientKey::Cookie(name) => {
                values("cookie").iter().find_map(|line| pair(line.split(';').map(str::trim), name)).map(str::to_owned)
            }
            ClientKey::Query(name) => {
                let query = target.split_once('?').map_or("", |(_, query)| query);
                let query = query.split_once('#').map_or(query, |(query, _)| query);
                let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
                let mut pairs = query.split('&').filter_map(|pair| {
                    let (key, value) = pair.split_once('=')?;
                    Some((decoded(key)?, decoded(value)?))
                });
                pairs.find(|(key, _)| key == name).map(|(_, value)| value)
            }
        };
        value.filter(|value| !value.is_empty())
    }

    /// Whether a value may be a credential.
    fn hides(&self, value: &str) -> bool {
        match self {
            ClientKey::Address => false,
            ClientKey::Cookie(_) => true,
            ClientKey::Header(name) => mask(Holder::Field(name), value) != value,
            ClientKey::Query(name) => {
                let written = format!("{name}={value}");
                mask(Holder::Query, &written) != written
            }
        }
    }
}

/// The value of a name among `name=value`.
fn pair<'a>(mut pairs: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(key: &str) -> ClientLabels {
        ClientLabels::new(key.parse().expect("a key")).expect("random numbers")
    }

    fn label(labels: &ClientLabels, head: &str) -> Option<String> {
        let (mut headers, text) = ([httparse::EMPTY_HEADER; 16], format!("GET {head}\r\n\r\n"));
        let mut request = httparse::Request::new(&mut headers);
        request.parse(text.as_bytes()).expect("a request");
        labels.of(request.path.expect("a target"), request.headers, [127, 0, 0, 9].into())
    }

    #[test]
    fn a_client_is_known_by_what_the_user_names() {
        for (key, head, expected) in [
            ("header:X-Client", "/ HTTP/1.1\r\nHost: h\r\nx-client:  anna \r\nX-Client: other", Some("anna")),
            ("header:X-Client", "/ HTTP/1.1\r\nHost: h", None),
            ("header:X-Client", "/ HTTP/1.1\r\nX-Client:", None),
            ("query:user", "/chat?a=1&user=anna%20b&user=c HTTP/1.1", Some("anna b")),
            ("query:user", "/chat?username=1 HTTP/1.1", None),
            ("query:user", "/user=1 HTTP/1.1", None),
            ("address", "/ HTTP/1.1", Some("127.0.0.9")),
        ] {
            assert_eq!(label(&labels(key), head).as_deref(), expected, "{key} of {head}");
        }
    }

    #[test]
    fn what_may_be_a_credential_is_never_shown() {
        let long = "l".repeat(VALUE_MAX + 1);
        for (key, head, secret) in [
            ("cookie:sid", "/ HTTP/1.1\r\nCookie: a=b; sid=s3cr3t; c=d", "s3cr3t"),
            ("cookie:user", "/ HTTP/1.1\r\nCookie: a=b\r\nCookie: user=\"s3cr3t\"", "s3cr3t"),
            ("header:Authorization", "/ HTTP/1.1\r\nAuthorization: Bearer s3cr3t", "s3cr3t"),
            ("header:X-Api-Key", "/ HTTP/1.1\r\nX-Api-Key: s3cr3t", "s3cr3t"),
            ("query:token", "/?token=s3cr3t HTTP/1.1", "s3cr3t"),
            ("query:user", &format!("/?user={long} HTTP/1.1"), long.as_str()),
        ] {
            let (one, other) = (labels(key), labels(key));
            let found = label(&one, head).expect("it is there");
            assert!(found.starts_with('#') && found.len() == 1 + 2 * HASH_SHOWN && !found.contains(secret), "{key}: {found}");
            assert_eq!(label(&one, head).as_ref(), Some(&found), "the same client");
            assert_ne!(label(&one, &head.replace(secret, "another")), Some(found.clone()), "another client");
            assert_ne!(label(&other, head), Some(found), "nobody can try values without the key");
        }
    }

    #[test]
    fn what_tells_nobody_apart_is_said() {
        for key in ["address", "header:X-Client", "cookie:sid", "query:user"] {
            assert_eq!(key.parse::<ClientKey>().map(|read| read.to_string()).as_deref(), Ok(key));
        }
        for key in ["", "header", "header:", "header:a b", "cookie:a=b", "path:x", "Address", "query:"] {
            assert!(key.parse::<ClientKey>().expect_err(key).contains("header:NAME, cookie:NAME, query:NAME, or address"));
        }
    }
}
