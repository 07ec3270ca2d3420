//! Communication between nodes: introductions, transport of messages, and detection of lost peers.
//!
//! Each node dials every other node ([`Link`]) and sends its messages there. Messages from the other nodes arrive on
//! the connections that those nodes dialled ([`accept`]). So each direction has WebSockets of its own, one for each
//! [`Lane`], on the listener that also serves clients. Everything but messages of consensus travels over HTTP: the one
//! [`Agent`] makes all requests to other nodes.

mod accept;
mod agent;
mod backoff;
mod bulk_watch;
mod consistency;
mod dialler;
mod dialling;
mod frame;
mod hello;
mod inbound;
mod lane;
mod link;
mod log_once;
mod paced;
mod sightings;

pub use accept::{PeerEvent, Unintroduced, accept, introduced, of_same_cluster, refuse};
pub use agent::{Agent, BegunAnswer, NoAnswer, NodeAnswer, NodeRequest};
pub use backoff::{Backoff, jittered};
pub use bulk_watch::BulkWatch;
pub use dialling::{LinkEvent, LinkOptions};
pub use frame::{FRAME_BYTES_MAX, FrameError, decode, encode};
pub use hello::{
    ClusterId, Founder, HELLO_HEADER, Hello, PROTOCOL_SIGNS_OF_LIFE, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN,
    SOUGHT_HEADER, founders_of, founding_configuration,
};
pub use inbound::Inbound;
pub use lane::{LANE_HEADER, Lane};
pub use link::Link;
pub use log_once::LogOnce;
pub use paced::{PacedStream, Written};
