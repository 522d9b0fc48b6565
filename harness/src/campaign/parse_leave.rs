//! The fault `leave` of a campaign file: how many nodes, and with which disk they join again.

use super::mistakes::Mistake;
use super::parse_faults::read_sizes;
use super::reader::{Fields, Reader};
use super::types::{Size, Variant};
use crate::plan::Disk;

const DISKS_ALLOWED: &str = "kept, empty";

/// The variants of a `leave`: one for each number of nodes with each disk.
pub(super) fn read_leaves(fields: &Fields<'_>, nodes: Option<u16>, reader: &mut Reader) -> Option<Vec<Variant>> {
    let Some(join) = fields.get("join") else {
        return read_sizes(fields, nodes, |size| Variant::Leave(size, Disk::Kept), reader);
    };
    let mut variants = Vec::new();
    for item in reader.one_or_more(join, "join", DISKS_ALLOWED)? {
        let disk: Disk = reader.word(item, "join", DISKS_ALLOWED, |word| word.parse().ok())?;
        let of_disk = read_sizes(fields, nodes, |size| Variant::Leave(size, disk), reader)?;
        let takes_one = |variant: &Variant| matches!(variant, Variant::Leave(Size::Count(1), _));
        if disk == Disk::Empty && !of_disk.iter().all(takes_one) {
            let mistake = Mistake::new(item.place, "several nodes can't join with empty disks at once".to_owned());
            reader.note(mistake.mend("write `nodes: one`, and list larger ones as a `leave` of their own"));
            return None;
        }
        if of_disk.iter().any(|variant| variants.contains(variant)) {
            let mistake = Mistake::new(item.place, format!("{} is listed twice", item.describe()));
            reader.note(mistake.mend("remove one; for more of them raise `at_least`"));
            return None;
        }
        variants.extend(of_disk);
    }
    Some(variants)
}
