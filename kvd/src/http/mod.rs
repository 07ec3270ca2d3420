//! The HTTP API, and nothing else: handlers parse, ask and render.
//!
//! A request arrives over a `connection` and passes the guard of `service` (`framing`, `origin`, crowding, the intended
//! cluster) before any of its body is read. It becomes one value (`request`), and `routes` finds its handler: `keys`
//! for reads and writes, `snapshot` for backups (`freshness` and `up_to_date`: how fresh the store must be for them),
//! `members` and `transfer` for changes of the members and of the leader, `cluster` and `leader_watch` for the node's
//! own state. Handlers reach the node only through the [`Gateway`]. `reply` defines the shape of their answers,
//! `reply_budget` the memory for them, and `error` every kind of failure.
//!
//! Messages between nodes travel on the same listener. Their routes are a filter passed in from outside.

mod body;
mod cluster;
mod connection;
mod context;
mod error;
mod framing;
mod freshness;
mod gateway;
mod keys;
mod leader_watch;
mod limits;
mod members;
mod origin;
mod query;
mod reply;
mod reply_budget;
mod request;
mod routes;
mod serve;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod transfer;
mod up_to_date;

pub use connection::{Limits as ConnectionLimits, Listeners};
pub use error::ApiError;
pub use gateway::{
    Answer, Answered, Asker, Backup, BackupError, Caller, Forward, Forwarding, Gateway, NotTransferred, Question,
    Request, Unforwarded, View,
};
pub use limits::Limits;
pub use request::{TIMEOUT_DEFAULT, TIMEOUT_MAX};
pub use serve::serve;
