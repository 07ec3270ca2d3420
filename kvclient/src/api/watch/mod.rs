//! `/watch`: every change of some keys, as it happens.

mod change;
mod event;
mod position;
mod request;

pub use change::{Change, ChangeKind};
pub use event::WatchEvent;
pub use position::WatchPosition;
pub use request::{PROGRESS_MS_DEFAULT, WatchRequest};
