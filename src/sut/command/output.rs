//! What a target prints has a bound on disk: a file that is too long is moved aside, once, and begun anew.

use nix::fcntl::OFlag;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest output kept in one file, bytes; with the one that was moved aside as much again.
const OUTPUT_MAX: u64 = 64 << 20;
/// Between two looks at its length.
const LOOK: Duration = Duration::from_millis(250);

/// Looks after the output of a target, until it is dropped.
#[derive(Debug)]
pub(crate) struct OutputLimit(JoinHandle<()>);

impl OutputLimit {
    /// Looks after nothing.
    #[cfg(test)]
    pub(crate) fn none() -> OutputLimit {
        OutputLimit(tokio::spawn(std::future::ready(())))
    }

    /// Looks after this file.
    pub(crate) fn of(output: PathBuf) -> OutputLimit {
        OutputLimit(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let path = output.clone();
                // What cannot be moved now is tried again.
                let _ = tokio::task::spawn_blocking(move || rotate(&path, OUTPUT_MAX)).await;
            }
        }))
    }
}

impl Drop for OutputLimit {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says that the beginning of what a target printed is lost, where it is: whoever looks for an error there must know.
pub(crate) fn lost(output: &Path) -> Option<String> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = moved_aside(output);
    let max = OUTPUT_MAX >> 20;
    let words =
        || format!("the target printed more than {max} MiB: only the end of it is kept, in {} and then {}", name(&aside), name(output));
    aside.exists().then(words)
}

/// Where what was printed before is.
pub(super) fn moved_aside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Moves the end of what was printed, at most `max` bytes, to a file beside it, and empties the output, if it is longer than that. Processes
/// that append to it go on at its new beginning.
fn rotate(output: &Path, max: u64) -> io::Result<()> {
    let length = match fs::metadata(output) {
        Ok(found) if found.len() > max => found.len(),
        _ => return Ok(()),
    };
    let mut printed = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(output)?;
    io::Seek::seek(&mut printed, io::SeekFrom::Start(length - max))?;
    // For nobody else to read, as the output is: what a target prints may have secrets in it.
    // New, and never through a link that somebody has put there.
    let aside = moved_aside(output);
    let _ = fs::remove_file(&aside);
    let mut aside = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    let copied = io::copy(&mut io::Read::take(printed, max), &mut aside);
    // Also where the disk is full: what is there is then all that there is.
    OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(output)?.set_len(0)?;
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_output_that_is_too_long_is_moved_aside_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("target.log");
        let mut target = OpenOptions::new().create(true).append(true).open(&output).unwrap();
        for turn in 0..50 {
            writeln!(target, "{turn:09}").unwrap();
            rotate(&output, 100).unwrap();
        }
        let (now, before) = (fs::read_to_string(&output).unwrap(), fs::read_to_string(folder.path().join("target.log.1")).unwrap());
        assert!(now.len() <= 100 && before.len() == 100, "{now:?} {before:?}");
        let told = lost(&output).expect("something is lost");
        assert!(told.ends_with("only the end of it is kept, in target.log.1 and then target.log"), "{told}");
        assert_eq!(lost(&folder.path().join("other.log")), None);
        assert!(format!("{before}{now}").ends_with("000000048\n000000049\n"));
    }

    #[test]
    fn nothing_is_written_or_emptied_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [output, victim, link] = ["target.log", "victim", "link"].map(|name| folder.path().join(name));
        let mine = "mine".repeat(100);
        [&output, &victim].into_iter().for_each(|file| fs::write(file, &mine).unwrap());
        std::os::unix::fs::symlink(&victim, moved_aside(&output)).unwrap();
        rotate(&output, 100).unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(rotate(&link, 100).is_err());
        assert_eq!((fs::read_to_string(&victim).unwrap(), fs::read_to_string(&output).unwrap()), (mine, String::new()));
        assert!(!moved_aside(&output).is_symlink());
    }
}
