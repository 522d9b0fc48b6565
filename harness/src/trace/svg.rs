//! The chart as a picture: lifelines from top to bottom, messages as slanting arrows, words on the right.
//!
//! Time runs downward by rows, not to scale: each row is one thing that happened, so that a microsecond and a second of
//! silence take the same room and nothing overlaps. An arrow ends where its arrival falls between the rows.

use std::fmt::Write;

use super::chart::{Chart, Life, Row, Shape, Tone};
use super::words::seconds;

const ROW: f64 = 20.0;
const COLUMN: f64 = 84.0;
const TIMES: f64 = 96.0;
const MARGIN: f64 = 16.0;
const LINE: f64 = 17.0;
/// About the width of a letter.
const LETTER: f64 = 6.6;
/// Letters of a row's text that are shown; all of it is in its tool tip.
const TEXT_MAX: usize = 110;
/// An arrow falls by so much at least.
const FALL_MIN: f64 = 7.0;

/// The chart as the text of an SVG file.
pub fn render_svg(chart: &Chart) -> String {
    let mut out = String::new();
    let written = Drawing::of(chart).write(&mut out);
    written.expect("a String takes all that is written");
    out
}

struct Drawing<'a> {
    chart: &'a Chart,
    width: f64,
    height: f64,
    /// Where the rows begin.
    top: f64,
    /// Where the words begin.
    words: f64,
}

impl<'a> Drawing<'a> {
    fn of(chart: &'a Chart) -> Drawing<'a> {
        let columns = chart.columns.len() as f64;
        let words = MARGIN + TIMES + columns * COLUMN + 12.0;
        let longest = |lines: &mut dyn Iterator<Item = usize>| lines.max().unwrap_or(0) as f64 * LETTER;
        let text = words + longest(&mut chart.rows.iter().map(|row| row.text.chars().count().min(TEXT_MAX)));
        let title = MARGIN + longest(&mut chart.title.iter().map(|line| line.chars().count()));
        let width = text.max(title).max(MARGIN + 640.0) + MARGIN;
        let top = MARGIN + LINE * chart.title.len() as f64 + 58.0;
        let height = top + ROW * chart.rows.len() as f64 + 64.0 + LINE * chart.notes.len() as f64;
        Drawing { chart, width, height, top, words }
    }

    fn x(&self, column: usize) -> f64 {
        MARGIN + TIMES + COLUMN * (column as f64 + 0.5)
    }

    fn y(&self, row: usize) -> f64 {
        self.top + ROW * (row as f64 + 0.5)
    }

    /// Where a time falls that comes after `row`.
    fn y_of(&self, time: u64, row: usize) -> f64 {
        let rows = &self.chart.rows;
        let next = (row + 1..rows.len()).find(|&next| rows[next].time >= time && rows[next].shape != Shape::Gap);
        let y = match next {
            Some(next) if rows[next].time == time => self.y(next),
            Some(next) => {
                let (before, after) = (rows[next - 1].time.min(time), rows[next].time);
                let share = (time - before) as f64 / (after - before).max(1) as f64;
                self.y(next - 1) + ROW * share.clamp(0.1, 0.9)
            }
            None => self.y(rows.len() - 1) + ROW * 0.7,
        };
        y.max(self.y(row) + FALL_MIN)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Drawing { width, height, chart, .. } = self;
        writeln!(
            out,
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12">
<style>
.time {{ font-family: 'DejaVu Sans Mono', Menlo, monospace; font-size: 10.5px; fill: #777 }}
.head {{ font-weight: bold; text-anchor: middle; fill: #333 }}
.life {{ stroke: #b8b8b8; stroke-width: 1.4 }}
.paused {{ stroke-dasharray: 2 4 }}
.arrow {{ stroke-width: 1.4; fill: none }}
.late {{ stroke-dasharray: 5 3 }}
.gap {{ font-style: italic; fill: #888 }}
</style>
<rect width="100%" height="100%" fill="#ffffff"/>"##
        )?;
        for (number, line) in chart.title.iter().enumerate() {
            let weight = if number == 0 { r#" font-weight="bold""# } else { "" };
            let y = MARGIN + LINE * (number as f64 + 0.7);
            writeln!(
                out,
                r##"<text x="{MARGIN}" y="{y:.1}" fill="#333" xml:space="preserve"{weight}>{}</text>"##,
                escape(line)
            )?;
        }
        self.write_rows_behind(out)?;
        self.write_heads(out, self.top - 34.0)?;
        self.write_lives(out)?;
        for (number, row) in chart.rows.iter().enumerate() {
            self.write_row(out, number, row)?;
        }
        let bottom = self.top + ROW * chart.rows.len() as f64 + 8.0;
        self.write_heads(out, bottom)?;
        let mut x = MARGIN;
        for tone in [Tone::Client, Tone::Work, Tone::Repair, Tone::Disk, Tone::Trouble, Tone::Around] {
            let (y, name) = (bottom + 46.0, meaning(tone));
            writeln!(out, r##"<circle cx="{:.1}" cy="{:.1}" r="4" fill="{}"/>"##, x + 4.0, y - 4.0, colour(tone))?;
            writeln!(out, r##"<text x="{:.1}" y="{y:.1}" fill="#555" font-size="11">{name}</text>"##, x + 13.0)?;
            x += 30.0 + name.len() as f64 * LETTER;
        }
        for (number, line) in chart.notes.iter().enumerate() {
            let y = bottom + 46.0 + LINE * (number as f64 + 1.0);
            writeln!(out, r##"<text x="{MARGIN}" y="{y:.1}" fill="#555">{}</text>"##, escape(line))?;
        }
        writeln!(out, "</svg>")
    }

    /// Stripes to lead the eye to the words, and the faults across everything.
    fn write_rows_behind(&self, out: &mut String) -> std::fmt::Result {
        for (number, row) in self.chart.rows.iter().enumerate() {
            let fill = match row.shape {
                Shape::Band => "#fbe3df",
                _ if number % 2 == 1 => "#f7f8fa",
                _ => continue,
            };
            let (y, width) = (self.y(number) - ROW / 2.0, self.width - 2.0 * MARGIN);
            writeln!(out, r##"<rect x="{MARGIN}" y="{y:.1}" width="{width:.1}" height="{ROW}" fill="{fill}"/>"##)?;
        }
        Ok(())
    }

    fn write_heads(&self, out: &mut String, y: f64) -> std::fmt::Result {
        for (column, name) in self.chart.columns.iter().enumerate() {
            let x = self.x(column);
            let (left, wide) = (x - 30.0, 60.0);
            writeln!(
                out,
                r##"<rect x="{left:.1}" y="{y:.1}" width="{wide}" height="22" rx="4" fill="#eef1f5" stroke="#b8b8b8"/><text class="head" x="{x:.1}" y="{:.1}">{}</text>"##,
                y + 15.0,
                escape(name)
            )?;
        }
        Ok(())
    }

    fn write_lives(&self, out: &mut String) -> std::fmt::Result {
        for column in 0..self.chart.columns.len() {
            let x = self.x(column);
            let rows = self.chart.rows.len();
            let life_at = |row: usize| self.chart.rows.get(row).map_or(Life::Up, |row| row.lives[column]);
            // Runs of one state become one line. Before the first row a process is as in it.
            let mut begin = 0;
            for row in 0..rows {
                if row + 1 < rows && life_at(row + 1) == life_at(begin) {
                    continue;
                }
                let from = if begin == 0 { self.top - 12.0 } else { self.y(begin) };
                let to = if row + 1 == rows { self.y(row) + ROW * 0.9 } else { self.y(row + 1) };
                let class = match life_at(begin) {
                    Life::Up => "life",
                    Life::Paused => "life paused",
                    Life::Down => "",
                };
                if !class.is_empty() {
                    writeln!(out, r##"<line class="{class}" x1="{x:.1}" y1="{from:.1}" x2="{x:.1}" y2="{to:.1}"/>"##)?;
                }
                begin = row + 1;
            }
        }
        Ok(())
    }

    fn write_row(&self, out: &mut String, number: usize, row: &Row) -> std::fmt::Result {
        let (y, colour) = (self.y(number), colour(row.tone));
        if row.shape != Shape::Gap {
            writeln!(out, r##"<text class="time" x="{MARGIN}" y="{:.1}">{}</text>"##, y + 4.0, seconds(row.time))?;
        }
        match row.shape {
            Shape::Arrow { from, to, arrives: Some(arrives) } => {
                let end = (self.x(to), self.y_of(arrives, number));
                let late = if end.1 - y > 3.5 * ROW { " late" } else { "" };
                self.write_arrow(out, (self.x(from), y), end, colour, late)?;
            }
            Shape::Arrow { from, to, arrives: None } => {
                let (x, end) = (self.x(from), f64::midpoint(self.x(from), self.x(to)));
                let low = y + FALL_MIN / 2.0;
                writeln!(
                    out,
                    r##"<line class="arrow" x1="{x:.1}" y1="{y:.1}" x2="{end:.1}" y2="{low:.1}" stroke="{colour}"/>"##
                )?;
                write_cross(out, (end, low), colour)?;
            }
            Shape::Point(column) if row.tone == Tone::Trouble => write_cross(out, (self.x(column), y), colour)?,
            Shape::Point(column) => {
                writeln!(out, r##"<circle cx="{:.1}" cy="{y:.1}" r="4.2" fill="{colour}"/>"##, self.x(column))?;
            }
            // The arrow itself ends there.
            Shape::Arrival { .. } | Shape::Band | Shape::Gap => {}
        }
        let shown: String = row.text.chars().take(TEXT_MAX).collect();
        let dots = if row.text.chars().count() > TEXT_MAX { "…" } else { "" };
        let class = if row.shape == Shape::Gap { r#" class="gap""# } else { "" };
        let words = if row.shape == Shape::Gap { format!("… {shown}") } else { format!("{shown}{dots}") };
        writeln!(
            out,
            r##"<text x="{:.1}" y="{:.1}" fill="{colour}"{class}>{}<title>{}</title></text>"##,
            self.words,
            y + 4.0,
            escape(&words),
            escape(&row.text)
        )
    }

    fn write_arrow(
        &self,
        out: &mut String,
        (x1, y1): (f64, f64),
        (x2, y2): (f64, f64),
        colour: &str,
        late: &str,
    ) -> std::fmt::Result {
        let length = (x2 - x1).hypot(y2 - y1).max(1.0);
        let (along_x, along_y) = ((x2 - x1) / length, (y2 - y1) / length);
        // The head ends next to the lifeline, its two corners lie behind and aside.
        let (tip_x, tip_y) = (x2 - along_x * 2.0, y2 - along_y * 2.0);
        let (back_x, back_y) = (tip_x - along_x * 8.0, tip_y - along_y * 8.0);
        let (side_x, side_y) = (-along_y * 3.4, along_x * 3.4);
        writeln!(
            out,
            r##"<line class="arrow{late}" x1="{x1:.1}" y1="{y1:.1}" x2="{back_x:.1}" y2="{back_y:.1}" stroke="{colour}"/><polygon points="{tip_x:.1},{tip_y:.1} {:.1},{:.1} {:.1},{:.1}" fill="{colour}"/>"##,
            back_x + side_x,
            back_y + side_y,
            back_x - side_x,
            back_y - side_y
        )
    }
}

fn write_cross(out: &mut String, (x, y): (f64, f64), colour: &str) -> std::fmt::Result {
    let (left, right, high, low) = (x - 4.5, x + 4.5, y - 4.5, y + 4.5);
    writeln!(
        out,
        r##"<path d="M{left:.1} {high:.1}L{right:.1} {low:.1}M{left:.1} {low:.1}L{right:.1} {high:.1}" stroke="{colour}" stroke-width="2.2"/>"##
    )
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Client => "#1f5fa8",
        Tone::Work => "#444444",
        Tone::Repair => "#7a3fa0",
        Tone::Disk => "#2d7d46",
        Tone::Trouble => "#c0392b",
        Tone::Around => "#777777",
    }
}

fn meaning(tone: Tone) -> &'static str {
    match tone {
        Tone::Client => "client",
        Tone::Work => "between nodes",
        Tone::Repair => "repair",
        Tone::Disk => "disk",
        Tone::Trouble => "fault, loss",
        Tone::Around => "around it",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: u64, shape: Shape, text: &str) -> Row {
        Row { time, shape, text: text.to_owned(), tone: Tone::Work, lives: vec![Life::Up, Life::Down] }
    }

    #[test]
    fn an_arrow_ends_at_the_row_of_its_arrival_or_between_rows() {
        let chart = Chart {
            columns: vec!["n1".to_owned(), "n2".to_owned()],
            rows: vec![
                row(0, Shape::Arrow { from: 0, to: 1, arrives: Some(30) }, "a"),
                row(10, Shape::Point(0), "b"),
                row(30, Shape::Point(1), "c"),
                row(50, Shape::Point(1), "d"),
            ],
            ..Chart::default()
        };
        let drawing = Drawing::of(&chart);
        assert_eq!(drawing.y_of(30, 0), drawing.y(2));
        assert!((drawing.y(2)..drawing.y(3)).contains(&drawing.y_of(40, 0)));
        assert!(drawing.y_of(90, 0) > drawing.y(3));
        assert!(drawing.y_of(0, 0) >= drawing.y(0) + FALL_MIN);
    }

    #[test]
    fn words_from_outside_are_escaped_and_long_ones_cut() {
        let long = "x".repeat(300);
        let chart = Chart {
            title: vec!["a < b & c".to_owned()],
            columns: vec!["n1".to_owned(), "n2".to_owned()],
            rows: vec![row(0, Shape::Point(0), "<script>"), row(1, Shape::Point(0), &long)],
            ..Chart::default()
        };
        let svg = render_svg(&chart);
        assert!(
            svg.contains("a &lt; b &amp; c") && svg.contains("&lt;script&gt;") && !svg.contains("<script>"),
            "{svg}"
        );
        assert!(svg.contains(&format!(">{}…<title>{long}</title>", "x".repeat(TEXT_MAX))), "{svg}");
        // Every tag that is opened is closed.
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
