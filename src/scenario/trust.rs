//! Scenarios of strangers (`--untrusted`): what they may name of this machine, and whom they may contact. Decides by what is written: a name
//! of a host is not looked up, for that would already ask somebody. What `localhost` leads to is decided where it is connected.

use super::Source;
use super::diagnostic::{Diagnostic, Sink};
use super::tree::Node;
use crate::address::Address;
use crate::plan::limits::{is_here, is_named_here};
use crate::plan::{Plan, Target};
use core::net::IpAddr;
use std::path::{Component, Path, PathBuf};

/// How far a scenario is trusted; by default it is the user's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioTrust {
    /// Somebody else wrote it.
    pub untrusted: bool,
    /// Folders whose files it may name, beside its own.
    pub paths: Vec<PathBuf>,
    /// Variables of the environment that it may read.
    pub env: Vec<String>,
    /// Hosts that it may contact, beside loopback.
    pub hosts: Vec<String>,
}

impl ScenarioTrust {
    /// Whether it may read a variable.
    pub(super) fn allows_env(&self, name: &str) -> bool {
        !self.untrusted || self.env.iter().any(|allowed| allowed == name)
    }

    /// Whether it may name a file, after all links: one at or below its own folder, or an allowed one. A file that is not there is not.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn check_file(&self, source: &Source, path: &Path) -> Result<(), String> {
        if !self.untrusted {
            return Ok(());
        }
        let own = match source {
            Source::File(file) => file.parent().zip(file.canonicalize().ok().as_deref().and_then(Path::parent).map(Path::to_owned)),
            Source::Bundled(_) | Source::Url(_) | Source::Text { .. } => None,
        };
        let allowed = self.paths.iter().filter_map(|folder| folder.canonicalize().ok());
        let folders: Vec<_> = own.iter().map(|(_, folder)| folder.clone()).chain(allowed).collect();
        match path.canonicalize() {
            Ok(path) if folders.iter().any(|folder| path.starts_with(folder)) => return Ok(()),
            Ok(_) => {}
            Err(_) => {
                let in_own = own.as_ref().and_then(|(written, folder)| Some(folder.join(path.strip_prefix(written).ok()?)));
                if in_own.or_else(|| std::path::absolute(path).ok()).is_some_and(|path| is_missing_in(&folders, &path)) {
                    return Err("there is no such file".to_owned());
                }
            }
        }
        Err("it is outside the scenario's folder, and the scenario is untrusted: allow its folder by `--allow-path DIR`".to_owned())
    }

    /// Which host or address of those that an address of a scenario stands for it may not contact; where `given` are, they decide and not the
    /// name.
    fn strange(&self, address: &Address, given: &[IpAddr]) -> Option<String> {
        match given {
            [] => (!self.allows_host(address)).then(|| address.host.clone()),
            given => given.iter().find(|ip| !is_here(**ip) && !self.names(&ip.to_string())).map(ToString::to_string),
        }
    }

    fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    fn allows_host(&self, address: &Address) -> bool {
        let host = address.host.trim_start_matches('[').trim_end_matches(']');
        is_named_here(host) || self.names(host)
    }

    /// Complains of requests to hosts of their own, which are known only when their names are filled in: an untrusted scenario has none.
    pub(super) fn check_requests(&self, tree: &Node, sink: &Sink) {
        for cohort in tree.get("clients").map_or(&[][..], Node::entries).iter().filter(|_| self.untrusted) {
            if cohort.node.get("dialogue").is_some_and(|dialogue| dialogue.get("before").is_some()) {
                let title = "`before` asks other hosts, and the scenario is untrusted";
                sink.push(Diagnostic::new(&cohort.at, title, "in this cohort"));
            }
        }
    }

    /// Complains of what the plan of an untrusted scenario would start, read or contact.
    pub(super) fn check(&self, plan: &mut Plan, source: &Source, sink: &Sink) {
        if !self.untrusted {
            return;
        }
        let mut files: Vec<(&str, &Path)> = Vec::new();
        match &mut plan.target {
            Target::Embedded(_) => {}
            Target::Command(_) => {
                let title = "`target.command` would start a program, and the scenario is untrusted";
                sink.push(Diagnostic::bare(title).help("without --untrusted it is started"));
            }
            Target::Url(remote) => {
                let connected = remote.connected();
                let given = remote.given(&connected.host);
                let (what, behind) = match &remote.proxy {
                    // It is told the name of the target, whatever `resolve` says of that.
                    Some(_) => ("proxy", self.strange(&remote.address, &[]).map(|host| ("target", host))),
                    None => ("target", None),
                };
                for (what, host) in self.strange(connected, &given).map(|host| (what, host)).into_iter().chain(behind) {
                    let title = format!("the {what} {host} is not on this machine, and the scenario is untrusted");
                    sink.push(Diagnostic::bare(title).help(format!("allow it by `--allow-host {host}`")));
                }
                // Only a name can lead elsewhere, and one that was not allowed is nobody's but this machine's.
                remote.must_be_here = if given.is_empty() { !self.names(&connected.host) } else { given.iter().all(|ip| is_here(*ip)) };
                if remote.redirects > 0 {
                    let title = "`redirects` may lead to any host, and the scenario is untrusted";
                    sink.push(Diagnostic::bare(title).help("write the address that the redirect leads to"));
                }
                files.extend(remote.ca.iter().map(|ca| ("ca", ca.as_path())));
                files.extend(remote.certificate.iter().flat_map(|(cert, key)| [("cert", cert.as_path()), ("key", key.as_path())]));
                files.extend(remote.address.socket.iter().map(|socket| ("address", Path::new(socket.as_str()))));
            }
        }
        for (key, file) in files {
            if let Err(why) = self.check_file(source, file) {
                sink.push(Diagnostic::bare(format!("`{key}` cannot be {}: {why}", file.display())));
            }
        }
    }
}

/// Whether a file is missing in one of the folders, which have no links in their names; `path` is absolute. Looks at nothing outside of them: the answer
/// is the same whatever is there.
fn is_missing_in(folders: &[PathBuf], path: &Path) -> bool {
    let is_inside = |place: &Path| folders.iter().any(|folder| place.starts_with(folder));
    let mut place = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            place.pop();
            continue;
        }
        place.push(part);
        // On the way to a folder, which is there.
        if folders.iter().any(|folder| folder.starts_with(&place)) {
            continue;
        }
        if !is_inside(&place) {
            return false;
        }
        match place.symlink_metadata() {
            Err(_) => return true,
            // Where one leads that leads out, or nowhere, is not told.
            Ok(found) if found.is_symlink() => match place.canonicalize() {
                Ok(target) if is_inside(&target) => place = target,
                _ => return false,
            },
            Ok(_) => {}
        }
    }
    false
}
