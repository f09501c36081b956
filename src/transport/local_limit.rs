//! Limits of this machine, and how the kernel tells of them.

use nix::errno::Errno;
use std::io;

/// The limit of this machine that an error tells of, in words, with the way out: never a property of whom we talk to.
pub(crate) fn local_limit(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE => "no file descriptor left in this process (EMFILE): raise the limit (`ulimit -n`)",
        Errno::ENFILE => "no file descriptor left on this machine (ENFILE): raise the limit (`sysctl fs.file-max`)",
        Errno::EADDRNOTAVAIL => "no local port left (EADDRNOTAVAIL)",
        Errno::ENOBUFS | Errno::ENOMEM => "no memory left for sockets (ENOBUFS)",
        _ => return None,
    })
}
