//! A real herd keeps a real server down after the cause is over, until admission control is turned on.

use super::{Run, alone};

/// Ends of the run: `stuck.toml` says 30 s, with the crash at 8 s and the server back at 10 s.
const END_MS: u64 = 30_000;

#[test]
fn a_herd_keeps_its_server_down_until_admission_control_is_on() {
    let _alone = alone();
    // The bundled scenario as it is: its expectations say that half of the clients never came back.
    let stuck = Run::new().load("stuck", &[]);
    let (clients, attempts) = (&stuck.summary.clients, &stuck.summary.attempts.counts);
    assert_eq!((clients.planned, clients.peak_open, clients.lost), (1000, 1000, Some(0)));
    // A second of 200 opening handshakes, before the first clients left; a busy machine may add or take some.
    assert!(clients.open_at_end < 400, "{} are back", clients.open_at_end);
    assert!(attempts.timed_out > 5_000, "{}", attempts.timed_out);
    // The server was reachable all the time since: it refused nobody, and it did not stop working.
    let late = |row: &&closestorm::results::record::TimelineRow| (END_MS / 2..END_MS - 1_000).contains(&row.offset_ms);
    let (opened, refused) =
        stuck.timeline.iter().filter(late).fold((0, 0), |(opened, refused), row| (opened + row.opened, refused + row.refused));
    assert!(refused == 0 && opened < 100, "{opened} opened, {refused} refused");

    let admit = "target.embedded.admit={ rate = \"180/s\", burst = 45, reject = 503 }";
    let expect = "expect=[\"clients_lost count == 0\", \"reconnect_time p99 < 20s\"]";
    let out = Run::new().load("stuck", &["--set", admit, "--set", expect]);
    assert_eq!((out.summary.clients.open_at_end, out.summary.reconnect.recovered), (1000, 1000));
    assert!(out.summary.attempts.counts.rejected > 500, "{}", out.summary.attempts.counts.rejected);
}
