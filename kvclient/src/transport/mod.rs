//! Bytes to and from one node: TCP connections, the exchanges of HTTP over them, and streams of events.

mod connection;
mod http;
mod sse;

pub(crate) use http::{Chunk, Download, Failure, Lines, Opened, Post, Reply, Stream, Subscription, Target, Transport};
pub(crate) use sse::{Event, Parser};
