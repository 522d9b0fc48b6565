//! What is certainly no history, by its first bytes: said in words of its own, with the mend, before any format is tried.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Bytes that are looked at.
const LOOKED_AT: u64 = 128 << 10;
/// Names that a message lists.
const NAMED_MAX: usize = 5;
/// What every message ends in.
const EXPECTED: &str = "expected a history, such as a run's history.jsonl or Jepsen's history.edn";

/// Why a file can't be a history; `None`: it may be one. Pipes are not looked into, since that would take from them.
pub(super) fn refusal(path: &Path) -> Option<String> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    if about.len() == 0 {
        return Some(format!("the file is empty: {EXPECTED}"));
    }
    let mut beginning = Vec::new();
    File::open(path).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut beginning)).ok()?;
    if let Some((what, command)) = packed(&beginning) {
        return Some(format!(
            "it begins as a file packed by {what}: unpack it with `{command}`, which says whether it is whole, and give what comes out"
        ));
    }
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31);
    if let Some(at) = beginning.iter().position(is_control) {
        let byte = beginning[at];
        return Some(format!("it is no text: byte 0x{byte:02x} at offset {at}; {EXPECTED}"));
    }
    let is_nothing = |line: &[u8]| match line.trim_ascii_start() {
        [] | [b';', ..] | [b'/', b'/', ..] => true,
        [b'#', rest @ ..] => !matches!(rest.first(), Some(b'{' | b'_' | b'a'..=b'z')),
        _ => false,
    };
    if about.len() <= LOOKED_AT && beginning.split(|byte| *byte == b'\n').all(is_nothing) {
        let lines = beginning.iter().filter(|byte| **byte == b'\n').count().max(1);
        return Some(format!("there is no event in its {lines} lines, only blanks and comments: {EXPECTED}"));
    }
    None
}

/// The program that packed a file, and how to unpack it.
fn packed(beginning: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match beginning {
        [0x1f, 0x8b, ..] => ("gzip", "gunzip -k FILE"),
        [b'P', b'K', 3, 4, ..] => ("zip", "unzip FILE"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "unzstd FILE"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz", "unxz -k FILE"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => ("bzip2", "bunzip2 -k FILE"),
        _ => return None,
    })
}

/// What to say of a directory that is none of a run: which file or directory in it to give.
pub(super) fn directory(path: &Path) -> String {
    let about = "this directory is of no run of this program: it has no history.jsonl";
    let latest = path.join("latest");
    if latest.join("history.jsonl").exists() {
        return format!("{about}; give a run in it, such as {}", latest.display());
    }
    let is_history = |name: &String| {
        ["jsonl", "json", "edn", "log", "txt"].iter().any(|end| name.rsplit_once('.').is_some_and(|(_, is)| is == *end))
    };
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(is_history);
    names.sort_by_key(|name| (!name.starts_with("history"), name.clone()));
    match names.len() {
        0 => format!("{about}, nor anything that is named as a history; {EXPECTED}"),
        1 => format!("{about}; give the file {}", path.join(&names[0]).display()),
        count => {
            let more = count.saturating_sub(NAMED_MAX);
            names.truncate(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{about}; give one of its files: {}{more}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file with this content.
    fn said(content: &[u8]) -> Option<String> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("file");
        fs::write(&path, content).expect("it is written");
        refusal(&path)
    }

    #[test]
    fn what_is_no_history_is_named_with_the_mend() {
        for (content, expected) in [
            (&b""[..], "the file is empty: expected a history"),
            (b"\n \n\n", "no event in its 3 lines, only blanks and comments"),
            (b"; nothing\n# either\n// nor here\n", "no event in its 3 lines"),
            (b"\x1f\x8b\x08\x00", "packed by gzip: unpack it with `gunzip -k FILE`"),
            (b"PK\x03\x04rest", "packed by zip"),
            (b"\x28\xb5\x2f\xfd", "packed by zstd"),
            (b"ab\x00\x01", "it is no text: byte 0x00 at offset 2"),
        ] {
            let told = said(content).expect("it is refused");
            assert!(told.contains(expected), "{told}");
        }
        for good in [&b"{:type :ok}\n"[..], b"#{1}", b"; a comment\n0\t:invoke\t:read\tnil\n", "caf\u{e9}".as_bytes()] {
            assert_eq!(said(good), None);
        }
    }

    #[test]
    fn a_directory_names_what_to_give() {
        let place = tempfile::tempdir().expect("a directory");
        let told = || directory(place.path());
        assert!(told().contains("nor anything that is named as a history"), "{}", told());
        fs::write(place.path().join("history.edn"), "").expect("it is written");
        assert!(told().contains("give the file") && told().ends_with("history.edn"), "{}", told());
        for name in ["a.log", "b.txt", "c.json", "d.edn", "e.edn"] {
            fs::write(place.path().join(name), "").expect("it is written");
        }
        assert!(told().ends_with("history.edn, a.log, b.txt, c.json, d.edn and 1 more"), "{}", told());
        fs::create_dir(place.path().join("latest")).expect("it is made");
        fs::write(place.path().join("latest/history.jsonl"), "").expect("it is written");
        assert!(told().ends_with("/latest"), "{}", told());
    }
}
