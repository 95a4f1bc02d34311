//! What is told: tables for people, on the screen and in docs/BENCHMARKS.md.

use std::fmt::Write;

use super::figures::Figures;
use super::plot::Plot;

/// What a scenario has found.
#[derive(Default)]
pub struct Section {
    pub title: String,
    /// Markdown.
    pub text: String,
    pub plots: Vec<Plot>,
    pub aims: Vec<Aim>,
}

/// What we wanted, and what it is.
pub struct Aim {
    pub what: String,
    pub wanted: Wanted,
    pub is: f64,
}

#[derive(Clone, Copy)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    pub fn is_met(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.is >= least,
            Wanted::AtMost(most) => self.is <= most,
        }
    }
}

/// The aims of all sections.
pub fn aims<'a>(sections: impl IntoIterator<Item = &'a Section>) -> Table {
    let mut table = Table::new(["aim", "wanted", "is", "met"]);
    for section in sections {
        for aim in &section.aims {
            let wanted = match aim.wanted {
                Wanted::AtLeast(least) => format!("≥ {}", number(least)),
                Wanted::AtMost(most) => format!("≤ {}", number(most)),
            };
            let met = if aim.is_met() { "yes" } else { "**no**" };
            let what = format!("{}: {}", section.title, aim.what);
            table.row([what, wanted, number(aim.is), met.into()]);
        }
    }
    table
}

impl Section {
    pub fn new(title: impl Into<String>) -> Section {
        Section {
            title: title.into(),
            ..Section::default()
        }
    }

    /// A paragraph.
    pub fn say(&mut self, text: impl AsRef<str>) {
        self.text += text.as_ref();
        self.text += "\n\n";
    }

    /// An aim that others' figures set, or ours; nothing if there is no figure to compare with.
    pub fn aim(&mut self, what: impl Into<String>, wanted: Wanted, is: f64) {
        if is.is_finite() {
            self.aims.push(Aim {
                what: what.into(),
                wanted,
                is,
            });
        }
    }

    pub fn table(&mut self, table: &Table) {
        self.text += &table.markdown();
        self.text += "\n";
    }
}

/// Rows of equal length; the first column is text, the others are numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(columns: [&str; N]) -> Table {
        Table::of(columns.map(str::to_string))
    }

    pub fn of(columns: impl IntoIterator<Item = String>) -> Table {
        Table {
            rows: vec![columns.into_iter().collect()],
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.rows[0].len(), "{cells:?}");
        self.rows.push(cells);
    }

    pub fn markdown(&self) -> String {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].chars().count());
                cells.max().unwrap_or(0).max(3)
            })
            .collect();
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            for (nth, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let _ = match nth {
                    0 => write!(text, "| {cell:<width$} "),
                    _ => write!(text, "| {cell:>width$} "),
                };
            }
            text += "|\n";
        };
        line(&self.rows[0]);
        let rules = widths.iter().enumerate().map(|(nth, width)| match nth {
            0 => "-".repeat(*width),
            _ => format!("{}:", "-".repeat(width - 1)),
        });
        line(&rules.collect::<Vec<_>>());
        self.rows[1..].iter().for_each(|row| line(row));
        text
    }
}

/// Three digits that count, as one reads them.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size.is_nan() => "–".into(),
        size if size >= 1000.0 => {
            let whole = format!("{value:.0}");
            let mut grouped = String::new();
            for (nth, digit) in whole.chars().enumerate() {
                if nth > 0 && (whole.len() - nth) % 3 == 0 && digit.is_ascii_digit() {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Median, and in brackets the least and the most.
pub fn spread(figures: &Figures) -> String {
    format!(
        "{} ({}–{})",
        number(figures.median()),
        number(figures.least()),
        number(figures.most())
    )
}

/// Bytes, in MiB.
pub fn mib(bytes: f64) -> String {
    number(bytes / f64::from(1 << 20))
}
