//! A proxy between real clients and a real server: two links and a copy. Whatever no fault touches passes byte for byte.
//!
//! `listener` takes connections and dials the upstream, `tls` shakes hands at either side, `relay` copies both ways over two
//! [`Link`](crate::transport::link::Link)s, which carry out what [`effects`] ask of bytes. `frames` looks at what passes, without holding it
//! up, `identify` tells clients apart, and `account` is what was seen of a connection in the end. `event` has all that happens, and
//! `witnesses` who is told: the summary in `counts`, readers of the stream in `feed`, and the run folder in `record`. `proxies` has all proxies by name, `overview` all at a
//! look. `faults` has closestorm's own faults, which `relay_faults` carries out on links and, while one acts on frames, in a `frame_stage`
//! between them; `toxics` what Toxiproxy calls its faults, and `api` the HTTP interface to it all.

pub(crate) mod account;
mod api;
pub(crate) mod connection;
pub(crate) mod counts;
pub(crate) mod door;
pub(crate) mod effects;
pub(crate) mod event;
pub(crate) mod faults;
pub(crate) mod feed;
pub(crate) mod frame_stage;
pub(crate) mod frames;
pub(crate) mod half;
pub(crate) mod identify;
pub(crate) mod listener;
pub(crate) mod opening;
pub(crate) mod overview;
mod own;
pub(crate) mod parts;
pub(crate) mod proxies;
mod record;
pub(crate) mod relay;
pub(crate) mod relay_faults;
pub(crate) mod tls;
pub(crate) mod toxics;
pub(crate) mod upstream;
pub(crate) mod witnesses;

pub use account::{ConnectionAccount, EndedBy, ProxiedId};
pub(crate) use api::TOXIPROXY_VERSION;
pub use api::{ApiMetrics, ControlApi};
pub use event::ProxyEvent;
pub use identify::{ClientKey, ClientLabels};
pub use proxies::Proxies;
pub use record::ProxyRecord;
pub use tls::UpstreamTrust;
pub use upstream::Upstream;
pub use witnesses::ProxyEvents;
