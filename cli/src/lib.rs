//! The environment, as the command lines of kvd and kvctl read it.
//!
//! Most flags can be given as variables. A variable that is set to the empty string counts as unset, because that is
//! how a compose file or a unit passes a setting that was left out. A variable that no flag reads is most likely
//! misspelt, and gets a warning: nothing else would say that it has no effect.

mod variables;

pub use variables::{unknown_variables, without_empty_variables};
