//! The chart as text: time, a column for each lifeline, words on the right. One row, one line, so nothing overlaps.
//!
//! `>`, `<` message; `x` it never arrives; `*` something happens there; `|` the process runs; `:` it stands still; nothing: there
//! is none.

use std::fmt::Write;

use super::chart::{Chart, Life, Row, Shape, Tone};
use super::words::seconds;

/// Width of a column, characters.
const COLUMN: usize = 8;
/// Width of the times.
const TIMES: usize = 12;

/// The chart, at most `rows_max` rows of it; the last line says what is missing.
pub fn render_text(chart: &Chart, rows_max: usize) -> String {
    let mut text = String::new();
    let written = write_text(&mut text, chart, rows_max);
    written.expect("a String takes all that is written");
    text
}

fn write_text(out: &mut String, chart: &Chart, rows_max: usize) -> std::fmt::Result {
    for line in &chart.title {
        writeln!(out, "{line}")?;
    }
    let names: String = chart.columns.iter().map(|name| format!("{name:^COLUMN$}")).collect();
    writeln!(out, "\n{:>TIMES$}  {}", "seconds", names.trim_end())?;
    for row in chart.rows.iter().take(rows_max) {
        let line = match row.shape {
            Shape::Gap => format!("{:>TIMES$}  {}  ... {}", "", lifelines(row), row.text),
            Shape::Band => format!("{:>TIMES$}  {}  {}", seconds(row.time), band(row), row.text),
            _ => format!("{:>TIMES$}  {}  {}", seconds(row.time), cells(row), row.text),
        };
        writeln!(out, "{}", line.trim_end())?;
    }
    if let Some(more) = chart.rows.len().checked_sub(rows_max).filter(|&more| more > 0) {
        writeln!(out, "{:>TIMES$}  {more} more rows: narrow it with --at and --window, or show more with --rows", "")?;
    }
    for line in &chart.notes {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Middle of a column.
fn middle(column: usize) -> usize {
    column * COLUMN + (COLUMN - 1) / 2
}

fn life(life: Life) -> char {
    match life {
        Life::Up => '|',
        Life::Paused => ':',
        Life::Down => ' ',
    }
}

fn canvas(row: &Row) -> Vec<char> {
    let mut line = vec![' '; row.lives.len() * COLUMN];
    for (column, &lives) in row.lives.iter().enumerate() {
        line[middle(column)] = life(lives);
    }
    line
}

fn lifelines(row: &Row) -> String {
    canvas(row).into_iter().collect()
}

fn band(row: &Row) -> String {
    "=".repeat(row.lives.len() * COLUMN)
}

fn cells(row: &Row) -> String {
    let mut line = canvas(row);
    match row.shape {
        Shape::Arrow { from, to, arrives } => {
            draw(&mut line, middle(from), middle(to), '-', if arrives.is_some() { None } else { Some('x') });
        }
        Shape::Arrival { from, to } => draw(&mut line, middle(from), middle(to), '.', None),
        Shape::Point(column) => {
            line[middle(column)] = if row.tone == Tone::Trouble { 'x' } else { '*' };
        }
        Shape::Band | Shape::Gap => {}
    }
    line.into_iter().collect()
}

/// A line with a head next to its end; a lost one ends half way.
fn draw(line: &mut [char], from: usize, to: usize, stroke: char, lost: Option<char>) {
    let end = if lost.is_some() { (from + to) / 2 } else { to };
    let (low, high) = (from.min(end), from.max(end));
    for place in line.iter_mut().take(high).skip(low + 1) {
        *place = if *place == ' ' { stroke } else { *place };
    }
    match lost {
        Some(cross) => line[end] = cross,
        None if to > from => line[end - 1] = '>',
        None => line[end + 1] = '<',
    }
}
