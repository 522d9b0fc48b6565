//! Jepsen's log lines: process, type, function, value and error between tabs.

use std::io::Write as _;

use crate::record::{Process, Record};

pub(super) fn write(record: &Record, line: &mut Vec<u8>) {
    let written = (|| {
        match &record.process {
            Process::Client(number) => write!(line, "{number}")?,
            Process::Named(name) => write!(line, ":{name}")?,
            Process::Unnamed => write!(line, "nil")?,
        }
        write!(line, "\t:{}\t:{}\t", record.kind.as_str(), record.f)?;
        match &record.key {
            Some(key) => write!(line, "[{key} {}]", record.value)?,
            None => write!(line, "{}", record.value)?,
        }
        if let Some(error) = &record.error {
            write!(line, "\t{error}")?;
        }
        Ok::<(), std::io::Error>(())
    })();
    written.expect("a line is written to memory");
}
