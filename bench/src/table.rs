//! Prints results as a Markdown table, so that what a terminal shows can go into the documentation as it stands.

/// A table that grows by rows.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        Table { rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    #[allow(clippy::print_stdout, reason = "the table is what the program is for")]
    pub(crate) fn print(&self, title: &str) {
        println!("\n{title}\n");
        for line in self.lines() {
            println!("{line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let line = |row: &[String]| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("| {} |", cells.join(" | "))
        };
        let mut lines: Vec<String> = self.rows.iter().map(|row| line(row)).collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        lines.insert(1.min(lines.len()), format!("| {} |", rule.join(" | ")));
        lines
    }
}

/// Says on standard error how far the measuring has come.
#[allow(clippy::print_stderr, reason = "a measurement takes minutes and should not look dead")]
pub(crate) fn progress(what: &str) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    use crate::table::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["a", "long"]);
        table.row(["xyz".to_owned(), "1".to_owned()]);
        assert_eq!(table.lines(), ["| a   | long |", "| --- | ---- |", "| xyz | 1    |"]);
    }
}
