//! How processes of a run talk to each other: one typed line protocol for all of them.
//!
//! A *link* is one end of a socket pair. Whoever starts a process hands the other end down to it as its standard input, or, over a link
//! that is there already, as a file that belongs to a message. There is no name in the file system or the kernel to which anybody could
//! connect, and nothing of what is said stands in a command line or an environment.
//!
//! What is said: JSON, a message a line, at most [`LINE_MAX`] bytes, and behind it a checksum of all lines so far ([`Seal`]). The first line of
//! either side names the protocol and its version. Both sides are the same program, so any line that does not fit is an error, and the error shows the line: quoted, escaped and cut.
//! `line` decides what the bytes mean and knows no socket; `link` carries them.

pub(crate) mod line;
pub(crate) mod link;
#[cfg(test)]
pub(crate) mod memory;

pub use line::{Decoder, LINE_MAX, LinkError, Protocol, Seal, encode, hello};
pub(crate) use link::{LinkEnd, Receiver, Sender, Writer, inherited, open, pair, split};
