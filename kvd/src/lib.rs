//! kvd: a replicated key-value store on a few machines, with an API of HTTP and JSON.
//!
//! The path of a write, from the outside in: [`http`] parses it and puts it into the inbox of the task in [`server`],
//! which owns the [`node::Replica`]. There [`raft`] orders it, and has it written ([`storage`]) and sent to the other
//! nodes ([`peer`]). Once a majority has it on disk, [`kv`] applies it and the answer goes back. `raft`, `kv`, `node`
//! and `bootstrap` are pure: no clock, no I/O, no threads; all of those meet in `server`.

mod background;
pub mod bootstrap;
pub mod config;
pub mod data;
mod dev;
pub mod http;
pub mod kv;
mod logging;
mod memory;
pub mod mutants;
pub mod naming;
pub mod node;
mod offline;
pub mod peer;
pub mod raft;
pub mod server;
pub mod storage;

mod cli;
mod run;

pub use cli::exit_code;
pub use run::run;
