//! Connections: accepted, served as HTTP/1.1 within limits, and closed. Nothing here knows the API.
//!
//! warp's own server has no limit on connections, on the time a client takes for its headers, or on the time
//! a stop may take; so the daemon runs warp's service on a loop of its own, over hyper's HTTP/1.
//!
//! - Up to [`Limits::connections_max`] connections are served. A few more are accepted and marked [`Crowded`]:
//!   of these the service answers only what it must, so that clients, however many, never keep the other
//!   nodes out. Beyond them a connection is closed at once.
//! - A reply to a request whose body nobody has read to its end closes the connection; see `lingering`.
//! - What is no HTTP, and headers that are too large, hyper refuses on its own, with a status (400, 431)
//!   and an empty body. It has no hook for that: these replies alone do not have the JSON of the API.
//! - A connection may be idle for [`Limits::idle_time_max`], but a request that has begun must come to the end of
//!   its headers within [`Limits::headers_time_max`]: see `prompt`.
//! - A client that takes nothing of its reply for [`Limits::write_time_max`] is disconnected: see `impatient`.
//! - Each connection has a task of its own, so a panic in a handler ends that connection and nothing else.

mod accepting;
mod impatient;
mod limits;
mod lingering;
mod listeners;
mod prompt;
mod serving;

pub(super) use accepting::serve;
pub(super) use limits::Crowded;
pub use limits::Limits;
pub(super) use lingering::RequestBody;
pub use listeners::Listeners;
