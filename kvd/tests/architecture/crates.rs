//! Dependencies between the crates of the workspace, from their manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Returns each crate of the workspace with the workspace crates that it depends on, on any system. Dependencies of its
/// tests are not included.
pub(crate) fn built_of(workspace: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let manifest = |folder: &str| fs::read_to_string(workspace.join(folder).join("Cargo.toml")).expect("a manifest");
    let root = manifest("");
    let manifests: Vec<_> = members(&root).into_iter().map(manifest).collect();
    let names: BTreeSet<_> = manifests.iter().map(|manifest| name(manifest)).collect();
    let of_workspace = |manifest: &String| {
        let built_of = dependencies(manifest).into_iter().filter(|built_of| names.contains(built_of));
        (name(manifest).to_owned(), built_of.map(str::to_owned).collect())
    };
    manifests.iter().map(of_workspace).collect()
}

/// Returns the folders of a workspace's crates.
fn members(manifest: &str) -> Vec<&str> {
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list of members");
    list.split('"').skip(1).step_by(2).collect()
}

/// Returns the name of a crate, which comes first in its manifest.
fn name(manifest: &str) -> &str {
    manifest.split('"').nth(1).expect("a name")
}

fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let sections = manifest.split("\n[").filter_map(|section| section.split_once("]\n"));
    let built_of = sections.filter(|(title, _)| *title == "dependencies" || title.ends_with("'.dependencies"));
    built_of.flat_map(|(_, lines)| lines.lines()).filter_map(|line| line.split(['.', ' ']).next()).collect()
}

#[test]
fn dependencies_of_tests_are_left_out() {
    let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nb.workspace = true\nc = { workspace = true }\n\n\
        [target.'cfg(unix)'.dependencies]\nd = \"1\"\n\n[dev-dependencies]\ne.workspace = true\n";
    assert_eq!(name(manifest), "a");
    assert_eq!(dependencies(manifest), BTreeSet::from(["b", "c", "d"]));
}
