//! A file in pieces: parsers see a window of bytes, ask for more when something goes on beyond it, and name places in it.
//!
//! The window holds one form (a record) at least, so a file may be larger than memory; a form may not.

use std::io::{self, Read};

use super::ImportError;

/// Longest form or line, in bytes: a file that is no history must not fill the memory.
const FORM_BYTES_MAX: usize = 256 << 20;
/// Bytes read at a time, while forms are short.
const CHUNK_BYTES: usize = 128 << 10;

/// Why a parser stopped.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// The form goes on beyond the window.
    More,
    /// It is wrong.
    Wrong {
        /// Where, from the start of the window.
        at: usize,
        /// What is wrong and what was expected, as a sentence without its end.
        problem: String,
    },
}

/// What a parser returns.
pub(super) type Parsed<T> = Result<T, Stop>;

/// A mistake at a place of the window.
pub(super) fn wrong<T>(at: usize, problem: impl Into<String>) -> Parsed<T> {
    Err(Stop::Wrong { at, problem: problem.into() })
}

/// How a form ended.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// It was understood.
    Form(T),
    /// The file ended inside of it.
    CutOff,
}

/// The window of a file.
#[derive(Debug)]
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Start of the window in the buffer.
    start: usize,
    /// Line of the start, from 1.
    line: u64,
    /// Bytes between the beginning of that line and the start.
    column: usize,
    ended: bool,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Source<R> {
        Source { reader, buffer: Vec::new(), start: 0, line: 1, column: 0, ended: false }
    }

    /// Line of the next form, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Skips the mark that some editors put before UTF-8 text.
    pub(super) fn skip_byte_order_mark(&mut self) {
        if self.window().starts_with(b"\xef\xbb\xbf") {
            self.start += 3;
        }
    }

    /// The bytes not yet consumed that are known.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Parses one form and consumes it. The parser gets the window and whether the file ends with it, and returns how many
    /// bytes it used.
    pub(super) fn next<T>(
        &mut self,
        mut parse: impl FnMut(&[u8], bool) -> Parsed<(usize, T)>,
    ) -> Result<Next<T>, ImportError> {
        loop {
            match parse(&self.buffer[self.start..], self.ended) {
                Ok((used, form)) => {
                    self.consume(used);
                    return Ok(Next::Form(form));
                }
                Err(Stop::Wrong { at, problem }) => return Err(self.mistake(at, problem)),
                Err(Stop::More) if self.ended => return Ok(Next::CutOff),
                Err(Stop::More) => self.fill()?,
            }
        }
    }

    /// The next line without its end, for formats of lines; `None` at the end of the file. The last line may lack its
    /// newline: the second part of the result says so.
    pub(super) fn next_line<T>(
        &mut self,
        mut parse: impl FnMut(&[u8], bool) -> Parsed<T>,
    ) -> Result<Option<T>, ImportError> {
        loop {
            let window = &self.buffer[self.start..];
            let (used, line, whole) = match memchr::memchr(b'\n', window) {
                Some(end) => (end + 1, &window[..end], true),
                None if !self.ended => {
                    self.fill()?;
                    continue;
                }
                None if window.is_empty() => return Ok(None),
                None => (window.len(), window, false),
            };
            return match parse(line.strip_suffix(b"\r").unwrap_or(line), whole) {
                Ok(parsed) => {
                    self.start += used;
                    (self.line, self.column) = (self.line + 1, 0);
                    Ok(Some(parsed))
                }
                Err(Stop::Wrong { at, problem }) => Err(self.mistake(at, problem)),
                Err(Stop::More) => Err(self.mistake(line.len(), "the line ends too early".to_owned())),
            };
        }
    }

    /// An error at a place of the window.
    pub(super) fn mistake(&self, at: usize, problem: String) -> ImportError {
        let (mut line, mut column) = (self.line, self.column);
        advance(&self.buffer[self.start..][..at], &mut line, &mut column);
        ImportError::Malformed { line, column: column + 1, problem }
    }

    fn consume(&mut self, bytes: usize) {
        advance(&self.buffer[self.start..][..bytes], &mut self.line, &mut self.column);
        self.start += bytes;
    }

    fn fill(&mut self) -> Result<(), ImportError> {
        let window = self.buffer.len() - self.start;
        if window >= FORM_BYTES_MAX {
            let problem = format!("it goes on for more than {FORM_BYTES_MAX} bytes: this is no history");
            return Err(self.mistake(0, problem));
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        // A long form is parsed again from its beginning, so every piece is as long as all before.
        let wanted = window.max(CHUNK_BYTES);
        let read = (&mut self.reader).take(wanted as u64).read_to_end(&mut self.buffer);
        let read = read.map_err(|source: io::Error| ImportError::Io { line: self.line, source })?;
        self.ended = read < wanted;
        Ok(())
    }
}

fn advance(bytes: &[u8], line: &mut u64, column: &mut usize) {
    let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
    if newlines == 0 {
        *column += bytes.len();
    } else {
        *line += newlines as u64;
        let last = bytes.iter().rposition(|byte| *byte == b'\n').expect("there is a newline");
        *column = bytes.len() - last - 1;
    }
}
