//! The architecture of the workspace, as described in `docs/architecture.md`: which crate depends on which, which
//! module of the daemon imports which, that no files import each other in a circle, and what the pure modules must not
//! touch.
//!
//! Imports are read from the sources: see `modules` for what counts as an import, and `graph` for its target. The
//! document must match the sources and the sources must match the document, so that it cannot become outdated.

mod crates;
mod graph;
mod modules;
mod page;
mod tokens;

use graph::{Crate, Imports, circles, without_detours};
use page::Page;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PURE: &[&str] = &["raft", "kv", "node", "bootstrap"];

/// Names that a pure module must not use.
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

/// The folder of each crate's sources, and its root in that folder.
const CRATES: &[(&str, &str)] = &[
    ("kvd/src", "lib.rs"),
    ("kvclient/src", "lib.rs"),
    ("kvctl/src", "main.rs"),
    ("cli/src", "lib.rs"),
    ("disk/src", "lib.rs"),
    ("testkit/src", "lib.rs"),
];

fn sources(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of)
}

fn daemon() -> Crate {
    Crate::read(&sources("kvd/src"), "lib.rs")
}

/// Returns the top-level module that a file belongs to.
fn module_of(file: &Path) -> String {
    let name = file.components().next().expect("a name").as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// Returns the code of a file of the daemon, without comments and without the tests at its end.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(sources("kvd/src").join(file)).expect("a readable source");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n")
}

fn page() -> Page {
    let path = sources("docs/architecture.md");
    Page::new(fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display())))
}

/// Returns the top-level modules of the daemon with the modules that each imports. The root only re-exports them.
fn module_imports() -> Imports {
    let mut imports = graph::at_depth(&daemon().imports(), 1);
    let root = imports.remove(Path::new("lib")).expect("there is a root");
    assert!(root.is_empty(), "the root imports {root:?}");
    imports
}

#[test]
fn crates_are_built_of_those_that_the_page_names() {
    // This test, not a reader of manifests, has to make sure that no test code gets into a program.
    assert_eq!(crates::built_of(&sources("")), page().crates(), "what crates are built of, and docs/architecture.md");
}

#[test]
fn modules_import_those_that_the_page_names() {
    let named = page().modules();
    let imports = module_imports();
    let name = |path: &PathBuf| path.display().to_string();
    let modules: BTreeSet<_> = imports.keys().map(name).collect();
    assert_eq!(modules, named.keys().cloned().collect(), "modules, and those with a row in docs/architecture.md");
    for (module, imported) in &imports {
        let imported: BTreeSet<_> = imported.iter().map(name).collect();
        assert_eq!(imported, named[&name(module)], "imports of `{}`, and those in its row", module.display());
    }
}

#[test]
fn the_graph_on_the_page_is_that_of_the_code() {
    let imports = module_imports();
    let arrows = without_detours(&imports).into_iter();
    let arrows: BTreeSet<_> = arrows.map(|(from, to)| (from.display().to_string(), to.display().to_string())).collect();
    assert_eq!(page().arrows(), arrows, "arrows in docs/architecture.md, and those of the code");
}

#[test]
fn every_folder_has_a_line_on_the_page() {
    let mut folders = BTreeSet::new();
    for (folder, root) in CRATES {
        let of_crate = Crate::read(&sources(folder), root);
        let parents = of_crate.files().into_iter().filter_map(Path::parent);
        folders
            .extend(parents.map(|parent| format!("{}/", Path::new(folder).join(parent).display()).replace("//", "/")));
    }
    assert_eq!(page().folders(), folders, "folders in docs/architecture.md, and those with code");
}

#[test]
fn no_files_and_no_folders_import_each_other_in_a_circle() {
    for (folder, root) in CRATES {
        let imports = Crate::read(&sources(folder), root).imports();
        assert!(imports.len() > 1, "only {} files were found in {folder}", imports.len());
        let depths = imports.keys().map(|file| file.components().count()).max().unwrap_or_default();
        for depth in 1..=depths {
            let circles = circles(&graph::at_depth(&imports, depth));
            let ties: Vec<_> = circles.iter().map(|circle| ties(&imports, circle, depth)).collect();
            assert!(ties.is_empty(), "circles in {folder}:\n{}", ties.join("\n\n"));
        }
    }
}

/// Returns the imports that form a circle, one per line.
fn ties(imports: &Imports, circle: &BTreeSet<PathBuf>, depth: usize) -> String {
    let is_in_it = |file: &Path| circle.contains(&graph::cut(file, depth));
    let mut lines = Vec::new();
    for (file, imported) in imports.iter().filter(|(file, _)| is_in_it(file)) {
        let within =
            imported.iter().filter(|import| is_in_it(import) && graph::cut(import, depth) != graph::cut(file, depth));
        lines.extend(within.map(|import| format!("{} imports {}", file.display(), import.display())));
    }
    lines.join("\n")
}

#[test]
fn hubs_declare_and_hand_on_and_define_nothing() {
    // A type that is defined in a hub makes every file below it import upwards.
    let daemon = daemon();
    let hubs: Vec<_> = daemon.files().into_iter().filter(|file| file.ends_with("mod.rs")).collect();
    assert!(hubs.len() > 10, "only {} hubs were found", hubs.len());
    for hub in hubs {
        let defined = daemon.definitions(hub);
        assert!(defined.is_empty(), "{} defines {defined:?}: give it a file beside it", hub.display());
    }
}

#[test]
fn the_pure_core_stays_pure() {
    let daemon = daemon();
    let pure = daemon.files().into_iter().filter(|file| PURE.contains(&module_of(file).as_str()));
    let pure: Vec<&Path> = pure.collect();
    assert!(pure.len() > 20, "only {} pure files were found", pure.len());
    for file in pure {
        for word in IMPURE {
            assert!(!code_of(file).contains(word), "{} mentions `{word}`, but it is pure", file.display());
        }
    }
}

#[test]
fn the_time_that_the_core_is_handed_is_no_wall_clock() {
    // Timers based on the wall clock fire at once when an operator sets the clock.
    for file in daemon().files() {
        if ["server", "peer"].contains(&module_of(file).as_str()) {
            assert!(!code_of(file).contains("SystemTime"), "{} reads the wall clock", file.display());
        }
    }
}
