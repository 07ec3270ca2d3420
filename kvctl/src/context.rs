//! What a command works with.

use crate::interrupt::Interrupt;
use crate::output::Output;
use kvclient::Client;

/// What a command works with.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
}
