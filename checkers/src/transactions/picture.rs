//! An anomaly as a picture (SVG): its transactions from top to bottom, and an arrow for why each must come before the next.
//!
//! The last arrow leads back to the first transaction and is the contradiction. Letters are of one width, so that boxes can be
//! sized without a font. Colours keep apart dependencies (blue), what was overwritten (red) and order (grey).

use std::fmt::Write as _;

use super::analysis::Finding;
use super::history::TransactionHistory;
use super::story::contents;

/// Width of a letter and height of a line at the size of the text, pixels.
const LETTER: usize = 8;
const LINE: usize = 18;
const MARGIN: usize = 24;
const BOX: usize = 40;
/// Between two boxes: the place of an arrow's label.
const GAP: usize = 56;
/// Letters of a line that are shown.
const LETTERS_MAX: usize = 110;

/// Draws an anomaly.
pub fn anomaly_svg(history: &TransactionHistory, finding: &Finding) -> String {
    let boxes: Vec<String> = finding.transactions.iter().map(|id| shortened(&contents(history, *id))).collect();
    let labels: Vec<String> =
        finding.edges.iter().map(|edge| shortened(&format!("{}: {}", edge.label, edge.reason))).collect();
    let is_cycle = boxes.len() > 1 && labels.len() == boxes.len();
    let width_of = |texts: &[String]| texts.iter().map(|text| text.chars().count() * LETTER).max().unwrap_or_default();
    // The way back runs beside the boxes.
    let inner = width_of(&boxes).max(width_of(&labels[..labels.len().saturating_sub(1)]) + 3 * LETTER) + 2 * LETTER;
    let back = if is_cycle { 3 * MARGIN } else { 0 };
    let title = format!("{}: {}", finding.anomaly, finding.anomaly.meaning());
    let last = labels.last().filter(|_| is_cycle).map_or("", String::as_str);
    let told = if is_cycle { &[][..] } else { &finding.sentences[boxes.len().min(finding.sentences.len())..] };
    let told: Vec<String> = told.iter().map(|sentence| shortened(sentence)).collect();
    let letters = title.chars().count().max(last.chars().count()) * LETTER;
    let width = (inner + back).max(letters).max(width_of(&told)) + 2 * MARGIN;
    let gap = if is_cycle { GAP } else { GAP / 4 };
    let top = |at: usize| MARGIN + 2 * LINE + at * (BOX + gap);
    let told_from = top(boxes.len()) - gap + LINE;
    let height = told_from + (told.len() + 1) * LINE + if is_cycle { LINE } else { 0 } + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"monospace\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, MARGIN, MARGIN + 6, "#111111", "bold", &title);
    for (at, words) in boxes.iter().enumerate() {
        let y = top(at);
        let rect = format!(
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{inner}\" height=\"{BOX}\" rx=\"5\" fill=\"#f4f4f0\" stroke=\"#444444\"/>\n"
        );
        out.push_str(&rect);
        text(&mut out, MARGIN + LETTER, y + BOX / 2 + 5, "#111111", "normal", words);
    }
    for (at, (edge, label)) in finding.edges.iter().zip(&labels).enumerate() {
        let colour = colour(edge.label);
        if at + 1 < boxes.len() {
            let (x, from, to) = (MARGIN + 2 * LETTER, top(at) + BOX, top(at + 1));
            arrow(&mut out, colour, &format!("M{x} {from} V{}", to - 8), (x, to), Way::Down);
            text(&mut out, x + 2 * LETTER, (from + to) / 2 + 4, colour, "normal", label);
        } else if is_cycle {
            let (right, side) = (MARGIN + inner, MARGIN + inner + 2 * MARGIN);
            let (from, to) = (top(at) + BOX / 2, top(0) + BOX / 2);
            let path = format!(
                "M{right} {from} H{} Q{side} {from} {side} {} V{} Q{side} {to} {} {to} H{}",
                side - 10,
                from - 10,
                to + 10,
                side - 10,
                right + 8
            );
            arrow(&mut out, colour, &path, (right, to), Way::Left);
            text(&mut out, MARGIN, told_from + LINE, colour, "normal", label);
        }
    }
    for (at, sentence) in told.iter().enumerate() {
        text(&mut out, MARGIN, told_from + (at + 1) * LINE, "#b00020", "normal", sentence);
    }
    out.push_str("</svg>\n");
    out
}

enum Way {
    Down,
    Left,
}

fn arrow(out: &mut String, colour: &str, path: &str, (x, y): (usize, usize), way: Way) {
    let head = match way {
        Way::Down => format!("{x},{y} {},{} {},{}", x - 5, y - 9, x + 5, y - 9),
        Way::Left => format!("{x},{y} {},{} {},{}", x + 9, y - 5, x + 9, y + 5),
    };
    let line = format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n<polygon points=\"{head}\" fill=\"{colour}\"/>\n"
    );
    out.push_str(&line);
}

fn colour(label: &str) -> &'static str {
    match label {
        "rw" => "#b00020",
        "ww" | "wr" => "#1f4e9e",
        _ => "#5f5f5f",
    }
}

fn text(out: &mut String, x: usize, y: usize, colour: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let line = writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\" font-weight=\"{weight}\">{words}</text>");
    line.expect("writing to a string can't fail");
}

fn shortened(words: &str) -> String {
    if words.chars().count() <= LETTERS_MAX {
        return words.to_owned();
    }
    words.chars().take(LETTERS_MAX - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::anomaly_svg;
    use crate::CheckOptions;
    use crate::transactions::{Anomaly, Scope, analyse, notation};

    #[test]
    fn a_cycle_has_a_box_for_each_transaction_and_an_arrow_for_each_reason() {
        let text =
            "p0 txn r(x)=[] append(y,1) [0..10]\np1 txn r(y)=[] append(x,1) [0..10]\np2 txn r(x)=[1] r(y)=[1] [20..30]";
        let history = notation::transactions(text).unwrap();
        let analysis = analyse(&history, &CheckOptions::default());
        let skew = analysis.findings.iter().find(|finding| finding.anomaly == Anomaly::G2Item(Scope::Plain)).unwrap();
        let svg = anomaly_svg(&history, skew);
        assert_eq!((svg.matches("<rect x=").count(), svg.matches("<polygon").count()), (2, 2));
        assert!(svg.contains("rw: op 0 read x = [], without the 1 that op 1 appended"), "{svg}");
    }

    #[test]
    fn what_is_no_cycle_is_told_below_and_markup_in_names_stays_text() {
        let text = "p0 txn append(a<b,1) [0..10] fail\np1 txn r(a<b)=[1] [20..30]";
        let history = notation::transactions(text).unwrap();
        let analysis = analyse(&history, &CheckOptions::default());
        let svg = anomaly_svg(&history, &analysis.findings[0]);
        assert!(svg.contains("a&lt;b = [1], but op 0") && !svg.contains("a<b"), "{svg}");
        assert_eq!((svg.matches("<rect x=").count(), svg.matches("<polygon").count()), (2, 0));
    }
}
