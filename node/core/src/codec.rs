//! The wire: a version byte, then postcard. One frame is one message; the driver adds a length in front on streams that
//! carry many.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

/// First byte of every frame. Raised with every change of a message type.
pub const FRAME_VERSION: u8 = 4;
/// Longest frame in bytes, the version byte included. Every message is built to stay below.
pub const FRAME_LENGTH_MAX: usize = 1 << 20;

/// Why a frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No byte at all.
    #[error("the frame is empty")]
    Empty,
    /// Longer than [`FRAME_LENGTH_MAX`].
    #[error("the frame has {0} bytes, the limit is {FRAME_LENGTH_MAX}")]
    TooLong(usize),
    /// Another version byte.
    #[error("the frame has version {0}, this build speaks version {FRAME_VERSION}: run the same release on every node")]
    Version(u8),
    /// Not a message of this type, or with bytes left over.
    #[error("the frame is not a message of this protocol")]
    Malformed,
}

/// A frame holding `message`.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Room for a small value, so that most frames never grow.
    let mut frame = Vec::with_capacity(192);
    frame.push(FRAME_VERSION);
    let frame = postcard::to_extend(message, frame).expect("messages of this crate always serialize");
    assert!(frame.len() <= FRAME_LENGTH_MAX, "a message of {} bytes was built, above the frame limit", frame.len());
    frame
}

/// The message in `frame`; every byte must belong to it.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, CodecError> {
    if frame.len() > FRAME_LENGTH_MAX {
        return Err(CodecError::TooLong(frame.len()));
    }
    let (&version, body) = frame.split_first().ok_or(CodecError::Empty)?;
    if version != FRAME_VERSION {
        return Err(CodecError::Version(version));
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(CodecError::Malformed),
    }
}
