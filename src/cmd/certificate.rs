//! The certificate of `closestorm serve`.

use crate::cli::Serve;
use crate::files::read_regular;
use crate::transport::tls::Identity;
use anyhow::Context;
use std::path::Path;

/// The certificate with which to serve, if with any.
pub(super) fn identity(args: &Serve, tls: bool) -> anyhow::Result<Option<Identity>> {
    let read = |path: &Path| -> anyhow::Result<String> {
        let bytes = read_regular(path).with_context(|| format!("cannot read {}", path.display()))?;
        String::from_utf8(bytes).with_context(|| format!("{} is not PEM", path.display()))
    };
    Ok(match (&args.cert, &args.key) {
        _ if !tls => None,
        (Some(cert), Some(key)) => Some(Identity { certificate: read(cert)?, key: read(key)? }),
        _ => Some(Identity::generate()?),
    })
}
