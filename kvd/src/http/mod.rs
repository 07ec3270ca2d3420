//! The HTTP API, and nothing else: handlers parse, ask and render.

mod gateway;

pub use gateway::{Gateway, Request, View};
