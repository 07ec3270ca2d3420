//! The context that every command gets.

use crate::interrupt::Interrupt;
use crate::output::Output;
use kvclient::Client;

/// The context that every command gets.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
}
