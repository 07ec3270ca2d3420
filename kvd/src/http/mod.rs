//! The HTTP API, and nothing else: handlers parse, ask and render.
//!
//! A request comes in over a `connection`, passes the guard of `service` (`framing`, `origin`, crowding, the cluster that is
//! meant) before any of its body is read, becomes one value (`request`), and finds its handler in `routes`: `keys` for reads and writes,
//! `snapshot` for backups (`freshness` and `up_to_date`: how fresh the store must be for them), `members` and `transfer` for
//! who belongs to the cluster and who leads it, `cluster` and `leader_watch` for what the node knows of itself. Handlers reach
//! the node through the [`Gateway`] alone. `reply` has the shape of what they answer, `reply_budget` the memory for it, and
//! `error` every way to fail.
//!
//! What nodes say to each other travels on the same listener, and is a filter handed in from outside.

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
    Answer, Answered, Asker, Backup, BackupError, Caller, Forward, Forwarding, Gateway, NotHandedOver, Question,
    Request, Unforwarded, View,
};
pub use limits::Limits;
pub use request::{TIMEOUT_DEFAULT, TIMEOUT_MAX};
pub use serve::serve;
