//! A group of write batches on its way to the disk, as bytes.
//!
//! Each change is the length of its key, the length of its value or [`DELETION`] (4 bytes each, small end first), key, value.
//!
//! The driver's thread writes the bytes and the commit thread reads them: one piece of memory a group, used again. Keys and
//! values that one thread allocates and the other frees would make both wait for the allocator's lock.

use hearsay_core::WriteBatch;

/// A change of one key: its new value, or `None` for a deletion.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// Says that a change is a deletion, where the length of a value would stand.
const DELETION: u32 = u32::MAX;
/// An empty group keeps at most this much memory for the next.
const IDLE_BYTES_MAX: usize = 64 << 10;

/// Batches one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Group {
    encoded: Vec<u8>,
    batches: usize,
}

impl Group {
    /// Adds a batch at the end.
    pub(crate) fn push(&mut self, batch: &WriteBatch) {
        for (key, value) in &batch.puts {
            encode((key, Some(value)), &mut self.encoded);
        }
        for key in &batch.deletes {
            encode((key, None), &mut self.encoded);
        }
        self.batches += 1;
    }

    /// Adds all of `other`, and empties it.
    pub(crate) fn append(&mut self, other: &mut Group) {
        if self.batches == 0 {
            std::mem::swap(self, other);
        } else {
            self.encoded.extend_from_slice(&other.encoded);
            self.batches += other.batches;
        }
        other.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.encoded.clear();
        self.encoded.shrink_to(IDLE_BYTES_MAX);
        self.batches = 0;
    }

    /// How many batches it holds.
    pub(crate) fn len(&self) -> usize {
        self.batches
    }

    /// What they change, in order; see [`decode`].
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// Adds a change at the end of `to`.
pub(crate) fn encode((key, value): Change<'_>, to: &mut Vec<u8>) {
    let length =
        |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|length| *length < DELETION).expect("below 4 GiB");
    let value_bytes = value.unwrap_or_default();
    to.reserve(8 + key.len() + value_bytes.len());
    to.extend_from_slice(&length(key).to_le_bytes());
    to.extend_from_slice(&value.map_or(DELETION, length).to_le_bytes());
    to.extend_from_slice(key);
    to.extend_from_slice(value_bytes);
}

/// The first change in what [`encode`] has made, and the rest.
pub(crate) fn decode(encoded: &[u8]) -> Option<(Change<'_>, &[u8])> {
    let (key_length, rest) = encoded.split_first_chunk()?;
    let (value_length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    match u32::from_le_bytes(*value_length) {
        DELETION => Some(((key, None), rest)),
        length => rest.split_at_checked(length as usize).map(|(value, rest)| ((key, Some(value)), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(puts: &[(&str, &str)], deletes: &[&str]) -> WriteBatch {
        let puts = puts.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        WriteBatch { puts, deletes: deletes.iter().map(|key| (*key).into()).collect() }
    }

    fn read(group: &Group) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (mut seen, mut rest) = (Vec::new(), group.encoded());
        while !rest.is_empty() {
            let ((key, value), behind) = decode(rest).unwrap();
            seen.push((text(key), value.map(text)));
            rest = behind;
        }
        seen
    }

    #[test]
    fn changes_come_out_in_the_order_of_the_batches_and_puts_before_deletes() {
        let mut group = Group::default();
        group.push(&batch(&[("a", "1"), ("b", "")], &["c", "a"]));
        let mut later = Group::default();
        later.push(&batch(&[], &[]));
        later.push(&batch(&[("a", "2")], &[]));
        group.append(&mut later);
        assert_eq!((group.len(), later.len(), later.encoded()), (3, 0, [].as_slice()));
        let expected = [("a", Some("1")), ("b", Some("")), ("c", None), ("a", None), ("a", Some("2"))];
        assert_eq!(read(&group), expected.map(|(key, value)| (key.to_owned(), value.map(str::to_owned))));
        later.append(&mut group);
        assert_eq!((group.len(), group.encoded(), later.len()), (0, [].as_slice(), 3));
        assert_eq!(read(&later).len(), 5);
    }

    #[test]
    fn a_group_cut_anywhere_is_never_read_as_a_whole() {
        let mut group = Group::default();
        group.push(&batch(&[("key", "value")], &[]));
        for length in 0..group.encoded().len() {
            assert_eq!(decode(&group.encoded()[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn an_empty_group_keeps_little_memory() {
        let mut group = Group::default();
        group.push(&batch(&[("key", &"x".repeat(3 * IDLE_BYTES_MAX))], &[]));
        group.clear();
        assert!(group.encoded.capacity() <= IDLE_BYTES_MAX);
    }
}
