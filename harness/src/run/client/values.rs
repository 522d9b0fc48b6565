//! How the numbers of a history are stored in the cluster: as decimal text, so that `hearsay kv scan` shows them. A large
//! value is its number over and over (`311|311|311|3`), so that bytes of another value in it are noticed.

use hearsay_core::Value;

/// Stands in a history for bytes that no client ever wrote. No workload writes this number, so the checkers report a
/// read of it as a value out of thin air.
pub const FOREIGN_VALUE: u64 = u64::MAX;

/// Between the repetitions of a number in a large value.
const SEPARATOR: u8 = b'|';

/// What is stored for a number.
pub fn encode_value(number: u64) -> Value {
    Value(number.to_string().into_bytes())
}

/// What is stored for a number in a value of so many bytes; of more, where the number alone has more.
pub fn encode_value_of(number: u64, bytes: usize) -> Value {
    let mut text = number.to_string().into_bytes();
    if text.len() < bytes {
        text.push(SEPARATOR);
        text = text.iter().copied().cycle().take(bytes).collect();
    }
    Value(text)
}

/// The number that is stored; `Err` describes bytes that [`encode_value_of`] never makes.
///
/// # Errors
/// Corrupt bytes, as a sentence for the history.
pub fn decode_value(value: &Value) -> Result<u64, String> {
    let digits = value.0.split(|byte| *byte == SEPARATOR).next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
    match number {
        Some(number) if number != FOREIGN_VALUE && encode_value_of(number, value.0.len()) == *value => Ok(number),
        _ => Err(foreign(value)),
    }
}

/// Says that nobody wrote these bytes.
pub(super) fn foreign(value: &Value) -> String {
    let shown = value.0.get(..32).unwrap_or(&value.0).escape_ascii();
    format!("the node answered with {} bytes that no client wrote: {shown}", value.0.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_everything_else_is_corrupt() {
        for number in [0, 7, 10, u64::MAX - 1] {
            assert_eq!(decode_value(&encode_value(number)), Ok(number));
            for bytes in [1, 2, 5, 64, 65_536] {
                let value = encode_value_of(number, bytes);
                assert!(value.0.len() >= bytes);
                assert_eq!(decode_value(&value), Ok(number));
            }
        }
        for bytes in [
            &b""[..],
            b"x",
            b"07",
            b"+7",
            b"7 ",
            b"\xff",
            b"18446744073709551615",
            b"18446744073709551616",
            b"|7",
            b"7|8",
            b"12|12|13",
            b"12|12\n12|",
        ] {
            let error = decode_value(&Value(bytes.to_vec())).unwrap_err();
            assert!(error.contains("no client wrote"), "{error}");
        }
    }
}
