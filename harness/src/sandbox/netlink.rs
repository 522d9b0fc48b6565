//! Netlink by hand: messages, nested attributes, one blocking-free exchange per batch.
//!
//! Both users, the network (NETLINK_ROUTE) and the firewall (NETLINK_NETFILTER), want *many changes in one system call*, which the
//! request-and-answer interface of the usual crates does not give. The kernel works off a whole buffer inside `send`, so every
//! answer is already waiting when it returns and nothing here ever blocks.
//!
//! Invariants: an acknowledgement is asked for the last message of a buffer only (one for each would overflow the receive
//! buffer at a few hundred), errors are reported for each message regardless; a buffer counts as accepted only when that last
//! acknowledgement was seen. A single attribute never exceeds 65,535 bytes, the length field being 16 bits wide.

use std::io;

use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use rtnetlink::sys::Socket;

/// `NLM_F_REQUEST`: every message to the kernel carries it.
pub(crate) const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
/// `NLM_F_EXCL`: fail when the object exists.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make the object.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: at the end of a list (rules).
pub(crate) const APPEND: u16 = 0x800;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;

const HEADER_BYTES: usize = 16;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
/// Larger than any single datagram that the kernel makes for a dump (32 KiB).
const RECEIVE_BYTES: usize = 256 * 1024;
/// Dumps that ran into concurrent changes are started again this often.
const DUMP_ATTEMPTS_MAX: usize = 5;

/// What went wrong with a buffer of messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    /// The socket itself.
    #[error("{what}: {source}")]
    Socket {
        /// Which step.
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The kernel refused messages.
    #[error(
        "the kernel refused {refused} of {sent} netlink messages, first message {index} of kind {kind:#x}: {reason}"
    )]
    Refused {
        /// How many were refused.
        refused: usize,
        /// How many were sent.
        sent: usize,
        /// Position of the first refused message in its buffer.
        index: u32,
        /// Its type.
        kind: u16,
        /// The error and the kernel's own explanation, if it gave one.
        reason: String,
        /// The number of the error.
        errno: i32,
    },
    /// The acknowledgement is missing.
    #[error("the kernel gave no acknowledgement for {0} netlink messages")]
    Silent(usize),
    /// A dump that never settled.
    #[error("a netlink dump was interrupted by changes {0} times in a row")]
    Restless(usize),
}

impl NetlinkError {
    /// The error number behind it, 0 when there is none.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            NetlinkError::Socket { source, .. } => source.raw_os_error().unwrap_or(0),
            NetlinkError::Refused { errno, .. } => *errno,
            NetlinkError::Silent(_) | NetlinkError::Restless(_) => 0,
        }
    }
}

/// Messages on their way to the kernel.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Batch {
    /// Appends a message; `fill` writes what follows its header.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Writer<'_>)) {
        let start = self.open(kind, flags);
        fill(&mut Writer { bytes: &mut self.bytes });
        self.close(start);
    }

    /// Appends a message whose body is `len` bytes, written by `emit`.
    pub(crate) fn raw(&mut self, kind: u16, flags: u16, len: usize, emit: impl FnOnce(&mut [u8])) {
        let start = self.open(kind, flags);
        self.bytes.resize(start + HEADER_BYTES + len, 0);
        emit(&mut self.bytes[start + HEADER_BYTES..]);
        self.close(start);
    }

    /// Number of messages.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Size in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn open(&mut self, kind: u16, flags: u16) -> usize {
        let start = self.bytes.len();
        let sequence = self.starts.len() as u32;
        self.starts.push(start);
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn kind(&self, index: usize) -> u16 {
        let start = self.starts[index];
        u16::from_ne_bytes([self.bytes[start + 4], self.bytes[start + 5]])
    }

    fn ask_for_acknowledgement(&mut self, index: usize) {
        let at = self.starts[index] + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }
}

/// Writes headers and attributes into a message.
pub(crate) struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Bytes as they are: a family's fixed header.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute of bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |writer| writer.bytes.extend_from_slice(value));
    }

    /// An attribute of a string with its closing zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |writer| {
            writer.bytes.extend_from_slice(value.as_bytes());
            writer.bytes.push(0);
        });
    }

    /// An attribute of 32 bits in network order, as netfilter has them.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute of attributes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Writer<'_>)) {
        self.attribute(kind | NESTED, fill);
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Writer<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Writer { bytes: self.bytes });
        let length = self.bytes.len() - start;
        let length = u16::try_from(length).expect("a netlink attribute holds at most 65,535 bytes: split it");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// The attributes in `bytes`, as (kind, value). Stops at the first that is cut short.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, kind) = (read_u16(rest, 0)? as usize, read_u16(rest, 2)? & TYPE_MASK);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A netlink socket in the network namespace of the thread that opens it.
pub(crate) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    send_bytes_max: usize,
}

impl Netlink {
    /// Opens one for a protocol (`rtnetlink::sys::protocols`).
    pub(crate) fn open(protocol: isize) -> Result<Netlink, NetlinkError> {
        let failed = |what| move |source| NetlinkError::Socket { what, source };
        let mut socket = Socket::new(protocol).map_err(failed("can't open a netlink socket"))?;
        socket.bind_auto().map_err(failed("can't bind a netlink socket"))?;
        socket.set_cap_ack(true).map_err(failed("can't set up a netlink socket"))?;
        // Explanations in words; kernels before 4.12 have none.
        let _ = socket.set_ext_ack(true);
        // Above the system's limit only with CAP_NET_ADMIN; without it we live with what there is.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
        Ok(Netlink { socket, buffer: Vec::with_capacity(RECEIVE_BYTES), send_bytes_max: 0 })
    }

    /// Sends a buffer of messages and checks that the kernel accepted all of them. `acknowledged` is the index of the message
    /// asked for an acknowledgement: the last one, except that netfilter's end of batch does not answer on older kernels.
    pub(crate) fn execute(&mut self, mut batch: Batch, acknowledged: usize) -> Result<(), NetlinkError> {
        assert!(acknowledged < batch.len(), "the acknowledged message is one of the batch");
        batch.ask_for_acknowledgement(acknowledged);
        self.make_room(batch.size_bytes());
        self.discard();
        self.send(&batch)?;
        let mut done = false;
        let mut refused: Option<NetlinkError> = None;
        let mut refusals = 0;
        while self.receive()? {
            for message in messages(&self.buffer) {
                if message.kind != TYPE_ERROR {
                    continue;
                }
                let errno = -read_i32(message.body, 0).unwrap_or(0);
                if errno == 0 {
                    done |= message.sequence as usize == acknowledged;
                    continue;
                }
                refusals += 1;
                if refused.is_none() {
                    let index = message.sequence;
                    refused = Some(NetlinkError::Refused {
                        refused: 0,
                        sent: batch.len(),
                        index,
                        kind: if (index as usize) < batch.len() { batch.kind(index as usize) } else { 0 },
                        reason: reason(errno, message.body),
                        errno,
                    });
                }
            }
        }
        match refused {
            Some(NetlinkError::Refused { sent, index, kind, reason, errno, .. }) => {
                Err(NetlinkError::Refused { refused: refusals, sent, index, kind, reason, errno })
            }
            Some(other) => Err(other),
            None if done => Ok(()),
            None => Err(NetlinkError::Silent(batch.len())),
        }
    }

    /// Asks for a dump; `each` gets the body of every message of it. A dump that changes ran into is begun again, after `restart`.
    pub(crate) fn dump<State: Default>(
        &mut self,
        kind: u16,
        fill: impl Fn(&mut Writer<'_>),
        mut each: impl FnMut(&mut State, &[u8]),
    ) -> Result<State, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS_MAX {
            let mut state = State::default();
            let mut batch = Batch::default();
            batch.message(kind, DUMP, &fill);
            self.discard();
            self.send(&batch)?;
            let (mut done, mut interrupted) = (false, false);
            while !done && self.receive()? {
                for message in messages(&self.buffer) {
                    interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                    match message.kind {
                        TYPE_DONE => done = true,
                        TYPE_ERROR => {
                            let errno = -read_i32(message.body, 0).unwrap_or(0);
                            let reason = reason(errno, message.body);
                            return Err(NetlinkError::Refused { refused: 1, sent: 1, index: 0, kind, reason, errno });
                        }
                        _ => each(&mut state, message.body),
                    }
                }
            }
            if !done {
                return Err(NetlinkError::Silent(1));
            }
            if !interrupted {
                return Ok(state);
            }
        }
        Err(NetlinkError::Restless(DUMP_ATTEMPTS_MAX))
    }

    fn send(&self, batch: &Batch) -> Result<(), NetlinkError> {
        match self.socket.send(&batch.bytes, 0) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Socket { what: "can't send to the kernel over netlink", source }),
        }
    }

    /// Grows the send buffer for a large batch. SO_SNDBUFFORCE needs CAP_NET_ADMIN over the namespace, else the system's limit holds
    /// and `send` says EMSGSIZE.
    fn make_room(&mut self, bytes: usize) {
        let wanted = bytes.saturating_mul(2).max(1 << 20);
        if wanted > self.send_bytes_max
            && (setsockopt(&self.socket, sockopt::SndBufForce, &wanted).is_ok()
                || setsockopt(&self.socket, sockopt::SndBuf, &wanted).is_ok())
        {
            self.send_bytes_max = wanted;
        }
    }

    /// The next datagram into the buffer; false when there is none.
    fn receive(&mut self) -> Result<bool, NetlinkError> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer, MsgFlags::MSG_DONTWAIT.bits()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(source) => Err(NetlinkError::Socket { what: "can't receive from the kernel over netlink", source }),
        }
    }

    /// Throws away what an exchange that ended early left behind. An overrun shows up here once and is over then.
    fn discard(&mut self) {
        while !matches!(self.receive(), Ok(false)) {}
    }
}

struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = read_i32(rest, 0)? as u32 as usize;
        let body = rest.get(HEADER_BYTES..length)?;
        let message =
            Received { kind: read_u16(rest, 4)?, flags: read_u16(rest, 6)?, sequence: read_i32(rest, 8)? as u32, body };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The error in words, with the kernel's own explanation where it gave one (after the header of the message it answers).
fn reason(errno: i32, body: &[u8]) -> String {
    let words = io::Error::from_raw_os_error(errno).to_string();
    let explained = body.get(4 + HEADER_BYTES..).and_then(|extended| attribute(extended, 1));
    match explained {
        Some(text) => format!("{words} ({})", String::from_utf8_lossy(text).trim_end_matches('\0')),
        None => words,
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_written() {
        let mut batch = Batch::default();
        batch.message(7, 0, |m| {
            m.text(1, "abc");
            m.nested(2, |m| m.be32(3, 0x0102_0304));
        });
        let message = messages(&batch.bytes).next().expect("one message");
        assert_eq!(message.kind, 7);
        assert_eq!(message.flags, REQUEST);
        assert_eq!(attribute(message.body, 1), Some(&b"abc\0"[..]));
        let nested = attribute(message.body, 2).expect("the nested attribute");
        assert_eq!(attribute(nested, 3), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(message.body, 9), None);
    }

    #[test]
    fn garbage_ends_the_iteration_and_never_panics() {
        for bytes in [&[][..], &[1], &[3, 0, 1, 0], &[255, 255, 1, 0, 5], &[0; 16], &[0xff; 40]] {
            assert!(attributes(bytes).take(100).count() < 100);
            assert!(messages(bytes).take(100).count() < 100);
        }
    }
}
