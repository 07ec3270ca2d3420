//! Parses a page: its blocks of code, and the marks that say how each is tested.
//!
//! A mark is an HTML comment on a line of its own above a block, so that readers do not see it:
//!
//! | mark | meaning |
//! |---|---|
//! | none | `sh`: runs to its end, and every command succeeds. `console`: the commands after `$ ` print what follows them |
//! | `in the background` | keeps running until another block says this, or the page ends; waits until its nodes are ready |
//! | `in another terminal` | the same beside what runs; a `console` block must have printed what it shows by the end |
//! | `on each of three machines` | in the background, three times: as node1 on 10.0.0.1, and so on |
//! | `not run: REASON` | needs root, takes long, or is the command that runs all tests |
//! | `run by deploy/test-compose` | needs Docker |
//! | `test-command` | what `.ci/run` runs as the tests |
//! | `file: PATH` | a block of another language is this file |

use std::fmt;

/// Languages that are not run.
const OTHER_LANGUAGES: &[&str] = &["ini", "json", "mermaid", "rust", "text", "toml", "yaml"];

/// Permitted reasons for not running a block.
const REASONS: &[&str] = &["needs root", "takes long"];

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Line of the page on which its text begins, counted from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) fate: Fate,
    pub(crate) text: String,
}

/// Form of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commands alone.
    Sh,
    /// Commands after `$ `, and their output.
    Console,
    /// No commands.
    Other,
}

/// Treatment of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Run,
    Background,
    OtherTerminal,
    ThreeMachines,
    NotRun,
    ByCompose,
    /// Must be identical to this file.
    File(String),
}

/// Reason why a page cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPage {
    line: usize,
    why: String,
}

impl fmt::Display for BadPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// Returns the blocks of a page, in order.
///
/// # Errors
/// [`BadPage`] if a block has no language, an unknown one or an unknown mark, is not closed, or is indented without a
/// fence, so that nothing would run it.
pub(crate) fn blocks(page: &str) -> Result<Vec<Block>, BadPage> {
    let mut blocks = Vec::new();
    let mut fate = Fate::Run;
    let mut before = "";
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let bad = |why: &str| BadPage { line: number + 1, why: why.to_owned() };
        let trimmed = line.trim();
        if let Some(language) = trimmed.strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let kind = match language {
                "sh" => Kind::Sh,
                "console" => Kind::Console,
                language if OTHER_LANGUAGES.contains(&language) => Kind::Other,
                language => return Err(bad(&format!("a block in the language {language:?}"))),
            };
            let mut text = String::new();
            loop {
                let Some((_, line)) = lines.next() else { return Err(bad("this block has no end")) };
                if line.trim() == "```" {
                    break;
                }
                text.push_str(line.get(indent..).unwrap_or_default());
                text.push('\n');
            }
            if kind == Kind::Other && !matches!(fate, Fate::Run | Fate::File(_)) {
                return Err(bad("a mark that is for commands"));
            }
            blocks.push(Block { line: number + 2, kind, fate: std::mem::replace(&mut fate, Fate::Run), text });
        } else if let Some(mark) = trimmed.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            fate = fate_of(mark.trim()).ok_or_else(|| bad(&format!("an unknown mark: {mark}")))?;
        } else if !trimmed.is_empty() {
            if fate != Fate::Run {
                return Err(bad("a mark stands directly above its block"));
            }
            if line.starts_with("    ") && before.is_empty() {
                return Err(bad("a block without a fence, which nothing would run"));
            }
        }
        before = trimmed;
    }
    Ok(blocks)
}

fn fate_of(mark: &str) -> Option<Fate> {
    Some(match mark {
        "in the background" => Fate::Background,
        "in another terminal" => Fate::OtherTerminal,
        "on each of three machines" => Fate::ThreeMachines,
        "run by deploy/test-compose" => Fate::ByCompose,
        "test-command" => Fate::NotRun,
        mark => match mark.split_once(": ")? {
            ("not run", reason) if REASONS.contains(&reason) => Fate::NotRun,
            ("file", path) => Fate::File(path.to_owned()),
            _ => return None,
        },
    })
}

/// Returns the commands of a console block, each with its output.
pub(crate) fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((command, _))) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some((_, output))) => output.push(line.to_owned()),
            (None, None) => panic!("a console block begins with a command: {text}"),
        }
        goes_on = line.ends_with('\\') && (goes_on || line.starts_with("$ "));
    }
    commands
}

/// Returns the cargo command lines in a page's sentences and tables.
pub(crate) fn spans(page: &str) -> impl Iterator<Item = &str> {
    page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|span| span.starts_with("cargo "))
}

/// Returns the targets of links and images that point to files of the repository.
pub(crate) fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://")).collect()
}

/// Returns the anchors of a page's headings.
pub(crate) fn anchors(page: &str) -> Vec<String> {
    let headings =
        page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}
