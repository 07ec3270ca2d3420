//! Consensus in slow motion: each script shows one rule, or one classic way to break it.
//!
//! A script is a text file: commands, a line `---`, and the effects they had. Its name is the rule.
//! `support/script.rs` documents the commands, `support/notation.rs` how effects are written. A script
//! fails when effects differ from those recorded; after a change that is meant,
//!
//!     UPDATE_GOLDENFILES=1 cargo test -p kvd --test scripts
//!
//! records them anew, and the difference is reviewed like code. A new script is found when this file is
//! compiled again: touch it.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/network.rs"]
mod network;
#[path = "support/notation.rs"]
mod notation;
#[path = "support/script.rs"]
mod script;

use script::Script;
use std::path::Path;

test_each_file::test_each_path! { in "./kvd/tests/scripts" => run }

fn run(path: &Path) {
    goldenscript::run(&mut Script::default(), path).unwrap_or_else(|failure| panic!("{}: {failure}", path.display()));
}
