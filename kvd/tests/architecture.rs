//! The floors of the daemon: which module may import which, and what the pure ones must not touch.
//!
//! Imports point one way: `server → {node, storage, peer, http}`, `node → {raft, kv}`; `raft` and `kv`
//! know nothing of each other or of anyone else. `raft`, `kv` and `node` are pure: no clock, no I/O, no
//! threads, no chance but from a seeded generator, and no collection whose order differs between runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with those of this crate that it may import.
const FLOORS: &[(&str, &[&str])] = &[
    ("mutants", &[]),
    ("raft", &["mutants"]),
    ("kv", &["mutants"]),
    ("logging", &[]),
    ("naming", &[]),
    ("node", &["raft", "kv", "mutants"]),
    ("storage", &["raft", "mutants"]),
    ("peer", &["raft", "naming"]),
    ("http", &["kv", "node", "naming"]),
    ("config", &["raft", "naming"]),
    ("data", &["raft", "kv", "node", "storage", "peer"]),
    ("server", &["raft", "kv", "node", "storage", "peer", "data", "http", "config", "logging"]),
    ("dev", &["config", "server"]),
    ("cli", &["config", "logging"]),
    ("offline", &["cli", "config", "data", "raft", "storage"]),
    ("run", &["cli", "config", "dev", "logging", "offline", "server", "storage"]),
    ("main", &[]),
    ("lib", &["cli", "run"]),
];

const PURE: &[&str] = &["raft", "kv", "node"];

/// What a pure module has no business with.
const IMPURE: &[&str] = &[
    "std::time",
    "std::fs",
    "std::net",
    "std::io",
    "std::thread",
    "std::env",
    "std::process",
    "tokio",
    "async fn",
    "SystemTime",
    "rand::rng(",
    "rand::random",
    "HashMap",
    "HashSet",
    "println!",
    "tracing::",
];

/// A source file of the library.
struct Source {
    /// The module at the top that it belongs to.
    module: String,
    file: PathBuf,
    /// Without comments, and without the tests at its end.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find_files(&root, &mut files);
    let read = |path: PathBuf| {
        let file = path.strip_prefix(&root).expect("a file below src").to_owned();
        let module = file.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).expect("a readable source");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        Source { module, file, code: code.join("\n") }
    };
    let is_test = |file: &PathBuf| file.with_extension("").components().any(|part| part.as_os_str() == "tests");
    files.into_iter().filter(|file| !is_test(file)).map(read).collect()
}

fn find_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The names that follow `crate::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let name = |path: &str| path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let paths = code.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => group.split('}').next().unwrap_or_default().split(',').map(name).collect::<Vec<String>>(),
        None => vec![name(rest)],
    });
    paths.collect()
}

#[test]
fn imports_point_down() {
    for Source { module, file, code } in sources() {
        let file = file.display();
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == module) else {
            panic!("{file} is on no floor: give module `{module}` one in this test");
        };
        for import in imports(&code) {
            let is_module = FLOORS.iter().any(|(floor, _)| *floor == import);
            let is_below = import == module || allowed.contains(&import.as_str());
            assert!(!is_module || is_below, "{file} imports `{import}`, which is not below `{module}`");
        }
    }
}

#[test]
fn the_pure_core_stays_pure() {
    let mut pure_files = 0;
    for Source { file, code, .. } in sources().into_iter().filter(|source| PURE.contains(&source.module.as_str())) {
        pure_files += 1;
        for word in IMPURE {
            assert!(!code.contains(word), "{} mentions `{word}`, but it is pure", file.display());
        }
    }
    assert!(pure_files > 20, "only {pure_files} pure files were found");
}

#[test]
fn the_time_that_the_core_is_handed_is_no_wall_clock() {
    // Timers that go by the wall clock fire at once when somebody sets it.
    for Source { module, file, code } in sources() {
        if ["server", "peer"].contains(&module.as_str()) {
            assert!(!code.contains("SystemTime"), "{} reads the wall clock", file.display());
        }
    }
}

#[test]
fn an_import_that_points_up_would_be_seen() {
    assert_eq!(imports("use crate::raft::{Log, Term};\nuse crate::{kv, server::Server};").len(), 3);
}
