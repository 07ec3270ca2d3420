//! What `docs/architecture.md` says, for the code to be held to.

use std::collections::{BTreeMap, BTreeSet};

/// The page that people read.
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    /// Crates, with those of the workspace that each is built of.
    pub(crate) fn crates(&self) -> BTreeMap<String, BTreeSet<String>> {
        let rows = self.rows("## Crates");
        rows.map(|cells| (quoted(cells[0]).concat(), quoted(cells[2]).into_iter().collect())).collect()
    }

    /// Modules of the daemon, with those that each imports.
    pub(crate) fn modules(&self) -> BTreeMap<String, BTreeSet<String>> {
        let rows = self.rows("## Modules of the daemon");
        rows.map(|cells| (quoted(cells[0]).concat(), quoted(cells[2]).into_iter().collect())).collect()
    }

    /// Arrows of the graph, from a module to one that it imports.
    pub(crate) fn arrows(&self) -> BTreeSet<(String, String)> {
        let graph = self.text.split_once("```mermaid").map_or("", |(_, graph)| graph);
        let lines = graph.lines().take_while(|line| *line != "```");
        let arrows = lines.filter_map(|line| line.trim().split_once(" --> "));
        arrows.map(|(from, to)| (from.to_owned(), to.to_owned())).collect()
    }

    /// Folders that have a line, by their paths from the root of the workspace.
    pub(crate) fn folders(&self) -> BTreeSet<String> {
        self.rows("## Folders").map(|cells| quoted(cells[0]).concat()).collect()
    }

    /// The rows of the table below a heading, without its head.
    fn rows(&self, heading: &str) -> impl Iterator<Item = Vec<&str>> {
        let section = self.text.split_once(heading).map_or("", |(_, section)| section);
        let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        lines.skip(2).map(|line| line.trim_matches('|').split('|').collect())
    }
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn tables_and_arrows_are_read() {
    let text = "## Modules of the daemon\n\nwords\n\n| a | b | c |\n| --- | --- | --- |\n| `x` | it has `y` | `y`, `z` |\n| `z` | | none |\n\n\
        ```mermaid\n    x --> y\n```\nno --> arrow\n## Folders\n| a | b |\n|---|---|\n| `kvd/src/x/` | w |\n";
    let page = Page::new(text.to_owned());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(page.modules(), BTreeMap::from([("x".to_owned(), names(&["y", "z"])), ("z".to_owned(), names(&[]))]));
    assert_eq!(page.arrows(), BTreeSet::from([("x".to_owned(), "y".to_owned())]));
    assert_eq!(page.folders(), names(&["kvd/src/x/"]));
}
