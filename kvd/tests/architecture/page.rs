//! Contents of `docs/architecture.md`, to compare with the code.

use std::collections::{BTreeMap, BTreeSet};

/// The text of the document.
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    /// Returns the crates, with the workspace crates that each depends on.
    pub(crate) fn crates(&self) -> BTreeMap<String, BTreeSet<String>> {
        let rows = self.rows("## Crates");
        rows.map(|cells| (quoted(cells[0]).concat(), quoted(cells[2]).into_iter().collect())).collect()
    }

    /// Returns the modules of the daemon, with the modules that each imports.
    pub(crate) fn modules(&self) -> BTreeMap<String, BTreeSet<String>> {
        let rows = self.rows("## Modules of the daemon");
        rows.map(|cells| (quoted(cells[0]).concat(), quoted(cells[2]).into_iter().collect())).collect()
    }

    /// Returns the arrows of the graph, each from a module to one that it imports.
    pub(crate) fn arrows(&self) -> BTreeSet<(String, String)> {
        let graph = self.text.split_once("```mermaid").map_or("", |(_, graph)| graph);
        let lines = graph.lines().take_while(|line| *line != "```");
        let arrows = lines.filter_map(|line| line.trim().split_once(" --> "));
        arrows.map(|(from, to)| (from.to_owned(), to.to_owned())).collect()
    }

    /// Returns the folders that have a line, by their paths from the root of the workspace.
    pub(crate) fn folders(&self) -> BTreeSet<String> {
        self.rows("## Folders").map(|cells| quoted(cells[0]).concat()).collect()
    }

    /// Returns the rows of the table below a heading, without its header.
    fn rows(&self, heading: &str) -> impl Iterator<Item = Vec<&str>> {
        let section = self.text.split_once(heading).map_or("", |(_, section)| section);
        let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        lines.skip(2).map(|line| line.trim_matches('|').split('|').collect())
    }
}

/// Returns the texts between backticks.
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
