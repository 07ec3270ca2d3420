//! Consensus in slow motion: each script shows one rule, or a classic violation of it.
//!
//! A script is a text file: commands, a line `---`, and their effects. Its name is the rule; `scripts/README.md` lists
//! the script for each rule of the paper. `interpreter/script.rs` documents the commands, `testkit/src/notation.rs` the
//! notation of effects. A script fails when effects differ from the recorded ones. After an intended change,
//!
//!     UPDATE_GOLDENFILES=1 cargo test -p kvd --test scripts
//!
//! records them again, and the difference is reviewed like code. A new script is only found when this file is compiled
//! again: touch it.

mod interpreter;

use interpreter::Script;
use std::collections::BTreeSet;
use std::path::Path;

const INDEX: &str = "README.md";

test_each_file::test_each_path! { in "./kvd/tests/scripts" => check }

/// The index has to name the scripts; every other file is a script.
fn check(path: &Path) {
    if path.ends_with(INDEX) { index_names_every_script(path) } else { run(path) }
}

fn run(path: &Path) {
    goldenscript::run(&mut Script::default(), path).unwrap_or_else(|failure| panic!("{}: {failure}", path.display()));
}

/// Checks that every text between backticks in the index is the name of a script.
fn index_names_every_script(index: &Path) {
    let text = std::fs::read_to_string(index).expect("the index");
    let named: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let files = index.parent().expect("its directory").read_dir().expect("the directory of the scripts");
    let names = files.map(|file| file.expect("a script").file_name().into_string().expect("a name in UTF-8"));
    let scripts: BTreeSet<String> = names.filter(|name| name != INDEX).collect();
    let unnamed: Vec<_> = scripts.iter().filter(|script| !named.contains(script.as_str())).collect();
    let missing: Vec<_> = named.iter().filter(|name| !scripts.contains(**name)).collect();
    assert!(unnamed.is_empty() && missing.is_empty(), "not in the index: {unnamed:?}; no such script: {missing:?}");
}
