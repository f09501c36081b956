//! The scenarios that come with the program.

/// A bundled scenario.
#[derive(Clone, Copy, Debug)]
pub struct Bundled {
    /// File stem.
    pub name: &'static str,
    /// The file, with its comments.
    pub text: &'static str,
}

macro_rules! bundle {
    ($($name:literal),+ $(,)?) => {
        &[$(Bundled { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),+]
    };
}

/// All of them, the first for a start.
pub static BUNDLED: &[Bundled] = bundle![
    "default",
    "crash-storm",
    "strategies",
    "stuck",
    "lose-a-node",
    "rolling-restart",
    "half-open",
    "half-close",
    "aborts",
    "client-closes",
    "server-closes",
    "close-acks",
    "load-balancer",
    "slow-network",
    "hundred-thousand",
    "socket-io",
    "graphql-ws",
    "mqtt",
    "node-server",
    "node-crash",
    "node-capacity",
    "node-echo",
];

/// What bundled scenarios start, by path below `scenarios/`.
pub static PROGRAMS: &[(&str, &str)] = &[
    ("node/echo.js", include_str!("../../scenarios/node/echo.js")),
    ("node/package-lock.json", include_str!("../../scenarios/node/package-lock.json")),
    ("node/package.json", include_str!("../../scenarios/node/package.json")),
    ("node/server.js", include_str!("../../scenarios/node/server.js")),
];

/// The bundled scenario of a name, with or without `.toml`, and with or without `scenarios/` before it.
pub fn bundled(name: &str) -> Option<&'static Bundled> {
    let stem = name.strip_prefix("scenarios/").unwrap_or(name);
    let stem = stem.strip_suffix(".toml").unwrap_or(stem);
    BUNDLED.iter().find(|bundled| bundled.name == stem)
}

impl Bundled {
    /// The question that it answers, as its file says; empty where it says none.
    pub fn question(&self) -> String {
        let table: Option<toml::Table> = self.text.parse().ok();
        table.and_then(|table| table.get("question")?.as_str().map(str::to_owned)).unwrap_or_default()
    }
}
