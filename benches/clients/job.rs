//! What a client of the benchmark is to do: the same words for the floor, the bare loop and what the driver asks of other tools.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What open connections do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    Idle,
    /// Each client sends its next message as soon as the last came back.
    Closed,
    /// All clients together send so many messages a second, in turn, from due times.
    Rate(f64),
    /// Idle, and whoever loses the server tries again after a fixed delay.
    Return(Duration),
}

/// One client program's work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    pub(crate) load: Load,
    pub(crate) clients: u32,
    /// Client k goes to address k mod n.
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) port: u16,
    /// wss, and any certificate will do.
    pub(crate) secure: bool,
    /// Attempts under way at the same time, at most.
    pub(crate) in_flight: u32,
    /// Bytes of a message.
    pub(crate) payload: usize,
    /// How long messages are sent at a rate; for the others the driver ends the run.
    pub(crate) seconds: f64,
}

impl Job {
    pub(crate) fn address(&self, client: usize) -> SocketAddrV4 {
        SocketAddrV4::new(self.addresses[client % self.addresses.len()], self.port)
    }

    /// As words on a command line, read again by [`Job::read`].
    pub(crate) fn words(&self) -> Vec<String> {
        let load = match self.load {
            Load::Idle => "load=idle".to_owned(),
            Load::Closed => "load=closed".to_owned(),
            Load::Rate(rate) => format!("rate={rate}"),
            Load::Return(delay) => format!("return_ms={}", delay.as_millis()),
        };
        let addresses: Vec<_> = self.addresses.iter().map(Ipv4Addr::to_string).collect();
        vec![
            load,
            format!("clients={}", self.clients),
            format!("addresses={}", addresses.join(",")),
            format!("port={}", self.port),
            format!("secure={}", self.secure),
            format!("in_flight={}", self.in_flight),
            format!("payload={}", self.payload),
            format!("seconds={}", self.seconds),
        ]
    }

    /// From the words of a command line; the error says which is missing or wrong.
    pub(crate) fn read(words: &[String]) -> Result<Job, String> {
        let words: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
        let load = match (words.get("load"), words.get("rate"), words.get("return_ms")) {
            (Some(&"idle"), None, None) => Load::Idle,
            (Some(&"closed"), None, None) => Load::Closed,
            (None, Some(rate), None) => Load::Rate(rate.parse().map_err(|_| format!("rate={rate}"))?),
            (None, None, Some(ms)) => Load::Return(Duration::from_millis(ms.parse().map_err(|_| format!("return_ms={ms}"))?)),
            _ => return Err("one of load=idle, load=closed, rate=MESSAGES_A_SECOND, return_ms=DELAY".into()),
        };
        let addresses: Result<Vec<_>, _> = words.get("addresses").unwrap_or(&"127.0.0.1").split(',').map(str::parse).collect();
        Ok(Job {
            load,
            clients: number(&words, "clients", 1)?,
            addresses: addresses.map_err(|error| format!("addresses: {error}"))?,
            port: number(&words, "port", 0)?,
            secure: number(&words, "secure", false)?,
            in_flight: number(&words, "in_flight", 1024)?,
            payload: number(&words, "payload", 100)?,
            seconds: number(&words, "seconds", 5.0)?,
        })
    }
}

fn number<T: std::str::FromStr>(words: &BTreeMap<&str, &str>, name: &str, default: T) -> Result<T, String> {
    words.get(name).map_or(Ok(default), |word| word.parse().map_err(|_| format!("{name}={word}")))
}
