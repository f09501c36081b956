//! What the bytes of a link mean: lines, the hello of the first, and what is wrong with them. No socket, no clock.

use crate::number::counted;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;

/// Longest line, in bytes without its end. The longest message is a job with a whole scenario in it.
pub const LINE_MAX: usize = 8 << 20;
/// Bytes of the checksum at the end of a line, with the space before it.
const SEAL: usize = 9;
/// Bytes of a wrong line that its error shows.
const SHOWN: usize = 120;
/// Memory that an empty buffer keeps, bytes.
const KEPT: usize = 256 << 10;

/// What two processes speak on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Tells it apart from the others.
    pub name: &'static str,
    /// Changes with every change of its messages.
    pub version: u32,
}

/// The first line of either side.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    /// Name of the protocol.
    closestorm: String,
    version: u32,
}

/// Why a link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing of the line is read.
    #[error("a line is longer than {LINE_MAX} bytes; it begins with {0}")]
    TooLong(String),
    /// Another program, or another version of this one.
    #[error("the other side uses protocol {theirs}, and this side uses {ours}; both must be the same version of closestorm")]
    Version {
        /// Name and version.
        theirs: String,
        /// Name and version.
        ours: String,
    },
    /// The first line is something else.
    #[error("the first line names no protocol: {0}")]
    NoHello(String),
    /// Said only once.
    #[error("a second hello: {0}")]
    SecondHello(String),
    /// It ended before its first line did.
    #[error("the other side closed before it sent its protocol version")]
    Silent,
    /// No JSON, or no message of this protocol.
    #[error("not a message of {protocol}: {why}; the line is {line}")]
    Message {
        /// Its name and version.
        protocol: String,
        /// What is wrong, and where in the line.
        why: String,
        /// The line, cut.
        line: String,
    },
    /// Its checksum is not that of all lines so far.
    #[error("a line is damaged, or one before it is missing; the line is {0}")]
    Broken(String),
    /// A message of the protocol that has no place here.
    #[error("unexpected message: {0}")]
    OutOfPlace(String),
    /// A message came without the end of the link that belongs to it, or the ends without their message.
    #[error("the number of files does not match the message")]
    Files,
    /// Standard input is something else than a link.
    #[error("this internal command is started by closestorm itself: its standard input is not a connection to closestorm ({0})")]
    NoLink(#[source] io::Error),
    /// The kernel.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LinkError {
    /// For a message that is right and comes at a wrong time.
    pub(crate) fn out_of_place<T: Serialize>(message: &T) -> LinkError {
        LinkError::OutOfPlace(quoted(&serde_json::to_vec(message).unwrap_or_default()))
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// The first line of a side that speaks `protocol`.
pub fn hello(protocol: Protocol) -> Vec<u8> {
    let Protocol { name, version } = protocol;
    format!("{{\"closestorm\":\"{name}\",\"version\":{version}}}\n").into_bytes()
}

/// What a sender knows of the lines it has said: behind each stands the CRC-32 of all up to it, so that the reader notices one that is damaged,
/// missing or repeated, and not only one that is no message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seal(u32);

impl Seal {
    /// Adds the checksum and the end to a line, the next one.
    pub fn close(&mut self, mut line: Vec<u8>) -> Vec<u8> {
        self.add(&line);
        line.extend(format!(" {:08x}\n", self.0).into_bytes());
        line
    }

    fn add(&mut self, line: &[u8]) {
        let mut sum = crc32fast::Hasher::new_with_initial(self.0);
        sum.update(line);
        self.0 = sum.finalize();
    }

    /// Takes the checksum off a line, the next one; `None`: it is not the right one.
    fn open<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let (line, sum) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
        self.add(line);
        (sum == format!(" {:08x}", self.0).as_bytes()).then_some(line)
    }
}

/// A message as a line, without its end, which is [`Seal::close`]'s.
///
/// # Errors
/// It is too long.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, LinkError> {
    // No message has maps with keys that are no text, so it can be written.
    let line = serde_json::to_vec(message).map_err(io::Error::from)?;
    if line.len() > LINE_MAX {
        return Err(LinkError::TooLong(quoted(&line)));
    }
    Ok(line)
}

/// Makes messages of bytes, as they come. After an error it is of no use any more.
#[derive(Debug)]
pub struct Decoder {
    protocol: Protocol,
    buffer: Vec<u8>,
    /// Where the first line begins that was not taken.
    start: usize,
    /// Up to where there is no end of a line.
    searched: usize,
    greeted: bool,
    seal: Seal,
}

impl Decoder {
    /// At the beginning of a link.
    pub fn new(protocol: Protocol) -> Decoder {
        Decoder { protocol, buffer: Vec::new(), start: 0, searched: 0, greeted: false, seal: Seal::default() }
    }

    /// Most bytes that may be added now: never more than complete the longest line.
    pub fn room(&self) -> usize {
        (LINE_MAX + SEAL + 1).saturating_sub(self.buffer.len() - self.start)
    }

    /// Adds bytes, at most [`room`](Self::room).
    pub fn add(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT);
            (self.start, self.searched) = (0, 0);
        } else if self.start > KEPT {
            self.buffer.drain(..self.start);
            (self.start, self.searched) = (0, self.searched - self.start);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads the first line, once it is whole. Whether it was, now or before.
    ///
    /// # Errors
    /// It is no hello, or that of another protocol or version.
    pub fn greeted(&mut self) -> Result<bool, LinkError> {
        if !self.greeted
            && let Some((from, to)) = self.line()?
        {
            let line = &self.buffer[from..to];
            let Hello { closestorm, version } = serde_json::from_slice(line).map_err(|_| LinkError::NoHello(quoted(line)))?;
            if closestorm != self.protocol.name || version != self.protocol.version {
                let name = quoted(closestorm.as_bytes());
                return Err(LinkError::Version {
                    theirs: format!("{} {version}", name.trim_matches('"')),
                    ours: self.protocol.to_string(),
                });
            }
            self.greeted = true;
        }
        Ok(self.greeted)
    }

    /// The next message; `None`: more bytes are needed.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LinkError> {
        if !self.greeted()? {
            return Ok(None);
        }
        let Some((from, to)) = self.line()? else { return Ok(None) };
        let whole = &self.buffer[from..to];
        let line = self.seal.open(whole);
        let unless_hello = |error| match serde_json::from_slice(line.unwrap_or(whole)) {
            Ok(Hello { .. }) => LinkError::SecondHello(quoted(line.unwrap_or(whole))),
            Err(_) => error,
        };
        let Some(line) = line else { return Err(unless_hello(LinkError::Broken(quoted(whole)))) };
        serde_json::from_slice(line).map(Some).map_err(|why| {
            unless_hello(LinkError::Message { protocol: self.protocol.to_string(), why: cut(&why.to_string()), line: quoted(line) })
        })
    }

    /// Takes a line that is whole: where it stands in the buffer.
    fn line(&mut self) -> Result<Option<(usize, usize)>, LinkError> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n').map(|end| self.searched + end);
        let from = self.start;
        if end.unwrap_or(self.buffer.len()) - from > LINE_MAX + SEAL {
            return Err(LinkError::TooLong(quoted(&self.buffer[from..])));
        }
        self.searched = end.map_or(self.buffer.len(), |end| end + 1);
        Ok(end.map(|end| {
            self.start = end + 1;
            (from, end)
        }))
    }
}

/// Bytes for a reader: nothing that a terminal would obey, and not too many.
fn quoted(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let more = bytes.len() - shown.len();
    let rest = if more > 0 { format!(" and {} more", counted(more as u64, "byte")) } else { String::new() };
    format!("\"{}\"{rest}", shown.escape_ascii())
}

/// What serde says may have a part of the line in it.
fn cut(why: &str) -> String {
    let shown: String = why.escape_debug().take(2 * SHOWN).collect();
    if shown.len() < why.len() { shown + "…" } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROTOCOL: Protocol = Protocol { name: "test", version: 2 };

    /// What comes of these bytes, given `step` at a time.
    fn read(bytes: &[u8], step: usize) -> (Vec<u32>, Option<LinkError>) {
        let (mut decoder, mut found) = (Decoder::new(PROTOCOL), Vec::new());
        for part in bytes.chunks(step) {
            decoder.add(part);
            loop {
                match decoder.take() {
                    Ok(Some(message)) => found.push(message),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    /// A hello, and these lines with their checksums.
    fn after_hello(lines: &[&[u8]]) -> Vec<u8> {
        let mut seal = Seal::default();
        lines.iter().fold(hello(PROTOCOL), |said, line| [said, seal.close(line.to_vec())].concat())
    }

    #[test]
    fn what_is_wrong_is_an_error_with_its_text() {
        let table = [
            (
                "{\"closestorm\":\"test\",\"version\":3}\n",
                "the other side uses protocol test 3, and this side uses test 2; both must be the same version of closestorm",
            ),
            ("{\"closestorm\":\"te\\u001b[31mst\",\"version\":2}\n", "the other side uses protocol te\\x1b[31mst 2, and"),
            ("1\n", "the first line names no protocol: \"1\""),
            ("\n", "the first line names no protocol: \"\""),
            ("GET / HTTP/1.1\r\n", "the first line names no protocol: \"GET / HTTP/1.1\\r\""),
        ];
        for (text, expected) in table {
            let (found, error) = read(text.as_bytes(), 7);
            assert!(found.is_empty());
            let told = error.expect(text).to_string();
            assert!(told.starts_with(expected), "{told}");
        }
        let table = [
            ("1\x1b[31m", "not a message of test 2: trailing characters at line 1 column 2; the line is \"1\\x1b[31m\""),
            (
                "\"yes\"",
                "not a message of test 2: invalid type: string \\\"yes\\\", expected u32 at line 1 column 5; the line is \"\\\"yes\\\"\"",
            ),
            ("", "not a message of test 2: EOF while parsing a value at line 1 column 0; the line is \"\""),
        ];
        for (text, expected) in table {
            let (found, error) = read(&after_hello(&[b"7", text.as_bytes(), b"8"]), 5);
            assert_eq!((found, error.expect(text).to_string()), (vec![7], expected.to_owned()));
        }
        let second = String::from_utf8(hello(PROTOCOL)).expect("text");
        let table = [
            (&*second, "a second hello: \"{\\\"closestorm\\\":\\\"test\\\",\\\"version\\\":2}\""),
            ("8\n", "a line is damaged, or one before it is missing; the line is \"8\""),
            ("8 00000000\n", "a line is damaged, or one before it is missing; the line is \"8 00000000\""),
        ];
        for (text, expected) in table {
            let (found, error) = read(&[after_hello(&[b"7"]), text.as_bytes().to_vec()].concat(), 5);
            assert_eq!((found, error.expect(text).to_string()), (vec![7], expected.to_owned()));
        }
    }

    #[test]
    fn an_error_shows_no_more_than_a_few_words() {
        for text in ["x".repeat(100_000), format!("\"{}\"", "\x1b".repeat(100_000)), format!("\"{}\"", "ü".repeat(100_000))] {
            let (_, error) = read(&after_hello(&[text.as_bytes()]), 4096);
            let told = error.expect("no number").to_string();
            assert!(told.len() < 1200 && told.contains("bytes more") && !told.contains('\x1b'), "{told}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_not_kept_and_not_read() {
        let mut decoder = Decoder::new(PROTOCOL);
        decoder.add(&hello(PROTOCOL));
        assert!(decoder.greeted().expect("a hello"));
        let part = vec![b'1'; 1 << 20];
        let mut given = 0;
        while decoder.room() > 0 {
            let part = &part[..decoder.room().min(part.len())];
            decoder.add(part);
            given += part.len();
            if decoder.room() > 0 {
                assert!(decoder.take::<u32>().expect("not too long yet").is_none());
            }
        }
        assert_eq!(given, LINE_MAX + SEAL + 1);
        let told = decoder.take::<u32>().expect_err("too long").to_string();
        assert!(told.starts_with("a line is longer than 8388608 bytes; it begins with \"1111"), "{told}");
        // As long as may be, it is a line.
        let text = format!("\"{}\"", "a".repeat(LINE_MAX - 2));
        let line = encode(&&text[1..text.len() - 1]).expect("just short enough");
        let mut decoder = Decoder::new(PROTOCOL);
        decoder.add(&hello(PROTOCOL));
        decoder.add(&Seal::default().close(line));
        assert_eq!(decoder.take::<String>().expect("whole").map(|text| text.len()), Some(LINE_MAX - 2));
        assert!(matches!(encode(&text), Err(LinkError::TooLong(_))), "the sender knows it first");
    }

    proptest! {
        #[test]
        fn messages_come_out_whatever_the_pieces(messages in prop::collection::vec(any::<u32>(), 0..50), step in 1_usize..40) {
            let lines: Vec<Vec<u8>> = messages.iter().map(|message| encode(message).expect("short")).collect();
            let (found, error) = read(&after_hello(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>()), step);
            prop_assert_eq!(found, messages);
            prop_assert!(error.is_none());
        }

        #[test]
        fn a_line_that_is_damaged_missing_or_repeated_is_noticed(count in 2_usize..9, at in any::<prop::sample::Index>(), what in 0_usize..3) {
            let lines: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let said = after_hello(&lines.iter().map(String::as_bytes).collect::<Vec<_>>());
            let mut parts: Vec<Vec<u8>> = said.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            // Not the last: only the end of a conversation tells that.
            let at = 1 + at.index(count - 1);
            match what {
                0 => drop(parts.remove(at)),
                1 => parts.insert(at, parts[at].clone()),
                _ => parts[at][0] ^= 1,
            }
            let (found, error) = read(&parts.concat(), 4096);
            prop_assert!(matches!(error, Some(LinkError::Broken(_))), "{:?}", error);
            prop_assert!(found.len() <= at, "{:?}", found);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1_usize..40, greeted: bool) {
            let bytes = if greeted { [hello(PROTOCOL), bytes].concat() } else { bytes };
            let told = read(&bytes, step).1.map(|error| error.to_string()).unwrap_or_default();
            prop_assert!(told.is_ascii() || told.contains('…'), "{}", told);
        }
    }
}
