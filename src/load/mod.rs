//! Simulated clients: when they connect, what they say, how they come back, and what faults do to them.

pub(crate) mod attempt;
pub(crate) mod before;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod context;
pub(crate) mod dead_paths;
mod deafen;
pub(crate) mod fd_limit;
pub(crate) mod hits;
pub(crate) mod http_places;
pub(crate) mod pacer;
pub(crate) mod rate_cap;
pub(crate) mod redirect;
pub(crate) mod registry;
pub(crate) mod request_template;
pub(crate) mod source_address;
pub(crate) mod under_way;
pub(crate) mod waiting;
pub(crate) mod who_is_hit;
