//! A file with one JSON value a line, each line handed to the kernel as it is written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{StoreError, failed};

/// A file that grows by lines of JSON.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
    line: Vec<u8>,
}

impl JsonLines {
    /// A new file.
    ///
    /// # Errors
    /// It exists already or can't be made.
    pub fn create(path: &Path) -> Result<JsonLines, StoreError> {
        let file = File::create_new(path).map_err(failed("can't make", path))?;
        Ok(JsonLines { path: path.to_owned(), file, line: Vec::new() })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// It can't be written.
    pub fn append<T: Serialize>(&mut self, value: &T) -> Result<(), StoreError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value).expect("the store's own types always serialize");
        self.line.push(b'\n');
        self.file.write_all(&self.line).map_err(failed("can't write", &self.path))
    }
}
