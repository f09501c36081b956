//! What the processes of a run make of the bytes of a link, from one call, for tests that have many such bytes.

use super::message::{self, FromWorker, ToWorker};
use crate::ipc::{Decoder, Protocol, Seal};
use crate::server::protocol as server;
use crate::sut::command::protocol as guard;
use serde::de::DeserializeOwned;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkReader {
    /// A worker, what it is told.
    Worker,
    /// The leading process, what a worker says.
    Coordinator,
    /// A server process, what it is told.
    Server,
    /// A worker and the leading process, what a server says.
    Evidence,
    /// The guard, its orders.
    Guard,
    /// The leading process, what the guard notices.
    Notices,
}

/// All of them.
pub const READERS: [LinkReader; 6] =
    [LinkReader::Worker, LinkReader::Coordinator, LinkReader::Server, LinkReader::Evidence, LinkReader::Guard, LinkReader::Notices];

/// Bytes as a sender says them who means these lines: with the checksum behind each line but the first, which is the hello.
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    let (mut said, mut seal) = (Vec::new(), Seal::default());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match line.strip_suffix(b"\n") {
            Some(line) if number > 0 => said.extend(seal.close(line.to_vec())),
            _ => said.extend(line),
        }
    }
    said
}

/// Reads a link whose lines are [`sealed`] and whose bytes come `step` at a time: how many messages there were, and why it was of no use any more.
pub fn read_link(reader: LinkReader, bytes: &[u8], step: usize) -> (usize, Option<String>) {
    let bytes = &sealed(bytes);
    match reader {
        LinkReader::Worker => read::<ToWorker>(message::PROTOCOL, bytes, step),
        LinkReader::Coordinator => read::<FromWorker>(message::PROTOCOL, bytes, step),
        LinkReader::Server => read::<server::ToServer>(server::PROTOCOL, bytes, step),
        LinkReader::Evidence => read::<server::FromServer>(server::PROTOCOL, bytes, step),
        LinkReader::Guard => read::<guard::GuardOrder>(guard::PROTOCOL, bytes, step),
        LinkReader::Notices => read::<guard::Notice>(guard::PROTOCOL, bytes, step),
    }
}

fn read<T: DeserializeOwned>(protocol: Protocol, bytes: &[u8], step: usize) -> (usize, Option<String>) {
    let (mut decoder, mut taken) = (Decoder::new(protocol), 0);
    for part in bytes.chunks(step.max(1)) {
        // As a link does it: never more than there is room for.
        let (now, later) = part.split_at(decoder.room().min(part.len()));
        for part in [now, later] {
            decoder.add(part);
            loop {
                match decoder.take::<T>() {
                    Ok(Some(_)) => taken += 1,
                    Ok(None) => break,
                    Err(error) => return (taken, Some(error.to_string())),
                }
            }
        }
    }
    (taken, None)
}
