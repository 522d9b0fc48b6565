//! Reads files that a person named: regular ones, up to a size, so that neither a device nor a pipe nor a file that grows
//! keeps the program reading; and cuts what is shown of them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// The system's, another kind of file, more bytes, or no UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    // Before it is opened: opening a pipe would wait for a writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device or a pipe, no regular file"));
    }
    let too_large = |bytes: u64| {
        let message = format!("it has {bytes} bytes or more, and may have at most {bytes_max}");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    if metadata.len() > bytes_max {
        return Err(too_large(metadata.len()));
    }
    let mut text = String::new();
    // One more than allowed: it may grow, and files of the kernel say that they have no bytes at all.
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(too_large(text.len() as u64));
    }
    Ok(text)
}

/// Longest line of a file that is shown, in characters.
const SHOWN_MAX: usize = 160;
/// What stands where something was cut off.
const CUT: &str = "...";

/// A line cut around a column (from 1), and the column in what is left.
pub fn cut_around(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= SHOWN_MAX {
        return (line.to_owned(), column);
    }
    let from = column.saturating_sub(SHOWN_MAX / 2).min(length - SHOWN_MAX);
    let shown: String = line.chars().skip(from).take(SHOWN_MAX).collect();
    let (before, after) = (if from > 0 { CUT } else { "" }, if from + SHOWN_MAX < length { CUT } else { "" });
    (format!("{before}{shown}{after}"), column - from + before.len())
}

/// The same text with every line cut at its end where it is too long.
pub fn cut_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| cut_around(line, 1).0).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_up_to_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        assert_eq!(read_text(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // No size is known beforehand.
        assert_eq!(read_text(Path::new("/proc/self/maps"), 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_text(folder.path(), 5).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_device_and_a_pipe_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [Path::new("/dev/zero"), &pipe] {
            let error = read_text(path, 1_000).unwrap_err();
            assert!(error.to_string().contains("no regular file"), "{}: {error}", path.display());
        }
    }

    #[test]
    fn long_lines_are_cut_around_what_matters() {
        assert_eq!(cut_around("short", 3), ("short".to_owned(), 3));
        let line = format!("{}X{}", "a".repeat(1_000), "b".repeat(1_000));
        let (shown, column) = cut_around(&line, 1_001);
        assert!(shown.len() < 200 && shown.starts_with("...a") && shown.ends_with("b..."), "{shown}");
        assert_eq!(shown.chars().nth(column - 1), Some('X'));
        let (shown, column) = cut_around(&line, 1);
        assert!(shown.starts_with('a') && shown.ends_with("..."), "{shown}");
        assert_eq!(column, 1);
        let (shown, column) = cut_around(&line, 2_001);
        assert!(shown.ends_with('b') && column == shown.chars().count(), "{shown} {column}");
        assert_eq!(cut_lines("one\ntwo"), "one\ntwo");
    }
}
