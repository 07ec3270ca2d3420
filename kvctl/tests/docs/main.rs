//! Runs every command of the documentation as printed, and compares its output with the page. Also checks that links
//! and names of targets exist.
//!
//!     cargo test -p kvctl --test docs -- README
//!
//! `page` describes the marks of blocks, `patterns` the permitted differences between the page and a run. A block that
//! is neither run nor marked fails. Each page has a session of its own: a directory, free ports in place of those on
//! the page, and the real programs in `PATH`.
//!
//! kvctl is the binary of this package. kvd is this test program under another name, since cargo builds the binaries of
//! a package only for that package's own tests; so the test has a `main` of its own.

mod names;
mod page;
mod patterns;
mod session;

use page::{Block, Fate, Kind};
use session::Session;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

/// Folders whose pages are all tested, and single pages.
const PAGES: &[&str] = &["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md", "docs"];

/// Flags of the usual test programs that are followed by a value.
const FLAGS_WITH_VALUES: &[&str] = &["--test-threads", "--format", "--color", "--logfile", "--skip", "-Z"];

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|program| Path::new(&program).file_name() == Some(OsStr::new("kvd"))) {
        return kvd::run(std::env::args_os());
    }
    let arguments: Vec<String> = words.filter_map(|word| word.into_string().ok()).collect();
    let pages = chosen(&arguments);
    if arguments.iter().any(|word| word == "--list") {
        pages.iter().for_each(|page| println!("{}: test", page.display()));
        return ExitCode::SUCCESS;
    }
    if !pages.is_empty() && Command::new("curl").arg("--version").output().is_err() {
        testkit::skip("curl is missing");
        return ExitCode::SUCCESS;
    }
    check_itself();
    println!("\nrunning {} tests", pages.len());
    let running: Vec<_> = pages.into_iter().map(|page| (page.clone(), thread::spawn(move || test(&page)))).collect();
    let mut failures = 0;
    for (page, test) in running {
        let result = test.join().unwrap_or_else(|_| Err(vec!["it panicked, see above".to_owned()]));
        match result {
            Ok(seconds) => println!("test {} ... ok ({seconds:.1} s)", page.display()),
            Err(wrong) => {
                failures += 1;
                println!("test {} ... FAILED", page.display());
                wrong.iter().for_each(|wrong| println!("{}: {wrong}\n", page.display()));
            }
        }
    }
    println!("\ntest result: {}\n", if failures == 0 { "ok" } else { "FAILED" });
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A test that cannot fail is worthless: these blocks must fail.
fn check_itself() {
    for (page, complaint) in [
        ("```\nkvctl get x\n```", "a block in the language \"\""),
        ("```sh\nkvctl get x\n", "has no end"),
        ("words\n\n    kvctl get x\n", "without a fence"),
        ("<!-- not run: too lazy -->\n```sh\nfalse\n```", "an unknown mark"),
        ("<!-- not run: takes long -->\nwords\n```sh\nfalse\n```", "directly above"),
    ] {
        let error = page::blocks(page).expect_err(page).to_string();
        assert!(error.contains(complaint), "{page}: {error}");
    }
    for (page, complaint) in [
        ("```sh\nfalse\ntrue\n```", "ended with Some(1)"),
        ("```console\n$ echo blue\nred\n```", "the page shows\nred\n--- and printed was\nblue"),
        ("```console\n$ echo blue\n```", "the page shows\n\n--- and printed was\nblue"),
        ("```console\n$ false\n```", "ended with 1"),
        ("```console\n$ echo a 0123456789abcdef b\na fedcba9876543210 ... c\n```", "a <id> b"),
        ("<!-- not run: takes long -->\n```sh\ncargo bench -p kvd --bench gone\n```", "--bench gone"),
        ("<!-- not run: takes long -->\n```sh\ndeploy/gone\n```", "deploy/gone"),
    ] {
        let blocks = page::blocks(page).expect(page);
        let mut wrong: Vec<String> = blocks.iter().flat_map(at_rest).collect();
        let mut session = Session::new();
        wrong.extend(blocks.iter().filter_map(|block| session.run(block).err()));
        assert!(wrong.iter().any(|wrong| wrong.contains(complaint)), "{page}: {wrong:?}");
    }
    assert_eq!(dead_links(Path::new("README.md"), "[a](gone.md) [b](README.md#gone) [c](README.md#a-tour)").len(), 2);
}

/// Returns the pages that the arguments select: all without a filter.
fn chosen(arguments: &[String]) -> Vec<PathBuf> {
    let mut filters = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match &**word {
            // No page is marked as ignored.
            "--ignored" => return Vec::new(),
            flag if FLAGS_WITH_VALUES.contains(&flag) => drop(words.next()),
            flag if flag.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    let mut pages = Vec::new();
    for page in PAGES {
        let path = root().join(page);
        if path.is_dir() {
            let entries = fs::read_dir(path).expect("a folder of pages").map(|entry| entry.expect("an entry").path());
            let mut found: Vec<PathBuf> = entries.filter(|path| path.extension() == Some(OsStr::new("md"))).collect();
            found.sort();
            pages.extend(found);
        } else {
            pages.push(path);
        }
    }
    let name = |path: &PathBuf| path.strip_prefix(root()).expect("a page of this repository").to_owned();
    let pages = pages.iter().map(name);
    pages
        .filter(|page| filters.is_empty() || filters.iter().any(|filter| page.display().to_string().contains(filter)))
        .collect()
}

/// Tests a page. Returns how many seconds it took, or the failures.
fn test(page: &Path) -> Result<f64, Vec<String>> {
    let began = Instant::now();
    let text = fs::read_to_string(root().join(page)).map_err(|error| vec![error.to_string()])?;
    let blocks = page::blocks(&text).map_err(|error| vec![error.to_string()])?;
    let mut wrong = dead_links(page, &text);
    wrong.extend(page::spans(&text).flat_map(|span| names::missing(root(), span)));
    wrong.extend(blocks.iter().flat_map(at_rest));
    if blocks.iter().any(|block| block.kind != Kind::Other) {
        let mut session = Session::new();
        // Later blocks may depend on one that failed.
        let failed =
            blocks.iter().find_map(|block| session.run(block).err().map(|why| format!("line {}: {why}", block.line)));
        wrong.extend(failed);
        wrong.extend(session.end().err());
    }
    if wrong.is_empty() { Ok(began.elapsed().as_secs_f64()) } else { Err(wrong) }
}

/// Returns the faults of a block that can be found without running it.
fn at_rest(block: &Block) -> Vec<String> {
    let mut wrong = match block.kind {
        Kind::Sh => names::missing(root(), &block.text),
        Kind::Console => {
            let commands = page::commands(&block.text);
            commands.iter().flat_map(|(command, _)| names::missing(root(), command)).collect()
        }
        Kind::Other => Vec::new(),
    };
    if let Fate::File(path) = &block.fate
        && fs::read_to_string(root().join(path)).is_ok_and(|file| !file.ends_with(&block.text))
    {
        wrong.push(format!("it does not end as {path} does"));
    }
    wrong.iter().map(|wrong| format!("line {}: {wrong}", block.line)).collect()
}

/// Returns the links of a page to files or headings that do not exist.
fn dead_links(page: &Path, text: &str) -> Vec<String> {
    let is_dead = |target: &&str| {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = root().join(page).with_file_name("").join(file);
        let path = if file.is_empty() { root().join(page) } else { path };
        let has_anchor = || {
            let page = fs::read_to_string(&path).unwrap_or_default();
            page::anchors(&page).iter().any(|known| known == anchor)
        };
        !path.exists() || !(anchor.is_empty() || has_anchor())
    };
    page::links(text)
        .into_iter()
        .filter(is_dead)
        .map(|target| format!("a link to {target}, which is not there"))
        .collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
