//! The cookies of one client: what a server sets in its answers, and what the client sends again (RFC 6265, for one host).
//!
//! All go to the target and to nobody else; `Domain`, `Path`, `Secure` and `Expires` are not looked at. `Max-Age=0` takes a cookie away.

/// Cookies of a client; more take the place of the oldest.
const COOKIES_MAX: usize = 50;
/// Longest cookie that is kept, bytes (RFC 6265 §6.1).
const COOKIE_MAX: usize = 4096;

/// Those of one client.
#[derive(Debug, Default)]
pub(crate) struct CookieJar(Vec<(String, String)>);

impl CookieJar {
    /// A client's jar after an answer with these fields; none where nothing is in it: a client without one sends what all send.
    pub(crate) fn after(jar: Option<Box<CookieJar>>, fields: &[String]) -> Option<Box<CookieJar>> {
        let mut jar = jar.unwrap_or_default();
        fields.iter().for_each(|field| jar.take(field));
        Some(jar).filter(|jar| !jar.0.is_empty())
    }

    /// Keeps what a `Set-Cookie` field says, if it is well-formed; a cookie of the same name is replaced.
    fn take(&mut self, field: &str) {
        let mut parts = field.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() + value.len() > COOKIE_MAX || field.chars().any(char::is_control) {
            return;
        }
        self.0.retain(|(known, _)| known != name);
        let age = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"));
        if age.is_some_and(|(_, age)| age.trim().parse::<i64>().is_ok_and(|age| age <= 0)) {
            return;
        }
        if self.0.len() >= COOKIES_MAX {
            self.0.remove(0);
        }
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a `Cookie` field; `None`: there are none.
    pub(crate) fn field(&self) -> Option<String> {
        let all: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_an_empty_jar() {
        let jar = CookieJar::after(None, &["node=7".to_owned()]);
        assert_eq!(jar.as_ref().and_then(|jar| jar.field()).as_deref(), Some("node=7"));
        assert!(CookieJar::after(jar, &["node=; Max-Age=0".to_owned()]).is_none());
        assert!(CookieJar::after(None, &["no cookie".to_owned()]).is_none());
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
            jar.take(field);
            assert_eq!(jar.field().as_deref(), expected, "{field}");
        }
        (0..60).for_each(|n| jar.take(&format!("c{n}=1")));
        assert!(jar.field().is_some_and(|field| field.matches('=').count() == COOKIES_MAX && field.ends_with("c59=1")));
    }
}
