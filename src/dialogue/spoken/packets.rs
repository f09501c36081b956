//! A dialogue whose messages are MQTT packets: texts become packets as they go out, and what comes is taken apart.

use super::ScriptClient;
use crate::dialogue::mqtt::{self, MqttPacket};
use crate::dialogue::{Outgoing, Payload};

impl ScriptClient<'_> {
    /// A message as it goes out; `None`: it cannot be written as a packet, and the client closes.
    pub(super) fn packed(&mut self, message: Outgoing) -> Option<Outgoing> {
        match (&self.reader, message) {
            (Some(reader), Outgoing::Text(text)) => match mqtt::packet(&text, reader.is_five()) {
                Ok(bytes) => Some(Outgoing::Binary(bytes)),
                Err(why) => {
                    self.fail(self.of.script.open.len() + 2, false, &why);
                    None
                }
            },
            (_, message) => Some(message),
        }
    }

    /// Whether its messages are packets.
    pub(in crate::dialogue) fn has_packets(&self) -> bool {
        self.reader.is_some()
    }

    /// Takes the next packet from the front of what came; `None`: more must come. One of QoS 1 is acknowledged.
    pub(in crate::dialogue) fn unpack(&mut self, rest: &mut Payload<'_>) -> Option<MqttPacket> {
        let next = match (self.reader.as_mut()?, &mut *rest) {
            (reader, Payload::Binary(bytes)) => reader.next(bytes),
            (_, Payload::Text(_)) => {
                *rest = Payload::Binary(&[]);
                Err("a text message came, and MQTT is binary".to_owned())
            }
        };
        match next {
            Ok(packet) => {
                if let Some(MqttPacket { says, .. }) =
                    packet.as_ref().filter(|packet| packet.says["type"] == "publish" && packet.says["qos"] == 1)
                {
                    self.say(Outgoing::Text(format!("{{\"type\":\"puback\",\"id\":{}}}", says["id"]).into()));
                }
                packet
            }
            Err(why) => {
                if !self.failed {
                    self.fail(self.of.script.open.len() + 2, false, &why);
                }
                None
            }
        }
    }
}
