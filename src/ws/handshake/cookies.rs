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
    /// Keeps what a `Set-Cookie` field says, if it is well-formed; a cookie of the same name is replaced.
    pub(crate) fn take(&mut self, field: &str) {
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
