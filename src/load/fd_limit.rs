//! Open files: how many there may be, and room for them.

use crate::plan::{Plan, Shard};
use crate::sut::command::open_files::raise_files;
use crate::sut::error::RunError;

/// Descriptors that are not connections: runtime, guard, control, output, results.
pub(crate) const SPARE_FILES: u64 = 64;

/// Raises the soft limit of open files to the hard one, and refuses clients that cannot fit, with the sockets that faults leave open.
pub(crate) fn check(plan: &Plan, shard: Shard) -> Result<(), RunError> {
    let (clients, limit) = (shard.count(plan.clients()), raise_files()?);
    let left = plan.left_open(shard).clients;
    let needed = (u64::from(clients) + SPARE_FILES).saturating_add(left);
    if needed > limit {
        // What faults leave open grows with the clients.
        let each = 1.0 + left as f64 / f64::from(clients.max(1));
        return Err(RunError::Files { clients, left, needed, limit, fits: (limit.saturating_sub(SPARE_FILES) as f64 / each) as u64 });
    }
    make_room(needed);
    Ok(())
}

/// Makes the kernel's table of open files as long as it will be. Where a process has threads, all of them stand still for ten
/// milliseconds and more each time that it doubles (`synchronize_rcu` in `expand_fdtable`): six times on the way to 15,000 connections,
/// a tenth of the time in which they open.
fn make_room(files: u64) {
    use nix::fcntl::{FcntlArg, fcntl};
    let Ok(file) = std::fs::File::open("/dev/null") else { return };
    let last = i32::try_from(files.saturating_sub(1)).unwrap_or(i32::MAX);
    // A file with the highest number does it. If it fails, the table grows later.
    if let Ok(number) = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(last)) {
        let _ = nix::unistd::close(number);
    }
}
