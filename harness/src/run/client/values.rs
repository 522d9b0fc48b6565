//! How the numbers of a history are stored in the cluster: as decimal text, so that `hearsay kv scan` shows them.

use hearsay_core::Value;

/// Stands in a history for bytes that no client ever wrote. No workload writes this number, so the checkers report a
/// read of it as a value out of thin air.
pub const FOREIGN_VALUE: u64 = u64::MAX;

/// What is stored for a number.
pub fn encode_value(number: u64) -> Value {
    Value(number.to_string().into_bytes())
}

/// The number that is stored; `Err` describes bytes that [`encode_value`] never makes.
///
/// # Errors
/// Corrupt bytes, as a sentence for the history.
pub fn decode_value(value: &Value) -> Result<u64, String> {
    let number = std::str::from_utf8(&value.0).ok().and_then(|text| text.parse::<u64>().ok());
    match number {
        Some(number) if number != FOREIGN_VALUE && encode_value(number) == *value => Ok(number),
        _ => {
            let shown = value.0.get(..32).unwrap_or(&value.0).escape_ascii();
            Err(format!("the node answered with {} bytes that no client wrote: {shown}", value.0.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_everything_else_is_corrupt() {
        for number in [0, 7, 10, u64::MAX - 1] {
            assert_eq!(decode_value(&encode_value(number)), Ok(number));
        }
        for bytes in [&b""[..], b"x", b"07", b"+7", b"7 ", b"\xff", b"18446744073709551615", b"18446744073709551616"] {
            let error = decode_value(&Value(bytes.to_vec())).unwrap_err();
            assert!(error.contains("no client wrote"), "{error}");
        }
    }
}
