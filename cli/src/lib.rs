//! The environment as the command lines of both kvd and kvctl read it.
//!
//! Most flags can be given as variables. A variable that is set to nothing counts as one that is not set, since that is what a
//! compose file or a unit makes of a setting that somebody left out. One that no flag reads is most likely misspelt, and is
//! worth a warning: nothing else would say that it has no effect.

mod variables;

pub use variables::{unknown_variables, without_empty_variables};
