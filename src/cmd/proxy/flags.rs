//! The command line of `toxiproxy-server`: flags as Go's package `flag` reads them, with one dash.

use crate::proxy::TOXIPROXY_VERSION;

/// What the flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToxiproxyFlags {
    pub(super) host: String,
    pub(super) port: String,
    pub(super) config: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) version: bool,
    pub(super) proxy_metrics: bool,
    pub(super) runtime_metrics: bool,
}

impl ToxiproxyFlags {
    /// Reads `-name=value`, `-name value`, and the same with two dashes.
    pub(super) fn read(words: &[String]) -> Result<ToxiproxyFlags, String> {
        let mut flags = ToxiproxyFlags {
            host: "localhost".to_owned(),
            port: "8474".to_owned(),
            config: None,
            seed: None,
            version: false,
            proxy_metrics: false,
            runtime_metrics: false,
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty());
            let flag = flag.ok_or_else(|| format!("\"{word}\" is not a flag of toxiproxy-server: {KNOWN}"))?;
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let mut text = || value.or_else(|| words.next()).map(str::to_owned).ok_or_else(|| format!("-{name} needs a value"));
            match name {
                "host" => flags.host = text()?,
                "port" => flags.port = text()?,
                "config" => flags.config = Some(text()?).filter(|file| !file.is_empty()),
                "seed" => {
                    let text = text()?;
                    // Go's is signed.
                    let seed =
                        text.parse::<i64>().map(i64::cast_unsigned).map_err(|_| format!("-seed is a whole number, not \"{text}\""))?;
                    flags.seed = Some(seed);
                }
                "version" => flags.version = switch(name, value)?,
                "proxy-metrics" => flags.proxy_metrics = switch(name, value)?,
                "runtime-metrics" => flags.runtime_metrics = switch(name, value)?,
                _ => return Err(format!("-{name} is not a flag of toxiproxy-server: {KNOWN}")),
            }
        }
        Ok(flags)
    }

    /// Where the API listens.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What `-version` prints.
    pub(super) fn version_line() -> String {
        format!("toxiproxy-server version {TOXIPROXY_VERSION} (closestorm {})\n", env!("CARGO_PKG_VERSION"))
    }
}

const KNOWN: &str = "there are -host, -port, -config, -seed, -version, -proxy-metrics and -runtime-metrics";

fn switch(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("-{name} is true or false, not \"{other}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<ToxiproxyFlags, String> {
        ToxiproxyFlags::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_go_does() {
        let none = read(&[]).expect("no flags");
        assert_eq!((none.address().as_str(), none.version), ("localhost:8474", false));
        let all = read(&["-host=0.0.0.0", "--port", "9", "-config", "p.json", "-seed=-2", "-proxy-metrics", "-runtime-metrics=false"])
            .expect("flags");
        assert_eq!((all.address().as_str(), all.config.as_deref(), all.seed), ("0.0.0.0:9", Some("p.json"), Some(u64::MAX - 1)));
        assert!(all.proxy_metrics && !all.runtime_metrics);
        assert_eq!(read(&["-host=::1"]).map(|flags| flags.address()).as_deref(), Ok("[::1]:8474"));
        for (words, why) in [
            (&["-x"][..], "not a flag"),
            (&["x"], "not a flag"),
            (&["-port"], "needs a value"),
            (&["-seed=x"], "whole number"),
            (&["-version=y"], "true or false"),
        ] {
            let found = read(words).expect_err("wrong");
            assert!(found.contains(why), "{found}");
        }
    }
}
