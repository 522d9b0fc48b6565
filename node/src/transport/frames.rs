//! Frames on a stream that carries many: a length of four bytes, big end first, then the frame. Length 0 is a probe without
//! meaning.

use hearsay_core::codec::{self, CodecError, FRAME_LENGTH_MAX};
use quinn::{ReadError, RecvStream};
use serde::de::DeserializeOwned;

use crate::counters::Counters;

/// Bytes of the length.
pub(crate) const LENGTH_BYTES: usize = 4;
/// An idle stream keeps at most this much buffer.
const IDLE_BUFFER_MAX: usize = 16 << 10;
/// Bytes asked of the stream at once.
const CHUNK_MAX: usize = 64 << 10;

/// Appends `frame` with its length.
pub(crate) fn append(frame: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(frame.len()).expect("frames stay below their limit");
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(frame);
}

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Stream(#[from] ReadError),
    #[error("the stream ended")]
    Ended,
    #[error("the stream ended within a frame")]
    Truncated,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl FrameError {
    /// Whether the other side broke the protocol, as against a connection that ended.
    pub(crate) fn is_violation(&self) -> bool {
        !matches!(self, FrameError::Stream(_) | FrameError::Ended)
    }

    pub(crate) fn count(&self, counters: &Counters) {
        match self {
            FrameError::Stream(_) | FrameError::Ended => {}
            FrameError::Truncated => counters.transport_frames_truncated.one(),
            FrameError::Codec(error) => count_codec(error, counters),
        }
    }
}

/// Counts a refused frame under its reason.
pub(crate) fn count_codec(error: &CodecError, counters: &Counters) {
    match error {
        CodecError::Empty => counters.transport_frames_truncated.one(),
        CodecError::TooLong(_) => counters.transport_frames_oversized.one(),
        CodecError::Version(_) => counters.transport_frames_version.one(),
        CodecError::Malformed => counters.transport_frames_malformed.one(),
    }
}

/// Cuts what comes in into frames.
#[derive(Debug, Default)]
struct Cutter {
    buffer: Vec<u8>,
    begin: usize,
}

impl Cutter {
    fn push(&mut self, bytes: &[u8]) {
        if self.begin == self.buffer.len() {
            self.buffer.clear();
            self.begin = 0;
            self.buffer.shrink_to(IDLE_BUFFER_MAX);
        } else if self.begin > CHUNK_MAX {
            self.buffer.drain(..self.begin);
            self.begin = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, without probes.
    fn cut(&mut self) -> Result<Option<&[u8]>, CodecError> {
        loop {
            let rest = &self.buffer[self.begin..];
            let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
            let length = u32::from_be_bytes(*length) as usize;
            if length > FRAME_LENGTH_MAX {
                return Err(CodecError::TooLong(length));
            }
            if after.len() < length {
                return Ok(None);
            }
            let begin = self.begin + LENGTH_BYTES;
            self.begin = begin + length;
            if length > 0 {
                return Ok(Some(&self.buffer[begin..begin + length]));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.buffer.len()
    }
}

/// Reads frames of one stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvStream,
    cutter: Cutter,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> FrameReader {
        FrameReader { stream, cutter: Cutter::default() }
    }

    /// The first byte of the stream.
    pub(crate) async fn lane_byte(&mut self) -> Result<u8, FrameError> {
        match self.stream.read_chunk(1, true).await? {
            Some(chunk) if chunk.bytes.len() == 1 => Ok(chunk.bytes[0]),
            _ => Err(FrameError::Truncated),
        }
    }

    /// The next message. After an error nothing more can be read.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        loop {
            if let Some(frame) = self.cutter.cut()? {
                return Ok(codec::decode(frame)?);
            }
            match self.stream.read_chunk(CHUNK_MAX, true).await? {
                Some(chunk) => self.cutter.push(&chunk.bytes),
                None if self.cutter.is_empty() => return Err(FrameError::Ended),
                None => return Err(FrameError::Truncated),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let frames: Vec<Vec<u8>> = vec![vec![1; 3], vec![2; 70_000], vec![3], vec![4; FRAME_LENGTH_MAX], vec![5; 9]];
        let mut bytes = Vec::new();
        for frame in &frames {
            append(&[], &mut bytes);
            append(frame, &mut bytes);
        }
        for step in [1, 7, 65_536, bytes.len()] {
            let mut cutter = Cutter::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                cutter.push(chunk);
                while let Some(frame) = cutter.cut().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert!(seen == frames && cutter.is_empty(), "in steps of {step}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_frame_arrives() {
        let mut cutter = Cutter::default();
        cutter.push(&(FRAME_LENGTH_MAX as u32 + 1).to_be_bytes());
        assert_eq!(cutter.cut(), Err(CodecError::TooLong(FRAME_LENGTH_MAX + 1)));
    }
}
