//! One end of a link: a socket whose other end was handed to another process.

use crate::ipc::line::{Decoder, LinkError, Protocol, Seal, encode, hello};
#[cfg(test)]
use crate::ipc::memory;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Files that may come ahead of their messages: the kernel hands over at most one message's with each read, and each message has one.
const FILES_MAX: usize = 8;

/// One end of a link, before anybody makes use of it.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    /// A socket.
    Socket(StdStream),
    /// Where tests play all processes.
    #[cfg(test)]
    Memory(memory::MemoryEnd),
}

impl From<OwnedFd> for LinkEnd {
    fn from(file: OwnedFd) -> LinkEnd {
        LinkEnd::Socket(file.into())
    }
}

impl LinkEnd {
    /// The end of a socket, to be handed to a process that is started.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn into_file(self) -> io::Result<OwnedFd> {
        match self {
            LinkEnd::Socket(stream) => Ok(stream.into()),
            #[cfg(test)]
            LinkEnd::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    #[cfg_attr(not(test), expect(clippy::unnecessary_wraps, reason = "those of tests are no files"))]
    fn as_file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            LinkEnd::Socket(stream) => Some(stream.as_fd()),
            #[cfg(test)]
            LinkEnd::Memory(_) => None,
        }
    }
}

/// Both ends of a new link: one to keep, and one to hand to another process. Neither is inherited unless it is handed down.
///
/// # Errors
/// No file is left.
pub(crate) fn pair() -> io::Result<(LinkEnd, LinkEnd)> {
    #[cfg(test)]
    if let Some((ours, theirs)) = memory::pair() {
        return Ok((LinkEnd::Memory(ours), LinkEnd::Memory(theirs)));
    }
    StdStream::pair().map(|(ours, theirs)| (LinkEnd::Socket(ours), LinkEnd::Socket(theirs)))
}

/// The end that this process got as its standard input.
///
/// # Errors
/// It is something else.
pub(crate) fn inherited() -> Result<LinkEnd, LinkError> {
    let stream = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr().map_err(LinkError::NoLink)?;
    Ok(LinkEnd::Socket(stream))
}

/// Makes use of one end by itself; the first line is still to be written. Within a runtime.
///
/// # Errors
/// The socket cannot be used.
pub(crate) fn split<In: DeserializeOwned>(end: LinkEnd, protocol: Protocol) -> io::Result<(Writer, Receiver<In>)> {
    let (read, writer) = match end {
        LinkEnd::Socket(stream) => {
            stream.set_nonblocking(true)?;
            let (read, write) = UnixStream::from_std(stream)?.into_split();
            (ReadHalf::Socket(read), Writer::Socket(write))
        }
        #[cfg(test)]
        LinkEnd::Memory(end) => {
            let (read, write) = end.split();
            (ReadHalf::Memory(read), Writer::Memory(write))
        }
    };
    Ok((writer, Receiver { read, decoder: Decoder::new(protocol), files: VecDeque::new(), message: PhantomData }))
}

/// Makes use of one end, and says hello. Within a runtime; the handle is that of the task that writes, which ends with the last sender.
///
/// # Errors
/// The socket cannot be used.
pub(crate) fn open<Out: Serialize, In: DeserializeOwned>(
    end: LinkEnd,
    protocol: Protocol,
) -> io::Result<(Sender<Out>, Receiver<In>, JoinHandle<()>)> {
    let (writer, receiver) = split(end, protocol)?;
    let (lines, mut waiting) = mpsc::unbounded_channel::<SentLine>();
    // One writer, so that a sender that stops waiting never leaves half a line.
    let writing = tokio::spawn(async move {
        let (mut next, mut seal) = (Some((hello(protocol), None)), Seal::default());
        while let Some((line, file)) = next {
            // Nobody reads any more: that is for the receiver to tell.
            if writer.write(&line, file).await.is_err() {
                return;
            }
            next = waiting.recv().await.map(|(line, file)| (seal.close(line), file));
        }
    });
    Ok((Sender { lines, message: PhantomData }, receiver, writing))
}

/// A message, and the end of another link that goes with it.
pub(crate) type SentLine = (Vec<u8>, Option<LinkEnd>);

/// Takes messages for the other side. What is sent when that is gone is lost.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    lines: mpsc::UnboundedSender<SentLine>,
    message: PhantomData<fn(&T)>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { lines: self.lines.clone(), message: PhantomData }
    }
}

impl<T: Serialize> Sender<T> {
    /// Says something.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn send(&self, message: &T) -> Result<(), LinkError> {
        let _ = self.lines.send((encode(message)?, None));
        Ok(())
    }

    /// Says something, and hands an end of another link over with it.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn send_with(&self, message: &T, file: LinkEnd) -> Result<(), LinkError> {
        let _ = self.lines.send((encode(message)?, Some(file)));
        Ok(())
    }
}

/// The writing half without a queue.
#[derive(Debug)]
pub(crate) enum Writer {
    /// Of a socket.
    Socket(OwnedWriteHalf),
    /// Where tests play all processes.
    #[cfg(test)]
    Memory(memory::MemoryWriter),
}

impl Writer {
    /// Writes what the kernel takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing, others when nobody reads any more.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Socket(write) => write.try_write(bytes),
            #[cfg(test)]
            Writer::Memory(write) => write.try_write(bytes, &mut None),
        }
    }

    /// Waits until the kernel takes something.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Writer::Socket(write) => write.writable().await,
            #[cfg(test)]
            Writer::Memory(write) => write.writable().await,
        }
    }

    async fn write(&self, mut line: &[u8], mut file: Option<LinkEnd>) -> io::Result<()> {
        while !line.is_empty() {
            self.writable().await?;
            let written = match self {
                Writer::Socket(write) => {
                    let stream: &UnixStream = write.as_ref();
                    stream.try_io(Interest::WRITABLE, || send(stream, line, file.as_ref()))
                }
                #[cfg(test)]
                Writer::Memory(write) => write.try_write(line, &mut file),
            };
            match written {
                Ok(written) => {
                    // Handed over with the first byte.
                    file = None;
                    line = &line[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Gives what the other side says.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    read: ReadHalf,
    decoder: Decoder,
    /// Came, and their messages were not taken yet.
    files: VecDeque<LinkEnd>,
    message: PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum ReadHalf {
    Socket(OwnedReadHalf),
    #[cfg(test)]
    Memory(memory::MemoryReader),
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Waits for the first line.
    ///
    /// # Errors
    /// There is none, or it is not that of this protocol.
    pub(crate) async fn hello(&mut self) -> Result<(), LinkError> {
        while !self.decoder.greeted()? {
            if !self.fill().await? {
                return Err(LinkError::Silent);
            }
        }
        Ok(())
    }

    /// The next message; `None`: the other side is gone, whatever it had begun to say. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// See [`LinkError`]; nothing more can be read then.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, LinkError> {
        loop {
            if let Some(message) = self.decoder.take()? {
                return Ok(Some(message));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The file that belongs to the message that came last.
    ///
    /// # Errors
    /// It came without one.
    pub(crate) fn file(&mut self) -> Result<LinkEnd, LinkError> {
        self.files.pop_front().ok_or(LinkError::Files)
    }

    /// Reads something; whether there was anything.
    async fn fill(&mut self) -> Result<bool, LinkError> {
        let room = self.decoder.room();
        loop {
            #[cfg_attr(not(test), expect(clippy::infallible_destructuring_match, reason = "tests have a second half"))]
            let read = match &self.read {
                ReadHalf::Socket(read) => read,
                #[cfg(test)]
                ReadHalf::Memory(read) => {
                    let Some((bytes, file)) = read.read(room.min(CHUNK)).await else { return Ok(false) };
                    self.files.extend(file);
                    self.decoder.add(&bytes);
                    return Ok(true);
                }
            };
            read.readable().await?;
            let stream: &UnixStream = read.as_ref();
            let files = &mut self.files;
            // Not before the wait: it would be part of every future that waits for a message.
            let mut chunk = [0; CHUNK];
            match stream.try_io(Interest::READABLE, || receive(stream, &mut chunk[..room.min(CHUNK)], files)) {
                Ok(0) => return Ok(false),
                Ok(read) => self.decoder.add(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // Killed before it had read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            return if self.files.len() > FILES_MAX { Err(LinkError::Files) } else { Ok(true) };
        }
    }
}

fn send(stream: &UnixStream, line: &[u8], file: Option<&LinkEnd>) -> io::Result<usize> {
    let handed = file.and_then(LinkEnd::as_file);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(file) = &handed {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(file)));
    }
    Ok(sendmsg(stream, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?)
}

fn receive(stream: &UnixStream, chunk: &mut [u8], files: &mut VecDeque<LinkEnd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(chunk)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            files.extend(handed.map(LinkEnd::from));
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;

    const PROTOCOL: Protocol = Protocol { name: "test", version: 1 };

    fn ends() -> (StdStream, LinkEnd) {
        let (one, other) = StdStream::pair().expect("a file is left");
        (one, LinkEnd::Socket(other))
    }

    #[tokio::test]
    async fn messages_arrive_in_order_and_each_file_with_its_own() {
        let (one, other) = pair().expect("a file is left");
        let (say, _answers, writing) = open::<String, String>(one, PROTOCOL).expect("a link");
        let (_, mut told) = split::<String>(other, PROTOCOL).expect("a link");
        let mut kept = Vec::new();
        for number in 0..200 {
            let (ours, theirs) = ends();
            // Long and short, with and without a file.
            let text = format!("{number} {}", "x".repeat(if number % 7 == 0 { 100_000 } else { 3 }));
            if number % 3 == 0 {
                say.send_with(&text, theirs).expect("short enough");
                kept.push(ours);
            } else {
                say.send(&text).expect("short enough");
            }
        }
        drop(say);
        let mut kept = kept.into_iter();
        for number in 0..200 {
            let text = told.next().await.expect("a message").expect("there are more");
            assert!(text.starts_with(&format!("{number} ")), "{number}: {}", &text[..4]);
            if number % 3 == 0 {
                let (mut ours, mut theirs) =
                    (kept.next().expect("one each"), StdStream::from(told.file().and_then(|end| Ok(end.into_file()?)).expect("a file")));
                let mut byte = [0];
                ours.write_all(b"!").and_then(|()| theirs.read_exact(&mut byte)).expect("they belong together");
            }
        }
        assert!(told.next().await.expect("no error").is_none());
        assert!(matches!(told.file(), Err(LinkError::Files)), "none is left");
        writing.await.expect("no panic");
    }

    #[tokio::test]
    async fn who_is_killed_within_a_line_has_not_said_it() {
        let whole = String::from_utf8([hello(PROTOCOL), Seal::default().close(b"\"whole\"".to_vec())].concat()).expect("text");
        for said in [format!("{whole}\"ha"), whole] {
            let (mut one, other) = ends();
            let (say, mut told, _) = open::<String, String>(other, PROTOCOL).expect("a link");
            // Not read by the one that is gone: its end is a reset.
            say.send(&"unread".to_owned()).expect("short enough");
            tokio::task::yield_now().await;
            one.write_all(said.as_bytes()).expect("a live link");
            drop(one);
            assert_eq!(told.next().await.expect("no error").as_deref(), Some("whole"));
            assert!(told.next().await.expect("no error").is_none(), "{said}");
        }
    }

    #[tokio::test]
    async fn a_first_line_that_does_not_come_is_an_error() {
        let (one, other) = ends();
        let (_, mut told) = split::<String>(other, PROTOCOL).expect("a link");
        one.shutdown(Shutdown::Both).expect("a live link");
        assert!(matches!(told.hello().await, Err(LinkError::Silent)));
    }

    #[tokio::test]
    async fn files_that_belong_to_no_message_are_not_collected() {
        let (one, other) = pair().expect("a file is left");
        let (say, _answers, _) = open::<String, String>(one, PROTOCOL).expect("a link");
        let (_, mut told) = split::<String>(other, PROTOCOL).expect("a link");
        for _ in 0..2 * FILES_MAX {
            say.send_with(&"text".to_owned(), pair().expect("a file is left").1).expect("short enough");
        }
        let mut taken = 0;
        let error = loop {
            match told.next().await {
                Ok(Some(_)) => taken += 1,
                Ok(None) => panic!("they were collected"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, LinkError::Files) && taken <= FILES_MAX + 1, "{taken}");
    }
}
