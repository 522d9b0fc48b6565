//! `hearsay convert`: a history of any known format, written in another.

use std::io::{BufWriter, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hearsay_checkers::export::{ExportFormat, write_recording};

use super::foreign::{ForeignArgs, load_recording};
use super::{failed, misused};

/// What to write.
#[derive(Clone, Debug, Args)]
pub(super) struct ConvertArgs {
    /// A history, of this program or of another system
    path: PathBuf,
    #[command(flatten)]
    foreign: ForeignArgs,
    /// The format to write: jsonl, edn or text
    #[arg(long, value_name = "FORMAT", value_parser = export_format)]
    to: ExportFormat,
}

fn export_format(name: &str) -> Result<ExportFormat, String> {
    ExportFormat::find(name).ok_or_else(|| {
        let known = ExportFormat::ALL.map(ExportFormat::name);
        format!("there is no format `{name}`: the formats are {}", known.join(", "))
    })
}

/// Reads, and writes to the standard output; what the reader of the history should know goes to the standard error.
pub(super) fn run(args: &ConvertArgs) -> ExitCode {
    let recording = match load_recording(&args.path, &args.foreign) {
        Ok(recording) => recording,
        Err(error) => return misused(&error),
    };
    for note in &recording.notes {
        eprintln!("hearsay: {note}");
    }
    let out = BufWriter::new(std::io::stdout().lock());
    match write_recording(&recording, args.to, out) {
        // A reader that has gone away has all it wanted.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => failed(&error),
        _ => ExitCode::SUCCESS,
    }
}
