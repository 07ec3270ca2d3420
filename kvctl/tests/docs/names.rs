//! Checks that named things exist: packages, tests, benches and examples of `cargo` lines, and programs of this
//! repository. So even a block that takes too long to run cannot name something that has been removed.

use std::fs;
use std::path::Path;

/// Returns the names in a block of commands that do not exist in this repository.
pub(crate) fn missing(root: &Path, text: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = &words[words.iter().take_while(|word| is_variable(word)).count()..];
        match words.first() {
            Some(&"cargo") => missing.extend(missing_targets(root, words).map(|what| format!("{what}, in `{line}`"))),
            Some(program)
                if program.contains('/') && !program.starts_with(['"', '$', '/']) && !root.join(program).exists() =>
            {
                missing.push(format!("{program}, in `{line}`"));
            }
            _ => {}
        }
    }
    missing
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
}

fn missing_targets<'a>(root: &'a Path, words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let words = &words[..words.iter().position(|word| *word == "--").unwrap_or(words.len())];
    let flags = words.windows(2).filter_map(|pair| if let [flag, value] = pair { Some((*flag, *value)) } else { None });
    flags.filter_map(move |(flag, value)| {
        let target = |kind: &str| {
            packages(root).iter().any(|package| {
                let at = root.join(package).join(kind);
                at.join(format!("{value}.rs")).exists() || at.join(value).join("main.rs").exists()
            })
        };
        let is_there = match flag {
            "-p" | "--package" => packages(root).iter().any(|package| {
                let manifest = fs::read_to_string(root.join(package).join("Cargo.toml")).expect("a manifest");
                manifest.contains(&format!("name = \"{value}\""))
            }),
            "--test" => target("tests"),
            "--bench" => target("benches"),
            "--example" => target("examples"),
            "--path" | "--manifest-path" => root.join(value).exists(),
            _ => true,
        };
        (!is_there).then(|| format!("{flag} {value}"))
    })
}

/// Returns the folders of the workspace's packages.
fn packages(root: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's manifest");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).expect("members of the workspace");
    members.trim_end_matches(']').split(", ").map(|member| member.trim_matches('"').to_owned()).collect()
}
