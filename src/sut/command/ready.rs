//! When a started server counts as ready: a TCP connect, an HTTP status, or a line of its output.
//!
//! Polls gently, for the server has better things to do while it starts. That the process may end meanwhile is the caller's
//! to watch (`process`).

use crate::plan;
use crate::sut::command::error::Error;
use crate::sut::command::output::moved_aside;
use crate::transport::clock::monotonic_ns;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// First wait between two tries.
const TRY_FIRST: Duration = Duration::from_millis(2);
/// Longest such wait, and so the grain of "ready at".
const TRY_LAST: Duration = Duration::from_millis(25);
/// A try that takes longer is given up: a stopped server completes TCP handshakes and then says nothing.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest status line read.
const STATUS_LINE: usize = 256;
/// So much of the output is searched at once, and so often in one try.
const SEARCH_PIECE: u64 = 64 * 1024;
const SEARCH_PIECES: usize = 1024;
/// How much of its output an error shows.
const TAIL_BYTES: usize = 2_048;
const TAIL_LINES: usize = 10;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    /// What counts as ready.
    pub ready: &'a plan::Ready,
    /// Where the server listens; any of these will do.
    pub addrs: &'a [SocketAddr],
    /// `Host` of an HTTP request.
    pub host: &'a str,
    /// Output of the server.
    pub output: &'a Path,
    /// Length of the output when the server was started; what is before belongs to its predecessor.
    pub output_from: u64,
}

/// Waits until the server is ready; returns when that was seen, in ns of CLOCK_MONOTONIC.
///
/// Errors: `NotReady` after `within`, with what the last try saw.
pub async fn wait(probe: &Probe<'_>, within: Duration) -> Result<u64, Error> {
    let deadline = Instant::now() + within;
    let mut pause = TRY_FIRST;
    let mut seen = "no answer".to_owned();
    let mut search = LineSearch { at: probe.output_from, last: Vec::new() };
    loop {
        let whole_try = Instant::now() + TRY_TIMEOUT;
        match timeout_at(deadline.min(whole_try), attempt(probe, &mut search)).await {
            Ok(Ok(())) => return Ok(monotonic_ns()),
            Ok(Err(now)) => seen = now,
            Err(_) if whole_try <= deadline => "no answer".clone_into(&mut seen),
            // A try that the deadline cut short says less than those before it.
            Err(_) => {}
        }
        if Instant::now() + pause >= deadline {
            let output = tail(probe.output, probe.output_from);
            return Err(Error::NotReady { within, awaited: format!("waited for {}, saw: {seen}", awaited(probe)), output });
        }
        sleep(pause).await;
        pause = (pause * 2).min(TRY_LAST);
    }
}

/// The last lines of an output file from this position on: at most 10 lines and 2 KiB, no line break at the end.
///
/// Empty if there is nothing, also if the file cannot be read.
pub fn tail(output: &Path, from: u64) -> String {
    let text = read_from(output, from, TAIL_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn awaited(probe: &Probe<'_>) -> String {
    let at = probe.addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" or ");
    match probe.ready {
        plan::Ready::Tcp => format!("a TCP connect to {at}"),
        plan::Ready::Http { path, status } => format!("status {status} of GET {path} from {at}"),
        plan::Ready::Line { text } => format!("a line of output with `{text}`"),
    }
}

async fn attempt(probe: &Probe<'_>, search: &mut LineSearch) -> Result<(), String> {
    match probe.ready {
        plan::Ready::Tcp => connect(probe.addrs).await.map(drop).map_err(|error| error.to_string()),
        plan::Ready::Http { path, status } => match http_status(probe, path).await {
            Ok(answer) if answer == *status => Ok(()),
            Ok(answer) => Err(format!("status {answer}")),
            Err(error) => Err(error.to_string()),
        },
        plan::Ready::Line { text } => match search.finds(probe.output, text) {
            Ok(true) => Ok(()),
            Ok(false) => Err("no such line yet".into()),
            Err(error) => Err(error.to_string()),
        },
    }
}

async fn connect(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the address has no IP");
    for addr in addrs {
        match TcpStream::connect(addr).await {
            // On a port of the ephemeral range a connect can meet itself while nobody listens.
            Ok(stream) if stream.local_addr()? == stream.peer_addr()? => last = io::ErrorKind::ConnectionRefused.into(),
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn http_status(probe: &Probe<'_>, path: &str) -> io::Result<u16> {
    let mut stream = connect(probe.addrs).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: closestorm\r\nConnection: close\r\n\r\n", probe.host);
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(STATUS_LINE);
    while line.len() < STATUS_LINE && !line.contains(&b'\n') {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    status_of(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// Status of a status line, RFC 9112 §4.
fn status_of(line: &[u8]) -> Option<u16> {
    let text = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(text).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// The search for a text in an output that grows: goes forward, and keeps no more of it than the text could have begun in.
struct LineSearch {
    /// How far it has come.
    at: u64,
    /// The bytes before that.
    last: Vec<u8>,
}

impl LineSearch {
    /// Whether a line contains the text, as far as the output goes now, or a piece of it for a very long one.
    fn finds(&mut self, output: &Path, text: &str) -> io::Result<bool> {
        if std::fs::metadata(output)?.len() < self.at {
            // It was begun anew; its end, which may not have been looked at, was moved aside.
            (self.at, self.last) = (0, Vec::new());
            let aside = LineSearch { at: 0, last: Vec::new() }.goes_on(&moved_aside(output), text);
            if aside.unwrap_or(false) {
                return Ok(true);
            }
        }
        self.goes_on(output, text)
    }

    fn goes_on(&mut self, output: &Path, text: &str) -> io::Result<bool> {
        let mut file = std::fs::File::open(output)?;
        file.seek(SeekFrom::Start(self.at))?;
        for _ in 0..SEARCH_PIECES {
            let kept = self.last.len();
            let read = (&mut file).take(SEARCH_PIECE).read_to_end(&mut self.last)?;
            self.at += read as u64;
            // What was kept is too short to have it.
            if String::from_utf8_lossy(&self.last).contains(text) && !(text.is_empty() && self.last.is_empty()) {
                return Ok(true);
            }
            let keep = text.len().saturating_sub(1).min(kept + read);
            self.last.drain(..kept + read - keep);
            if (read as u64) < SEARCH_PIECE {
                break;
            }
        }
        Ok(false)
    }
}

/// The last `limit` bytes of a file, but none before `from`.
fn read_from(path: &Path, from: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    // A shorter one was begun anew.
    let begin = if from > length { 0 } else { from }.max(length.saturating_sub(limit as u64));
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_tail_is_the_last_ten_lines_of_this_start() {
        let many: String = (1..=30).map(|number| format!("line {number}\n")).collect();
        let table = [
            ("", 0, String::new()),
            ("one\ntwo\n", 0, "one\ntwo".into()),
            ("old\nnew\n", 4, "new".into()), // the predecessor's lines are not shown
            (many.as_str(), 0, (21..=30).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n")),
        ];
        for (text, from, expected) in table {
            assert_eq!(tail(file_with(text).path(), from), expected);
        }
        assert_eq!(tail(Path::new("/nonexistent"), 0), "");
    }

    #[test]
    fn the_tail_of_one_endless_line_is_bounded() {
        assert_eq!(tail(file_with(&"x".repeat(100_000)).path(), 0).len(), TAIL_BYTES);
    }

    #[test]
    fn only_http_answers_have_a_status() {
        let table: [(&[u8], Option<u16>); 5] = [
            (b"HTTP/1.1 200 OK\r\n", Some(200)),
            (b"HTTP/1.0 426 Upgrade Required\r\n", Some(426)),
            (b"HTTP/1.1 099 x", None),
            (b"SSH-2.0-OpenSSH", None),
            (b"HTTP/1.1", None),
        ];
        for (line, expected) in table {
            assert_eq!(status_of(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_line_of_the_predecessor_does_not_count() {
        let file = file_with("listening\nstarting\n");
        let finds = |at| LineSearch { at, last: Vec::new() }.finds(file.path(), "listening").unwrap();
        assert!(finds(0) && !finds(10));
    }

    #[test]
    fn a_line_is_found_in_pieces_and_endless_output_is_not_kept() {
        let mut file = file_with("");
        let mut search = LineSearch { at: 0, last: Vec::new() };
        for part in ["liste", "ning on 1", "\n"] {
            file.write_all(part.as_bytes()).unwrap();
            assert_eq!(search.finds(file.path(), "listening on").unwrap(), part != "liste", "{part}");
            if part != "liste" {
                break;
            }
        }
        let mut search = LineSearch { at: 0, last: Vec::new() };
        // A sparse gigabyte without a line break.
        file.as_file().set_len(1 << 30).unwrap();
        for _ in 0..3 {
            assert!(!search.finds(file.path(), "ready").unwrap());
            assert!(search.last.len() < 5 && search.last.capacity() < 1 << 20, "{}", search.last.capacity());
        }
        assert_eq!(search.at, 3 * SEARCH_PIECE * SEARCH_PIECES as u64, "goes forward");
    }

    async fn wait_on(addr: SocketAddr, ready: &plan::Ready) -> Result<u64, Error> {
        let output = file_with("first\nsecond\n");
        let probe = Probe { ready, addrs: &[addr], host: "localhost", output: output.path(), output_from: 0 };
        wait(&probe, Duration::from_millis(300)).await
    }

    #[tokio::test]
    async fn a_listener_is_ready_and_a_closed_port_says_what_was_seen() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        wait_on(listener.local_addr().unwrap(), &plan::Ready::Tcp).await.unwrap();
        let reserved = crate::sut::command::port::Reserved::new(Ipv4Addr::LOCALHOST.into()).unwrap();
        let error = wait_on(reserved.addr(), &plan::Ready::Tcp).await.unwrap_err().to_string();
        for part in ["not ready within 300ms", &format!("a TCP connect to {}", reserved.addr()), "refused", "\n  | first\n  | second"] {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }

    #[tokio::test]
    async fn a_status_is_ready_only_if_it_is_the_expected_one() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\nHost: localhost\r\n"));
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        });
        let http = |status| plan::Ready::Http { path: "/health".into(), status };
        wait_on(addr, &http(204)).await.unwrap();
        let error = wait_on(addr, &http(200)).await.unwrap_err().to_string();
        assert!(error.contains("status 200 of GET /health") && error.contains("saw: status 204"), "{error}");
        server.abort();
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_not_ready_by_status() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ready = plan::Ready::Http { path: "/".into(), status: 200 };
        let error = wait_on(listener.local_addr().unwrap(), &ready).await.unwrap_err().to_string();
        assert!(error.contains("saw: no answer"), "{error}");
    }

    #[tokio::test]
    async fn a_line_of_output_is_ready() {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        wait_on(nowhere, &plan::Ready::Line { text: "econ".into() }).await.unwrap();
        let error = wait_on(nowhere, &plan::Ready::Line { text: "third".into() }).await.unwrap_err().to_string();
        assert!(error.contains("a line of output with `third`"), "{error}");
    }
}
