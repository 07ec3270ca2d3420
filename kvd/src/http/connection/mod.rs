//! Connections: accepted, served as HTTP/1.1 within limits, and closed. This module does not know the API.
//!
//! warp's own server has no limit on connections, on the time a client takes for its headers, or on the time a stop may
//! take; so the daemon runs warp's service in its own accept loop, over hyper's HTTP/1.
//!
//! - Up to [`Limits::connections_max`] connections are served. A few more are accepted and marked [`Crowded`]: on these
//!   the service answers only what it must, so that clients, however many, never keep the other nodes out. Further
//!   connections are closed at once.
//! - A reply to a request whose body was not read to its end closes the connection; see `lingering`.
//! - hyper itself refuses bytes that are not HTTP, and headers that are too large, with a status (400, 431) and an
//!   empty body. It has no hook for that: only these replies lack the JSON of the API.
//! - A connection may be idle for [`Limits::idle_time_max`], but a request that has begun must reach the end of its
//!   headers within [`Limits::headers_time_max`]: see `prompt`.
//! - A client that reads nothing of its reply for [`Limits::write_time_max`] is disconnected: see `impatient`.
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
