//! The HTTP API, and nothing else: handlers parse, ask and render.
//!
//! A request arrives over a `connection` and passes the guard of `service` (`framing`, `origin`, crowding, the intended
//! cluster) before any of its body is read. It becomes one value (`request`), and `routes` finds its handler: `keys`,
//! `list`, `txn`, `history`, `watch`, `leases` and `locks` for the data, `snapshot` for backups, `members` and
//! `transfer` for changes of the members and of the leader, `cluster` and `leader_watch` for the node's own state.
//! Handlers reach the node only through the [`Gateway`].
//!
//! Writes share the path of `write`: `convert` translates the API's types into those of the state machine, and
//! `outcome` turns its outcomes into replies. Reads wait until the store is as fresh as they ask (`freshness`,
//! `up_to_date`), or until something has changed (`changed`). `watchers` wakes streams and waiting reads, `streams`
//! limits their number, and `pulse` finds out for streams how fresh the node is. `reply` defines the shape of all
//! answers, `reply_budget` the memory for them, and `error` every kind of failure.
//!
//! Messages between nodes travel on the same listener. Their routes are a filter passed in from outside.

mod body;
mod changed;
mod cluster;
mod connection;
mod context;
mod convert;
mod error;
mod event_stream;
mod framing;
mod freshness;
mod gateway;
mod history;
mod keys;
mod leader_watch;
mod leases;
mod limits;
mod list;
mod locks;
mod members;
mod origin;
mod outcome;
mod pulse;
mod reply;
mod reply_budget;
mod request;
mod routes;
mod serve;
mod service;
mod snapshot;
mod streams;
#[cfg(test)]
mod tests;
mod transfer;
mod txn;
mod up_to_date;
mod watch;
mod watchers;
mod write;

pub use connection::{Limits as ConnectionLimits, Listeners};
pub use error::ApiError;
pub use gateway::{
    Answer, Answered, Asker, Backup, BackupError, Caller, CommandLimits, Forward, Forwarding, Gateway, NotTransferred,
    Question, Request, Unforwarded, View,
};
pub use limits::{Limits, STREAMS_MAX_DEFAULT};
pub use request::{TIMEOUT_DEFAULT, TIMEOUT_MAX};
pub use serve::serve;
