//! The scenario of a URL with options, as people type it: `closestorm run ws://127.0.0.1:8080/chat -c 200 -d 30s --message hi`.
//!
//! It is written as a file would be, with comments, and read like one: what is printed and saved is what runs. A secret is not written out: a
//! variable of the environment stands for it, which has its value in this run.

use super::{DURATION, SEED};
use crate::address::Address;
use crate::number::counted;
use crate::secret::{self, Holder};
use crate::units::{Rate, print_duration};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Clients without `--clients`.
const CLIENTS: u32 = 10;
/// Messages of each client without `--message-rate`.
const MESSAGES: Rate = Rate(1.0);

/// A URL and what the command line says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UrlScenario {
    /// ws:// or wss://.
    pub address: String,
    /// All of them.
    pub clients: Option<u32>,
    /// Length of the run.
    pub duration: Option<Duration>,
    /// Root of all random streams.
    pub seed: Option<u64>,
    /// Clients that connect per second; without it all within a tenth of the run.
    pub rate: Option<Rate>,
    /// What each client sends; without it they listen.
    pub message: Option<String>,
    /// How often each client sends it.
    pub message_rate: Option<Rate>,
    /// Names and values of the opening handshake.
    pub headers: Vec<(String, String)>,
    /// To be offered, in order.
    pub subprotocols: Vec<String>,
    /// Any certificate is accepted.
    pub insecure: bool,
    /// A preset.
    pub reconnect: Option<String>,
}

/// A scenario that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeScenario {
    /// Names the plan.
    pub name: String,
    /// TOML with comments, and without secrets.
    pub text: String,
    /// The variables that stand for secrets of the command line.
    pub variables: BTreeMap<String, String>,
}

/// Names of variables for secrets, and what they hold.
#[derive(Default)]
struct StandIns(BTreeMap<String, String>);

impl StandIns {
    /// The text with a variable for each secret; `what` is in the variable's name.
    fn without_secrets(&mut self, holder: Holder<'_>, what: &str, text: &str) -> String {
        secret::replace(holder, text, |found| {
            // What is only filled in for each client is no secret of this command line.
            if found.starts_with('{') && found.ends_with('}') && found.matches('{').count() == 1 {
                return found.to_owned();
            }
            let value = found.replace("$${", "${");
            let base: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
            let names = (1..).map(|number| if number == 1 { format!("CLOSESTORM_{base}") } else { format!("CLOSESTORM_{base}_{number}") });
            let free = |name: &String| self.0.get(name).is_none_or(|held| *held == value);
            // There are more names than secrets.
            let name = names.into_iter().find(free).unwrap_or_default();
            self.0.insert(name.clone(), value);
            format!("${{{name}}}")
        })
    }
}

impl UrlScenario {
    /// Without options.
    pub fn of(address: &str) -> UrlScenario {
        UrlScenario { address: address.to_owned(), ..UrlScenario::default() }
    }

    /// As it is with all that was typed, secrets included.
    pub(super) fn text(&self) -> String {
        self.written(&mut |_, _, text| text.to_owned())
    }

    /// As it is printed, saved and run.
    pub fn make(&self) -> MadeScenario {
        let mut secrets = StandIns::default();
        let body = self.written(&mut |holder, what, text| secrets.without_secrets(holder, what, text));
        let mut text = String::from(
            "# Made by closestorm of a URL and options. Run it again with `closestorm run FILE`; `closestorm validate --keys` lists all keys.\n",
        );
        if !secrets.0.is_empty() {
            let names: Vec<_> = secrets.0.keys().map(String::as_str).collect();
            let _ = writeln!(text, "# Secrets are not written here. Set before you run it: {}", names.join(", "));
        }
        // Neither credentials nor a path: they may be secret.
        let name = Address::parse(&self.address).map_or_else(|_| "URL".to_owned(), |address| address.authority);
        MadeScenario { name, text: text + &body, variables: secrets.0 }
    }

    /// The file; `shown` says how a text that goes to the server is written, by its holder and what it is.
    fn written(&self, shown: &mut dyn FnMut(Holder<'_>, &str, &str) -> String) -> String {
        let clients = self.clients.unwrap_or(CLIENTS);
        let duration = print_duration(self.duration.unwrap_or(DURATION));
        let mut out = String::new();
        let mut line = |line: String| {
            out += &line;
            out.push('\n');
        };
        line(format!("question = \"Can {} connect to this server and stay connected for {duration}?\"", counted(clients.into(), "client")));
        line("answer   = { pass = \"Yes\", fail = \"No\" }".to_owned());
        line(format!("duration = \"{duration}\""));
        line(format!("seed     = {}   # the same seed plans the same arrivals and waits", self.seed.unwrap_or(SEED)));
        line(
            "\n# What must hold: the run exits with 99 where one of these does not, and with 3 where nothing was there to judge."
                .to_owned(),
        );
        line("expect = [".to_owned());
        line("  \"attempts{outcome=opened} share > 99%\",   # nearly all attempts to connect succeed".to_owned());
        line("  \"closes count == 0\",                      # the server ends no connection, and none is lost".to_owned());
        if self.message.is_some() {
            line(
                "  # \"rtt p99 < 250ms\",                      # for a server that answers each message; without answers it does not pass"
                    .to_owned(),
            );
        }
        line("]\n\n[target.url]".to_owned());
        line(format!("address  = {}", quoted(&shown(Holder::Address, "url", &self.address))));
        if self.insecure {
            line("insecure = true   # any certificate is accepted".to_owned());
        }
        line("\n[clients.default]".to_owned());
        line(format!("count  = {clients}"));
        match self.rate {
            Some(rate) => line(format!("arrive = {{ rate = \"{rate}\" }}   # so many connect per second")),
            None => line("# arrive = { rate = \"50/s\" }   # without it, all connect within a tenth of the run".to_owned()),
        }
        if let Some(preset) = &self.reconnect {
            line(format!("reconnect = {}   # how a client comes back: `closestorm presets`", quoted(preset)));
        }
        if !self.subprotocols.is_empty() {
            let mut before: Option<&str> = None;
            let mut list = Vec::new();
            for one in &self.subprotocols {
                list.push(quoted(&shown(Holder::Subprotocol(before), "subprotocol", one)));
                before = Some(one);
            }
            line(format!("subprotocols = [{}]", list.join(", ")));
        }
        match &self.message {
            Some(message) => {
                let message = quoted(&shown(Holder::Text, "message", message));
                let rate = self.message_rate.unwrap_or(MESSAGES);
                line("# Each client sends this. The next message that comes counts as its answer, and the round trip is measured; there need be none.".to_owned());
                line(format!("traffic = {{ request = {{ message = {message}, rate = \"{rate}\" }} }}"));
                line("ready   = \"open\"   # also where the server never answers".to_owned());
            }
            None => line("traffic = { listen = true }   # sends nothing, and counts what comes".to_owned()),
        }
        if !self.headers.is_empty() {
            line("\n[clients.default.headers]".to_owned());
            for (name, value) in &self.headers {
                line(format!("{} = {}", key(name), quoted(&shown(Holder::Field(name), name, value))));
            }
        }
        out
    }
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// As a key: bare where that is allowed.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::scenario::{Overrides, Source, load_with};

    fn loaded(made: &MadeScenario) -> Plan {
        let source = Source::Text { name: made.name.clone(), text: made.text.clone() };
        load_with(&source, &Overrides::default(), &|name| made.variables.get(name).cloned())
            .unwrap_or_else(|errors| panic!("{}\n{errors}", made.text))
    }

    fn all() -> UrlScenario {
        UrlScenario {
            address: "wss://joe:secretword@h.test:9000/chat?token=abcdefgh&room=1".to_owned(),
            clients: Some(200),
            duration: Some(Duration::from_secs(30)),
            seed: Some(7),
            rate: Some(Rate(50.0)),
            message: Some("{\"a\":1,\"n\":\"{sequence}\"}".to_owned()),
            message_rate: Some(Rate(2.0)),
            headers: vec![
                ("Authorization".to_owned(), "Bearer 0123456789".to_owned()),
                ("X-Client".to_owned(), "{client}".to_owned()),
                ("X-Token".to_owned(), "${TOKEN:-}".to_owned()),
            ],
            subprotocols: vec!["graphql-ws".to_owned()],
            insecure: true,
            reconnect: Some("socket.io-client".to_owned()),
        }
    }

    #[test]
    fn every_option_is_in_the_plan() {
        let plan = loaded(&all().make());
        let cohort = &plan.cohorts[0];
        assert_eq!((plan.clients(), plan.duration, plan.seed.0), (200, Duration::from_secs(30), 7));
        assert_eq!(cohort.arrive, crate::plan::Arrive::Rate(Rate(50.0)));
        assert_eq!((cohort.headers.len(), cohort.subprotocols.len(), cohort.reconnect_label.as_str()), (3, 1, "socket.io-client"));
        assert_eq!(cohort.ready, crate::plan::Readiness::Open);
        assert!(matches!(&plan.target, crate::plan::Target::Url(remote) if remote.insecure && remote.address.secure), "{:?}", plan.target);
        assert_eq!(plan.expectations.len(), 2);
        assert_eq!(plan.name, "h.test-9000");
    }

    #[test]
    fn no_secret_is_written_and_the_saved_file_is_the_same_plan() {
        let made = all().make();
        for secret in ["secretword", "abcdefgh", "0123456789"] {
            assert!(!made.text.contains(secret), "{secret} in {}", made.text);
        }
        for named in ["${CLOSESTORM_AUTHORIZATION}", "${CLOSESTORM_URL}", "${CLOSESTORM_URL_2}", "X-Client = \"{client}\""] {
            assert!(made.text.contains(named), "{named} is not in {}", made.text);
        }
        assert_eq!(made.variables["CLOSESTORM_AUTHORIZATION"], "0123456789");
        assert!(!loaded(&made).resolved.contains("0123456789"));
    }

    #[test]
    fn what_is_typed_does_not_leave_its_place() {
        let odd = "a\"b'c\n]\n[faults]\\";
        let made = UrlScenario {
            message: Some(odd.to_owned()),
            headers: vec![("X.Y".to_owned(), "\"'\\ ]".to_owned())],
            ..UrlScenario::of("ws://127.0.0.1:1/")
        }
        .make();
        let plan = loaded(&made);
        assert!(plan.faults.is_empty());
        assert_eq!(plan.cohorts[0].headers[0].0, "X.Y");
    }

    #[test]
    fn without_options_a_handful_of_clients_listen() {
        let plan = loaded(&UrlScenario::of("ws://127.0.0.1:9/x").make());
        assert_eq!((plan.clients(), plan.duration, plan.cohorts[0].traffic), (10, DURATION, crate::plan::Traffic::None));
    }
}
