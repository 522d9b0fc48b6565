//! Jepsen's EDN: index, time, type, process, f, value in that order, `:value nil` said. A key apart from the value becomes
//! the first of a pair, as Jepsen's independent tests have it.

use std::io::Write as _;

use crate::record::{Process, Record};

pub(super) fn write(record: &Record, line: &mut Vec<u8>) {
    let written = (|| {
        write!(line, "{{:index {}", record.index)?;
        if let Some(time) = record.time {
            write!(line, ", :time {time}")?;
        }
        write!(line, ", :type :{}, :process ", record.kind.as_str())?;
        match &record.process {
            Process::Client(number) => write!(line, "{number}")?,
            Process::Named(name) => write!(line, ":{name}")?,
            Process::Unnamed => write!(line, "nil")?,
        }
        match record.f.as_ref() {
            "" => write!(line, ", :f nil")?,
            f => write!(line, ", :f :{f}")?,
        }
        match &record.key {
            Some(key) => write!(line, ", :value [{key} {}]", record.value)?,
            None => write!(line, ", :value {}", record.value)?,
        }
        if let Some(node) = &record.node {
            write!(line, ", :node {}", crate::record::Datum::Str(node.clone()))?;
        }
        if let Some(error) = &record.error {
            write!(line, ", :error {error}")?;
        }
        write!(line, "}}")
    })();
    written.expect("a line is written to memory");
}
