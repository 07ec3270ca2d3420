//! Tables.

use super::safe::safe_line;
use super::screen::{Screen, Tone};
use std::fmt;
use tabled::builder::Builder;
use tabled::settings::object::{Columns, Rows};
use tabled::settings::{Alignment, Color, Padding, Style};

/// A table in plain columns, one record per line, so that both people and `awk` can read it.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    tones: Vec<Option<Tone>>,
    numbers: Vec<usize>,
    dispensable: Vec<usize>,
    /// Columns that are only for terminals.
    extra: Vec<usize>,
    /// True for the rest of a table whose beginning has been printed.
    continues: bool,
}

impl Table {
    /// Creates an empty table. A column whose name begins with `#` holds numbers, which are aligned to the right. One
    /// that begins with `?` is dropped if the screen is too narrow for all, the last such column first. One that begins
    /// with `+` is dropped in the same way, and is shown only on terminals.
    pub(crate) fn new(columns: &[&str]) -> Self {
        const MARKS: [char; 3] = ['#', '?', '+'];
        let marks = |name: &str| name.chars().take_while(|mark| MARKS.contains(mark)).collect::<String>();
        let marked = |any: &[char]| (0..columns.len()).filter(|&at| marks(columns[at]).contains(any)).collect();
        Self {
            header: columns.iter().map(|name| name.trim_start_matches(MARKS).to_owned()).collect(),
            numbers: marked(&['#']),
            dispensable: marked(&['?', '+']),
            extra: marked(&['+']),
            ..Self::default()
        }
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Leaves out the header, which was printed with the beginning of the table.
    pub(crate) fn continued(self) -> Self {
        Self { continues: true, ..self }
    }

    /// Adds a row; a cell without a value is `-`.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>, tone: Option<Tone>) {
        let cell = |text: String| if text.is_empty() { "-".to_owned() } else { safe_line(&text) };
        let cells: Vec<_> = cells.into_iter().map(cell).collect();
        assert_eq!(cells.len(), self.header.len(), "a row has one cell for each column");
        self.rows.push(cells);
        self.tones.push(tone);
    }

    /// Returns the lines, without the last newline. A table wider than the screen drops its dispensable columns, one
    /// after the other. If it is still too wide, each row becomes a block of lines, with all columns in it.
    pub(super) fn render(&self, screen: Screen) -> String {
        let fits = |table: &tabled::Table| screen.width.is_none_or(|width| table.total_width() <= width + GAP);
        let is_wanted = |column: &usize| screen.terminal || !self.extra.contains(column);
        let mut columns: Vec<usize> = (0..self.header.len()).filter(is_wanted).collect();
        let mut upright = self.upright(&columns, screen.colour);
        for dispensable in self.dispensable.iter().rev() {
            if !fits(&upright) {
                columns.retain(|column| column != dispensable);
                upright = self.upright(&columns, screen.colour);
            }
        }
        if fits(&upright) { trimmed(&upright) } else { self.blocks(screen.colour) }
    }

    /// Returns the table with only these columns.
    fn upright(&self, columns: &[usize], colour: bool) -> tabled::Table {
        let mut builder = Builder::new();
        let header = (!self.continues).then_some(&self.header);
        for row in header.into_iter().chain(&self.rows) {
            builder.push_record(columns.iter().map(|&column| &row[column]));
        }
        let mut table = plain(builder);
        for (place, column) in columns.iter().enumerate() {
            if self.numbers.contains(column) {
                table.modify(Columns::one(place), Alignment::right());
            }
        }
        if colour {
            if !self.continues {
                table.modify(Rows::first(), Color::BOLD);
            }
            for (tone, row) in self.tones.iter().zip(usize::from(!self.continues)..) {
                if let Some(tone) = tone {
                    table.modify(Rows::one(row), tone.colour());
                }
            }
        }
        table
    }

    fn blocks(&self, colour: bool) -> String {
        let block = |(row, tone): (&Vec<String>, &Option<Tone>)| {
            let mut builder = Builder::new();
            self.header.iter().zip(row).for_each(|(name, cell)| builder.push_record([name, cell]));
            let mut table = plain(builder);
            if colour {
                table.modify(Columns::first(), Color::BOLD);
                if let Some(tone) = tone {
                    table.modify(Columns::one(1), tone.colour());
                }
            }
            trimmed(&table)
        };
        self.rows.iter().zip(&self.tones).map(block).collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Table {
    /// Formats the table as for a pipe: without colours and in full width.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Screen::default()))
    }
}

/// Blanks after each column. Those of the last column are not printed.
const GAP: usize = 2;

fn plain(builder: Builder) -> tabled::Table {
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, GAP, 0, 0));
    table
}

/// Returns the table without the blanks that fill its last column.
fn trimmed(table: &tabled::Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "#KEYS"]);
        table.push(["node1".into(), "leader".into(), "12345".into()], Some(Tone::Good));
        table.push(["node2".into(), String::new(), "7".into()], None);
        table
    }

    #[test]
    fn a_table_has_plain_columns_with_numbers_to_the_right() {
        let lines = "\
NAME   STATE    KEYS
node1  leader  12345
node2  -           7";
        assert_eq!(table().render(Screen::default()), lines);
    }

    #[test]
    fn a_table_wider_than_the_screen_does_with_less_and_then_with_blocks() {
        let mut wide = Table::new(&["A", "?B", "C", "?D", "E"]);
        wide.push(["aaaa", "bbbb", "cccc", "dddd", "eeee"].map(String::from), None);
        wide.push(["1", "2", "3", "4", "5"].map(String::from), None);
        let screen = |width| Screen { width: Some(width), terminal: true, ..Screen::default() };
        let all = "A     B     C     D     E\naaaa  bbbb  cccc  dddd  eeee\n1     2     3     4     5";
        let less = "A     C     E\naaaa  cccc  eeee\n1     3     5";
        let blocks = "A  aaaa\nB  bbbb\nC  cccc\nD  dddd\nE  eeee\n\nA  1\nB  2\nC  3\nD  4\nE  5";
        let without_d = "A     B     C     E\naaaa  bbbb  cccc  eeee\n1     2     3     5";
        for (width, lines) in
            [(28, all), (27, without_d), (22, without_d), (21, less), (16, less), (15, blocks), (2, blocks)]
        {
            assert_eq!(wide.render(screen(width)), lines, "{width} columns");
        }
        let mut extra = Table::new(&["A", "+#B", "?C"]);
        extra.push(["1", "2", "3"].map(String::from), None);
        assert_eq!(extra.to_string(), "A  C\n1  3", "what is extra is for terminals");
        assert_eq!(extra.render(screen(80)), "A  B  C\n1  2  3");
        assert_eq!(extra.render(screen(4)), "A  B\n1  2", "the last of them goes first");
    }

    #[test]
    fn the_rest_of_a_table_has_no_header() {
        assert_eq!(table().continued().render(Screen::default()), "node1  leader  12345\nnode2  -           7");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let plain = table().render(Screen::default());
        let coloured = table().render(Screen { colour: true, ..Screen::default() });
        assert!(coloured.contains("\u{1b}[32m"), "{coloured:?}");
        let mut stripped = coloured;
        while let Some(start) = stripped.find('\u{1b}') {
            let end = stripped[start..].find('m').expect("a colour ends with m");
            stripped.replace_range(start..=start + end, "");
        }
        let stripped = stripped.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(stripped, plain);
    }

    #[test]
    fn what_is_in_a_cell_is_not_obeyed() {
        let mut cells = Table::new(&["NAME"]);
        cells.push(["a\u{1b}]0;title\u{7}b".to_owned()], None);
        assert!(!cells.render(Screen::default()).contains('\u{1b}'));
    }
}
