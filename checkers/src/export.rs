//! Recordings written down for other tools. One file per format.
//!
//! | format | for whom |
//! |---|---|
//! | JSON lines | this program's own form, and whatever reads JSON |
//! | EDN | Jepsen, Knossos, Elle: one map per line |
//! | text | people, Porcupine's tests: process, type, function, value between tabs |
//!
//! What is written reads back as the same records as far as the format can say it: JSON has no keywords, sets or tags, and
//! the text has no times and indices.

mod edn;
mod jsonl;
mod text;

use std::io::{self, Write};

use crate::record::Recording;

/// A form to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// JSON lines.
    Jsonl,
    /// Jepsen's EDN.
    Edn,
    /// Jepsen's log lines.
    Text,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [ExportFormat; 3] = [ExportFormat::Jsonl, ExportFormat::Edn, ExportFormat::Text];

    /// What `--to` calls it.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Jsonl => "jsonl",
            ExportFormat::Edn => "edn",
            ExportFormat::Text => "text",
        }
    }

    /// The form of that name.
    pub fn find(name: &str) -> Option<ExportFormat> {
        ExportFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Writes all records, one a line.
///
/// # Errors
/// What the system says about the writer.
pub fn write_recording(recording: &Recording, format: ExportFormat, mut writer: impl Write) -> io::Result<()> {
    let mut line = Vec::with_capacity(256);
    for record in &recording.records {
        line.clear();
        match format {
            ExportFormat::Jsonl => jsonl::write(record, &mut line),
            ExportFormat::Edn => edn::write(record, &mut line),
            ExportFormat::Text => text::write(record, &mut line),
        }
        line.push(b'\n');
        writer.write_all(&line)?;
    }
    writer.flush()
}
