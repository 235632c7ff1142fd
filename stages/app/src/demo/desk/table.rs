//! A table: for people as aligned text, for programs as a list of objects.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Rows under named columns.
#[derive(Debug)]
pub struct Table {
    /// What it is about, a key in JSON.
    pub name: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// No rows yet.
    #[must_use]
    pub fn new(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns, rows: Vec::new() }
    }

    /// One row more, a cell a column.
    pub fn row(&mut self, cells: Vec<Value>) {
        self.rows.push(cells);
    }

    /// Aligned, under a line of headings; figures to the right.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines: Vec<Vec<String>> = vec![self.columns.iter().map(|c| (*c).to_owned()).collect()];
        lines.extend(self.rows.iter().map(|row| row.iter().map(shown).collect()));
        let column = |n: usize| lines.iter().filter_map(move |line| line.get(n));
        let shapes: Vec<(usize, bool)> = (0..self.columns.len())
            .map(|n| {
                let width = column(n).map(|cell| cell.chars().count()).max().unwrap_or(0);
                (width, n > 0 && column(n).skip(1).all(|cell| is_figure(cell)))
            })
            .collect();
        let mut out = format!("\n{}\n", self.name.replace('_', " "));
        for line in &lines {
            let cells = line.iter().zip(&shapes).map(|(cell, (width, right))| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let _ = writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        if self.rows.is_empty() {
            out.push_str("  none\n");
        }
        out
    }

    /// A list of objects, keyed by the headings.
    #[must_use]
    pub fn json(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let pairs = self.columns.iter().zip(row).map(|(name, cell)| ((*name).replace(' ', "_"), cell.clone()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

fn shown(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => cell.to_string(),
    }
}

fn is_figure(cell: &str) -> bool {
    cell == "-" || (cell.starts_with(|c: char| c.is_ascii_digit() || c == '-') && !cell.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_stand_to_the_right_words_to_the_left() {
        let mut table = Table::new("two_words", &["name", "how many", "at"]);
        table.row(vec!["a".into(), 5.into(), "14:00:01".into()]);
        table.row(vec!["longer".into(), Value::Null, "x".into()]);
        let expected = "\ntwo words\n  name    how many  at\n  a              5  14:00:01\n  longer         -  x\n";
        assert_eq!(table.text(), expected);
        let first = json!({ "name": "a", "how_many": 5, "at": "14:00:01" });
        assert_eq!(table.json(), json!([first, { "name": "longer", "how_many": null, "at": "x" }]));
        assert!(Table::new("empty", &["a"]).text().ends_with("none\n"));
    }
}
