//! The server's role of each protocol that libraries speak, on one connection of the embedded server: it answers, pings, and closes whoever does not
//! speak it, as the real ones do. It has no rooms and no topics: what one client says, no other hears.
//!
//! Sources: socket.io-protocol 5 and engine.io-protocol 4 (socketio/socket.io, docs), the graphql-transport-ws PROTOCOL.md (enisdenjo/graphql-ws), OASIS MQTT
//! 3.1.1 and 5.

use super::mqtt::{MqttPacket, MqttReader, packet};
use super::script::DialogueProtocol;
use super::{Outgoing, Payload};
use serde_json::{Value, json};
use std::time::Duration;

/// What to do about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// Send it back as it came.
    Same,
    /// Send these.
    Say(Vec<Outgoing>),
    /// Close the connection with this status code.
    Close(u16),
}

/// Engine.IO pings so often, and lets so much time pass for the pong.
const PING_EVERY: Duration = Duration::from_secs(25);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// In which a client must connect to a namespace of socket.io, say `connection_init`, send CONNECT.
const NAMESPACE_WITHIN: Duration = Duration::from_secs(45);
const INIT_WITHIN: Duration = Duration::from_secs(3);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// One connection; offsets are from its 101.
#[derive(Clone, Debug)]
pub(super) struct ProtocolServer {
    protocol: DialogueProtocol,
    /// The client has said who it is.
    known: bool,
    /// The client is closed then, if nothing changes.
    until: Option<Duration>,
    /// The next ping.
    ping: Option<Duration>,
    /// Silence that MQTT allows.
    silence: Option<Duration>,
    reader: MqttReader,
}

impl ProtocolServer {
    pub(super) fn new(protocol: DialogueProtocol) -> ProtocolServer {
        let within = match protocol {
            DialogueProtocol::SocketIo => NAMESPACE_WITHIN,
            DialogueProtocol::GraphqlTransportWs => INIT_WITHIN,
            DialogueProtocol::Mqtt | DialogueProtocol::Mqtt5 => CONNECT_WITHIN,
        };
        let ping = (protocol == DialogueProtocol::SocketIo).then_some(PING_EVERY);
        let reader = MqttReader::new(protocol == DialogueProtocol::Mqtt5);
        ProtocolServer { protocol, known: false, until: Some(within), ping, silence: None, reader }
    }

    /// What it says as soon as the connection is open.
    pub(super) fn greeting(&self) -> Option<Box<str>> {
        let (every, within) = (PING_EVERY.as_millis(), PONG_WITHIN.as_millis());
        let hello =
            format!("0{{\"sid\":\"embedded\",\"upgrades\":[],\"pingInterval\":{every},\"pingTimeout\":{within},\"maxPayload\":1000000}}");
        (self.protocol == DialogueProtocol::SocketIo).then(|| hello.into())
    }

    pub(super) fn wake(&self) -> Option<Duration> {
        self.until.into_iter().chain(self.ping).min()
    }

    pub(super) fn on_wake(&mut self, now: Duration) -> Reply {
        if self.until.is_some_and(|until| until <= now) {
            return Reply::Close(match self.protocol {
                DialogueProtocol::GraphqlTransportWs => 4408,
                _ => 1000,
            });
        }
        if self.ping.is_some_and(|ping| ping <= now) {
            self.ping = Some(now + PING_EVERY);
            // Who has not connected to a namespace by then has that time only.
            if self.known {
                self.until = Some(now + PONG_WITHIN);
            }
            return say([text("2")]);
        }
        Reply::Nothing
    }

    pub(super) fn on_message(&mut self, message: Payload<'_>, now: impl FnOnce() -> Duration) -> Reply {
        match (self.protocol, message) {
            (DialogueProtocol::SocketIo, Payload::Text(message)) => self.socket_io(message),
            (DialogueProtocol::GraphqlTransportWs, Payload::Text(message)) => self.graphql(message),
            (DialogueProtocol::Mqtt | DialogueProtocol::Mqtt5, Payload::Binary(bytes)) => {
                self.mqtt(bytes, now()).unwrap_or_else(Reply::Close)
            }
            // MQTT-6.0.0-1: data frames are binary.
            (DialogueProtocol::Mqtt | DialogueProtocol::Mqtt5, Payload::Text(_)) => Reply::Close(1003),
            (DialogueProtocol::GraphqlTransportWs, Payload::Binary(_)) => Reply::Close(4400),
            (DialogueProtocol::SocketIo, Payload::Binary(_)) => Reply::Nothing,
        }
    }

    fn socket_io(&mut self, message: &str) -> Reply {
        if message == "3" {
            if self.known {
                self.until = None;
            }
            return Reply::Nothing;
        }
        let Some(packet) = message.strip_prefix('4') else { return Reply::Nothing };
        if let Some(rest) = packet.strip_prefix('0') {
            (self.known, self.until) = (true, None);
            let namespace = rest.split_once(',').map(|(name, _)| name).filter(|name| name.starts_with('/'));
            let namespace = namespace.map(|name| format!("{name},")).unwrap_or_default();
            return say([text(format!("40{namespace}{{\"sid\":\"embedded\"}}"))]);
        }
        if !self.known {
            // Whatever comes before the CONNECT of a namespace is a protocol error.
            return Reply::Close(1000);
        }
        let Some(event) = packet.strip_prefix('2') else { return Reply::Nothing };
        let (namespace, rest) = match event.split_once(',') {
            Some((name, rest)) if name.starts_with('/') => (format!("{name},"), rest),
            _ => (String::new(), event),
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        match &rest[..digits] {
            "" => Reply::Nothing,
            id => say([text(format!("43{namespace}{id}[]"))]),
        }
    }

    fn graphql(&mut self, message: &str) -> Reply {
        let Ok(message) = serde_json::from_str::<Value>(message) else { return Reply::Close(4400) };
        match message["type"].as_str() {
            Some("connection_init") if self.known => Reply::Close(4429),
            Some("connection_init") => {
                (self.known, self.until) = (true, None);
                say([text(r#"{"type":"connection_ack"}"#)])
            }
            Some("ping") => say([text(r#"{"type":"pong"}"#)]),
            Some("subscribe") if !self.known => Reply::Close(4401),
            Some("subscribe") => {
                let id = &message["id"];
                let next = json!({ "id": id, "type": "next", "payload": { "data": {} } });
                say([text(next.to_string()), text(json!({ "id": id, "type": "complete" }).to_string())])
            }
            Some("pong" | "complete") => Reply::Nothing,
            _ => Reply::Close(4400),
        }
    }

    /// # Errors
    /// The status code with which the connection is closed.
    fn mqtt(&mut self, mut bytes: &[u8], now: Duration) -> Result<Reply, u16> {
        let (mut replies, mut came) = (Vec::new(), false);
        while let Some(MqttPacket { says, .. }) = self.reader.next(&mut bytes).map_err(|_| 1002_u16)? {
            came = true;
            if let Some(reply) = self.mqtt_reply(&says)? {
                replies.push(Outgoing::Binary(packet(&reply.to_string(), self.reader.is_five()).map_err(|_| 1002_u16)?));
            }
        }
        if let Some(silence) = self.silence.filter(|_| came) {
            self.until = Some(now + silence);
        }
        Ok(if replies.is_empty() { Reply::Nothing } else { Reply::Say(replies) })
    }

    /// # Errors
    /// As those of [`ProtocolServer::mqtt`].
    fn mqtt_reply(&mut self, received: &Value) -> Result<Option<Value>, u16> {
        let name = received["type"].as_str().unwrap_or_default();
        if (name == "connect") == self.known {
            // The first packet is a CONNECT, and no other is.
            return Err(1002);
        }
        let id = &received["id"];
        Ok(Some(match name {
            "connect" => {
                (self.known, self.until) = (true, None);
                let keep_alive = received["keep_alive"].as_u64().unwrap_or(0);
                self.silence = (keep_alive > 0).then(|| Duration::from_millis(keep_alive * 1_500));
                json!({ "type": "connack" })
            }
            "subscribe" => {
                let codes: Vec<_> = received["topics"].as_array().into_iter().flatten().map(|topic| topic["qos"].clone()).collect();
                json!({ "type": "suback", "id": id, "codes": codes })
            }
            "unsubscribe" => json!({ "type": "unsuback", "id": id }),
            "publish" if received["qos"] == 1 => json!({ "type": "puback", "id": id }),
            "pingreq" => json!({ "type": "pingresp" }),
            "disconnect" => return Err(1000),
            _ => return Ok(None),
        }))
    }
}

fn text(text: impl Into<Box<str>>) -> Outgoing {
    Outgoing::Text(text.into())
}

fn say<const N: usize>(messages: [Outgoing; N]) -> Reply {
    Reply::Say(messages.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn texts(reply: Reply) -> Vec<String> {
        let Reply::Say(messages) = reply else { panic!("it says something: {reply:?}") };
        let of = |message| if let Outgoing::Text(text) = message { text.into() } else { panic!("a text") };
        messages.into_iter().map(of).collect()
    }

    #[test]
    fn socket_io_pings_and_closes_whoever_does_not_answer() {
        let mut server = ProtocolServer::new(DialogueProtocol::SocketIo);
        assert!(server.greeting().is_some_and(|text| text.starts_with("0{\"sid\":")));
        assert_eq!(texts(server.on_message(Payload::Text("40"), || s(1))), ["40{\"sid\":\"embedded\"}"]);
        assert_eq!(texts(server.on_message(Payload::Text("4217[\"ask\"]"), || s(1))), ["4317[]"]);
        assert_eq!(texts(server.on_message(Payload::Text("42/ns,17[\"ask\"]"), || s(1))), ["43/ns,17[]"]);
        assert_eq!(server.on_message(Payload::Text("42[\"tell\"]"), || s(1)), Reply::Nothing);
        assert_eq!((server.wake(), texts(server.on_wake(s(25)))), (Some(s(25)), vec!["2".to_owned()]));
        server.on_message(Payload::Text("3"), || s(26));
        assert_eq!((server.wake(), texts(server.on_wake(s(50)))), (Some(s(50)), vec!["2".to_owned()]));
        assert_eq!((server.wake(), server.on_wake(s(70))), (Some(s(70)), Reply::Close(1000)));
        let mut server = ProtocolServer::new(DialogueProtocol::SocketIo);
        assert_eq!(server.on_message(Payload::Text("42[\"early\"]"), || s(1)), Reply::Close(1000));
    }

    #[test]
    fn graphql_closes_with_the_codes_of_its_protocol() {
        let mut server = ProtocolServer::new(DialogueProtocol::GraphqlTransportWs);
        assert_eq!((server.wake(), server.clone().on_wake(s(3))), (Some(s(3)), Reply::Close(4408)));
        let subscribe = Payload::Text(r#"{"id":"7","type":"subscribe"}"#);
        assert_eq!(server.clone().on_message(subscribe, || s(1)), Reply::Close(4401));
        let init = Payload::Text(r#"{"type":"connection_init"}"#);
        assert_eq!(texts(server.on_message(init, || s(1))), [r#"{"type":"connection_ack"}"#]);
        let replies = texts(server.on_message(subscribe, || s(1)));
        assert!(replies.len() == 2 && replies.iter().all(|reply| reply.contains(r#""id":"7""#)), "{replies:?}");
        assert_eq!((server.wake(), server.on_message(init, || s(2))), (None, Reply::Close(4429)));
        assert_eq!(server.on_message(Payload::Text("hello"), || s(2)), Reply::Close(4400));
    }

    #[test]
    fn mqtt_answers_and_closes_whoever_is_silent() {
        let mut server = ProtocolServer::new(DialogueProtocol::Mqtt);
        let bytes = |text: &str| packet(text, false).expect("right");
        let connect = bytes(r#"{"type":"connect","client_id":"a","keep_alive":2}"#);
        let ping = bytes(r#"{"type":"pingreq"}"#);
        assert_eq!(server.clone().on_message(Payload::Binary(&ping), || s(1)), Reply::Close(1002));
        let both = [connect.clone(), bytes(r#"{"type":"publish","topic":"a","qos":1,"id":3}"#)].concat();
        assert_eq!(server.on_message(Payload::Binary(&both[..5]), || s(1)), Reply::Nothing);
        let acks = vec![Outgoing::Binary(b"\x20\x02\0\0".to_vec()), Outgoing::Binary(b"\x40\x02\0\x03".to_vec())];
        assert_eq!(server.on_message(Payload::Binary(&both[5..]), || s(1)), Reply::Say(acks));
        assert_eq!((server.wake(), server.clone().on_wake(s(4))), (Some(s(4)), Reply::Close(1000)));
        assert_eq!(server.on_message(Payload::Binary(&ping), || s(3)), Reply::Say(vec![Outgoing::Binary(b"\xd0\0".to_vec())]));
        assert_eq!(server.wake(), Some(s(6)));
        assert_eq!(server.on_message(Payload::Text("x"), || s(3)), Reply::Close(1003));
    }

    #[test]
    fn hostile_messages_cost_no_panic() {
        let long = "7".repeat(1 << 20);
        let texts =
            [String::new(), "é".to_owned(), "42é".to_owned(), "42/é,".to_owned(), format!("42{long}é"), "{\"type\":".repeat(10_000)];
        let (packets, binary) = ([0xc0, 0].repeat(1 << 14), [&[][..], &[0xff; 100], &[0x10], &[0x10, 0]]);
        for (_, protocol) in DialogueProtocol::WORDS {
            for known in [false, true] {
                let new = || ProtocolServer { known, ..ProtocolServer::new(protocol) };
                texts.iter().for_each(|text| drop(new().on_message(Payload::Text(text), || s(1))));
                binary.into_iter().chain([&packets[..]]).for_each(|bytes| drop(new().on_message(Payload::Binary(bytes), || s(1))));
            }
        }
    }
}
