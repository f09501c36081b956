//! Files that a scenario names: plain files of a bounded size, never devices, pipes or folders, which could block for ever or never end.

use crate::number;
use crate::units::Bytes;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest file that a scenario may name, bytes.
pub const LARGEST: u64 = 16 << 20;

/// The bytes of a regular file of at most [`LARGEST`] bytes.
///
/// # Errors
/// It cannot be read, is something else, or is larger.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    read_regular_of(path, Bytes(LARGEST))
}

/// As [`read_regular`], of at most so many bytes.
///
/// # Errors
/// As [`read_regular`].
pub fn read_regular_of(path: &Path, largest: Bytes) -> io::Result<Vec<u8>> {
    let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
    // Looked at first, as opening alone may do something to a device; and again when open, as it may be another one by then.
    let what = std::fs::metadata(path)?;
    if !what.is_file() {
        return wrong("this is not a regular file");
    }
    // A pipe that has taken its place must not block.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return wrong("this is not a regular file");
    }
    let mut bytes = Vec::new();
    file.take(largest.0 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest.0 { wrong(&format!("this file is larger than {}", number::bytes(largest.0))) } else { Ok(bytes) }
}

/// The bytes of a scenario that the user names: of a regular file, or of what is open already under that name, as `/dev/stdin` and `<(…)` of a shell,
/// of at most [`LARGEST`] bytes. A pipe with a name of its own is refused: if nobody writes to it, opening it would wait for ever.
///
/// # Errors
/// It cannot be read, is something else, or is larger.
pub fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    let is_open = path == Path::new("/dev/stdin") || ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.starts_with(folder));
    if !is_open {
        return read_regular(path);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(io::Error::other("this file is larger than 16 MiB")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (pipe, large, plain) = (folder.path().join("pipe"), folder.path().join("large"), folder.path().join("plain"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        File::create(&large).and_then(|file| file.set_len(LARGEST + 1)).expect("a file with a hole");
        std::fs::write(&plain, "text").expect("a file");
        for (path, why) in [
            (pipe.as_path(), "not a regular file"),
            (folder.path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (large.as_path(), "larger than 16 MiB"),
        ] {
            let error = read_regular(path).expect_err("refused").to_string();
            assert!(error.contains(why), "{}: {error}", path.display());
        }
        assert_eq!(read_regular(&plain).expect("readable"), b"text");
    }
}
