//! A proxy between real clients and a real server: two links and a copy. Whatever no fault touches passes byte for byte.
//!
//! `listener` takes connections and dials the upstream, `tls` shakes hands at either side, `relay` copies both ways over two
//! [`Link`](crate::transport::link::Link)s, which carry out what [`effects`] ask of bytes. `frames` looks at what passes, without holding it up. `proxies` has all proxies by name, `toxics` what
//! Toxiproxy calls its faults, and `api` the HTTP interface to both.

mod api;
pub(crate) mod connection;
pub(crate) mod effects;
pub(crate) mod event;
pub(crate) mod frames;
pub(crate) mod listener;
pub(crate) mod proxies;
pub(crate) mod relay;
pub(crate) mod tls;
pub(crate) mod toxics;
pub(crate) mod upstream;

pub(crate) use api::TOXIPROXY_VERSION;
pub use api::{ApiMetrics, ControlApi};
pub use event::{ProxyEvent, ProxyEvents};
pub use proxies::Proxies;
pub use tls::UpstreamTrust;
pub use upstream::Upstream;
