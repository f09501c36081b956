//! What no fault touches: every byte, FIN in its direction alone, RST, and what is said where something cannot pass.

use super::{Proxy, is_reset, limited, receive, reset, send, to_end, upstream};
use crate::common::LONG;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Sizes that no boundary falls on twice.
const ANY: &[usize] = &[1, 4093, 17, 65_536, 2, 1_023, 31_337, 64, 8_191, 5];

/// Both ways at the same time, each with its FIN before the other direction has ended or after.
fn both_ways(cases: &[(usize, &'static [usize])]) {
    let upstream = upstream();
    let proxy = Proxy::to(&upstream, &[]);
    for (total, sizes) in cases {
        let (near, far) = proxy.pair(&upstream);
        // The upstream has twice as much to say: its direction goes on behind the client's FIN.
        let threads = [
            send(&near, 1, *total, sizes),
            send(&far, 2, *total * 2, sizes),
            receive(far.try_clone().expect("a descriptor"), 1, *total),
            receive(near.try_clone().expect("a descriptor"), 2, *total * 2),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|_| panic!("{total} bytes in chunks of {sizes:?}")));
    }
}

#[test]
fn bytes_pass_unchanged_both_ways_in_chunks_of_any_size() {
    both_ways(&[(20_000, &[1]), (140_000, &[7]), (1 << 20, &[1024]), (4 << 20, &[1 << 16]), (2 << 20, ANY)]);
}

#[test]
#[ignore = "long: scripts/test"]
fn a_hundred_megabytes_pass_unchanged_both_ways() {
    both_ways(&[(1 << 20, &[1]), (7 << 20, &[7]), (100 << 20, &[1024]), (100 << 20, &[1 << 16]), (100 << 20, ANY)]);
}

#[test]
fn a_half_close_passes_as_a_half_close() {
    let upstream = upstream();
    let proxy = Proxy::to(&upstream, &[]);
    for client_first in [true, false] {
        let (near, far) = proxy.pair(&upstream);
        let (mut first, mut second) = if client_first { (near, far) } else { (far, near) };
        first.write_all(b"question").expect("open");
        first.shutdown(Shutdown::Write).expect("open");
        assert_eq!(to_end(&mut second).expect("a FIN"), b"question");
        for _ in 0..3 {
            second.write_all(b"answer").expect("still open");
            let mut answer = [0; 6];
            first.read_exact(&mut answer).expect("still open");
            assert_eq!(&answer, b"answer");
        }
        drop(second);
        assert_eq!(to_end(&mut first).expect("a FIN"), b"");
    }
}

#[test]
fn a_reset_passes_as_a_reset_from_either_side() {
    let upstream = upstream();
    let proxy = Proxy::to(&upstream, &[]);
    for client_first in [true, false] {
        let (near, far) = proxy.pair(&upstream);
        let (mut first, mut second) = if client_first { (near, far) } else { (far, near) };
        first.write_all(b"x").expect("open");
        second.read_exact(&mut [0]).expect("open");
        reset(first);
        let ended = to_end(&mut second);
        assert!(is_reset(&ended), "{ended:?}");
    }
}

#[test]
fn an_upstream_that_refuses_or_is_silent_resets_the_client() {
    let refuses = upstream();
    let proxy = Proxy::to(&refuses, &[]);
    drop(refuses);
    let ended = to_end(&mut proxy.connect());
    assert!(is_reset(&ended), "{ended:?}");
    let (_, _, err) = proxy.stop(Signal::SIGTERM);
    assert!(err.contains("cannot connect to 127.0.0.1:") && err.contains("reset"), "{err}");

    // A listener whose queue is full: the kernel drops further requests to connect.
    let silent = upstream();
    socket2::SockRef::from(&silent).listen(0).expect("it is bound");
    let address = silent.local_addr().expect("it is bound");
    let filling: Vec<_> = (0..3).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()).collect();
    assert!(filling.len() < 3, "the queue is full");
    let proxy = Proxy::to(&silent, &["--connect-timeout", "300ms"]);
    let begun = Instant::now();
    // Neither waits for the other.
    let mut waiting = [proxy.connect(), proxy.connect(), proxy.connect()];
    for ended in waiting.each_mut().map(to_end) {
        assert!(is_reset(&ended), "{ended:?}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    drop(filling);
}

#[test]
fn without_open_files_connections_are_reset_and_the_proxy_goes_on() {
    let upstream = upstream();
    let mut shell = Command::new("sh");
    let line = "ulimit -n 30; exec \"$@\"";
    let to = upstream.local_addr().expect("it is bound").to_string();
    shell.args(["-c", line, "sh", crate::common::program(), "proxy", "--listen", "127.0.0.1:0", "--upstream", &to]);
    let proxy = Proxy::start(shell);
    {
        let mut many: Vec<TcpStream> = (0..40).map(|_| proxy.connect()).collect();
        many.iter().for_each(|stream| stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a live socket"));
        let ended: Vec<_> = many.iter_mut().rev().map(|stream| stream.read(&mut [0])).collect();
        let reset = ended.iter().filter(|end| end.as_ref().is_err_and(|why| why.kind() == std::io::ErrorKind::ConnectionReset)).count();
        assert!((20..40).contains(&reset), "{reset} of 40 were reset");
    }
    // Those that got through are in the upstream's queue before it. The descriptors are free when the proxy has read their ends.
    let deadline = Instant::now() + LONG;
    loop {
        let mut near = proxy.connect();
        near.write_all(b"new").expect("a queue");
        near.shutdown(Shutdown::Write).expect("a queue");
        let mut seen = vec![];
        while seen != b"new" {
            upstream.set_nonblocking(true).expect("a live socket");
            let Ok((far, _)) = upstream.accept() else { break };
            far.set_nonblocking(false).expect("a live socket");
            seen = to_end(&mut limited(far)).unwrap_or_default();
        }
        if seen == b"new" {
            break;
        }
        assert!(Instant::now() < deadline, "the proxy takes connections again");
        sleep(Duration::from_millis(20));
    }
    let (_, _, err) = proxy.stop(Signal::SIGTERM);
    assert!(err.contains("EMFILE"), "{err}");
}

#[test]
fn tls_passes_through_and_that_is_said() {
    let upstream = upstream();
    let proxy = Proxy::to(&upstream, &[]);
    let hello = [22, 3, 1, 0, 4, 1, 2, 3, 4];
    for _ in 0..2 {
        let (mut near, mut far) = proxy.pair(&upstream);
        near.write_all(&hello).expect("open");
        let mut seen = [0; 9];
        far.read_exact(&mut seen).expect("open");
        assert_eq!(seen, hello);
    }
    let (_, _, err) = proxy.stop(Signal::SIGINT);
    assert_eq!(err.matches("TLS").count(), 1, "{err}");
}

#[test]
fn a_signal_ends_connections_with_fin_and_the_proxy_with_success() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let upstream = upstream();
        let proxy = Proxy::to(&upstream, &[]);
        let (mut near, mut far) = proxy.pair(&upstream);
        far.write_all(b"unread").expect("open");
        let address = proxy.address;
        let (code, out, err) = proxy.stop(signal);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "stopped after 1 connection\n", ""));
        assert_eq!(to_end(&mut near).expect("a FIN"), b"unread");
        assert_eq!(to_end(&mut far).expect("a FIN"), b"");
        assert!(TcpStream::connect(address).is_err(), "nobody listens");
    }
}
