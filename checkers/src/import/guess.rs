//! Which format a file has, from its first bytes.

use super::{Format, log};

/// The format that the beginning of a file looks like; `None`: none that is known.
pub(super) fn guess(window: &[u8]) -> Option<Format> {
    let start = beginning(window);
    match start {
        [b'{', ..] => Some(of_map(start)),
        // Sessions of transactions, without anything around them.
        [b'[', rest @ ..] if beginning(rest).first() == Some(&b'[') && has(start, b"\"events\"") => Some(Format::Dbcop),
        [b'[' | b'(', rest @ ..] => {
            let first = beginning(rest);
            Some(if first.first() == Some(&b'{') { of_map(first) } else { Format::Edn })
        }
        [b'#', b'{' | b'_' | b'a'..=b'z', ..] => Some(Format::Edn),
        [b'w' | b'r', b'(', ..] => Some(Format::Plume),
        [b'w' | b'r', b' ' | b'\t', ..] | [b'-', b'-', ..] | [b'=', b'=', ..] => Some(Format::Awdit),
        _ => window.split(|byte| *byte == b'\n').any(log::is_operation).then_some(Format::Log),
    }
}

/// An object in quotes is JSON, unless that is EDN with strings as keys, which nobody writes for operations.
fn of_map(window: &[u8]) -> Format {
    let first = beginning(&window[1..]);
    if first.first() != Some(&b'"') {
        return Format::Edn;
    }
    let names = |name: &[u8]| window.windows(name.len()).position(|part| part == name);
    match (names(b"\"type\""), names(b"\"data\"").or_else(|| names(b"\"params\""))) {
        (None, Some(_)) => Format::Dbcop,
        (Some(op), Some(data)) if data < op => Format::Dbcop,
        _ => Format::Json,
    }
}

fn has(window: &[u8], name: &[u8]) -> bool {
    window.windows(name.len()).any(|part| part == name)
}

/// What follows blanks, commas, comments and a byte order mark.
fn beginning(mut window: &[u8]) -> &[u8] {
    window = window.strip_prefix(b"\xef\xbb\xbf").unwrap_or(window);
    loop {
        match window {
            [b' ' | b'\n' | b'\r' | b'\t' | b',', rest @ ..] => window = rest,
            [b';', ..] => match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => window = &window[end + 1..],
                None => return &[],
            },
            _ => return window,
        }
    }
}
