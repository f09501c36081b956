//! What a panic in this process comes to: the user is told, and results are not relied on.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Why results are not relied on where something panicked.
pub(crate) const BUG: &str = "a part of closestorm failed with an internal error: this is a bug in closestorm, please report it";

/// Names where a debug build panics, for tests: `client 3`, `fault 0`, `simulate`.
#[cfg(debug_assertions)]
const ASKED: &str = "CLOSESTORM_PANIC";

static HAPPENED: AtomicBool = AtomicBool::new(false);

/// Tells of panics on stderr from now on, with what `hide` leaves of them, and remembers that there was one.
pub(crate) fn tell(hide: fn(&str) -> String) {
    std::panic::set_hook(Box::new(move |panic| {
        note();
        let trace = std::backtrace::Backtrace::capture();
        let traced = matches!(trace.status(), std::backtrace::BacktraceStatus::Captured).then(|| format!("\n{trace}")).unwrap_or_default();
        // There is nowhere left to say that stderr is closed.
        let _ = writeln!(io::stderr(), "closestorm: {BUG} with these lines\n{}{traced}", hide(&panic.to_string()));
    }));
}

/// Remembers one that only its task tells of: programs that use the library have hooks of their own.
pub(crate) fn note() {
    HAPPENED.store(true, Ordering::Relaxed);
}

/// Whether something panicked in this process, in whatever task.
pub(crate) fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// Panics where a test asks for it, in debug builds.
pub(crate) fn asked(here: std::fmt::Arguments<'_>) {
    #[cfg(debug_assertions)]
    if let Some(place) = std::env::var_os(ASKED) {
        assert!(place != *here.to_string(), "{ASKED} asked for it");
    }
    let _ = here;
}
