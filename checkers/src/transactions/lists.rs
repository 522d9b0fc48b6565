//! Lists show their history: the longest list that was read of a key is the order of its versions.
//!
//! Appends that no read shows follow all that are in the longest list (otherwise it would contain them); their order among
//! themselves is not known. Elements of aborted transactions are left out of the order, they are anomalies by themselves.
//!
//! Source: Kingsbury and Alvaro, Elle, 2020, section 4 (traceability).

use super::graph::{Edge, RW, WR, WW};
use super::history::{Key, List, TransactionHistory, TransactionId};
use super::level::Anomaly;
use super::notation::list_text;
use super::observed::{INITIAL, ListRead, Observed, source};
use super::story::{Findings, name};

/// Appends of one key that nobody saw are all linked with each other's readers up to this many.
const UNSEEN_MAX: usize = 32;

/// Orders of the versions of lists.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// ww, wr and rw.
    pub(crate) edges: Vec<Edge>,
    /// The longest list of each key that is one.
    pub(crate) longest: Vec<List>,
    /// Per key: transactions in the order of their versions, once per run of elements.
    pub(crate) writers: Vec<Vec<u32>>,
    /// Per key: transactions whose appends nobody saw.
    pub(crate) unseen: Vec<Vec<u32>>,
    /// Keys of which more appends were not seen than can be linked.
    pub(crate) left_out: Option<Key>,
}

impl Lists {
    /// A key of which several appends were not seen, so that their order is open.
    pub(crate) fn open_key(&self) -> Option<Key> {
        self.unseen.iter().position(|unseen| unseen.len() > 1).map(|key| Key(key as u32))
    }
}

/// Orders the versions of every list.
pub(crate) fn order(history: &TransactionHistory, observed: &mut Observed, findings: &mut Findings) -> Lists {
    let keys = history.key_count();
    let mut lists = Lists {
        longest: vec![List::EMPTY; keys],
        writers: vec![Vec::new(); keys],
        unseen: vec![Vec::new(); keys],
        ..Lists::default()
    };
    // Reads by key, those of one key in the order of the history.
    let mut reads: Vec<ListRead> = observed.list_reads.clone();
    reads.sort_by_key(|read| read.key);
    let mut seen_in = vec![0_u32; observed.writers.by_number.len()];
    let mut looks = 0;
    for reads in reads.chunk_by(|one, other| one.key == other.key) {
        // The first of the longest ones.
        let mut longest = reads[0];
        for read in reads {
            if read.list.len() > longest.list.len() {
                longest = *read;
            }
        }
        lists.longest[longest.key as usize] = longest.list;
        looks += 1;
        element_writers(history, observed, findings, longest, &mut seen_in, looks);
        let order = history.list(longest.list);
        for read in reads {
            let list = history.list(read.list);
            if !order.starts_with(list) {
                looks += 1;
                element_writers(history, observed, findings, *read, &mut seen_in, looks);
                findings.add(
                    Anomaly::IncompatibleOrder,
                    &[TransactionId(longest.reader), TransactionId(read.reader)],
                    || incompatible(history, longest, *read),
                );
            }
        }
    }
    lists
}

fn incompatible(history: &TransactionHistory, longest: ListRead, read: ListRead) -> String {
    let key = history.key_name(Key(read.key));
    let (long, short) = (history.list(longest.list), history.list(read.list));
    let at = long.iter().zip(short).position(|(one, other)| one != other).expect("none is a prefix of the other");
    format!(
        "{} read {key} = {} and {} read {}: they differ from element {} on.",
        name(history, TransactionId(longest.reader)),
        list_text(history, long),
        name(history, TransactionId(read.reader)),
        list_text(history, short),
        at + 1
    )
}

/// Looks up who appended the elements of a list; they count as seen.
fn element_writers(
    history: &TransactionHistory,
    observed: &mut Observed,
    findings: &mut Findings,
    read: ListRead,
    seen_in: &mut [u32],
    look: u32,
) {
    let (reader, key) = (TransactionId(read.reader), Key(read.key));
    let elements = history.list(read.list);
    let shown = || format!("{} = {}", history.key_name(key), list_text(history, elements));
    let (mut aborted, mut is_told) = (None, false);
    for (at, element) in elements.iter().enumerate() {
        let number = observed.writers.number(key.0, *element);
        if let Some(number) = number {
            let writer = &mut observed.writers.by_number[number as usize];
            if std::mem::replace(&mut seen_in[number as usize], look) == look {
                findings.add(Anomaly::DuplicateElements, &[reader], || {
                    let element = history.value_text(*element);
                    format!("{} read {}, with {element} in it twice.", name(history, reader), shown())
                });
            }
            if writer.transaction == read.reader {
                continue;
            }
            if seen_in.get(writer.previous as usize).is_some_and(|seen| *seen != look) {
                let writer = TransactionId(writer.transaction);
                findings.add(Anomaly::IncompatibleOrder, &[writer, reader], || {
                    let (writer, element) = (name(history, writer), history.value_text(*element));
                    let reader = name(history, reader);
                    format!("{reader} read {}, without what {writer} had appended before {element}.", shown())
                });
            }
            let outcome = history.transaction(TransactionId(writer.transaction)).outcome;
            if outcome != crate::Outcome::Fail {
                writer.is_seen = true;
                if let Some((aborted, value)) = aborted.filter(|_| !is_told) {
                    is_told = true;
                    let writer = TransactionId(writer.transaction);
                    findings.add(Anomaly::DirtyUpdate, &[aborted, writer, reader], || {
                        let (element, value) = (history.value_text(*element), history.value_text(value));
                        format!(
                            "{} appended {element} after the {value} of {}, which was aborted: {} read {}.",
                            name(history, writer),
                            name(history, aborted),
                            name(history, reader),
                            shown()
                        )
                    });
                }
                continue;
            }
            aborted = Some((TransactionId(writer.transaction), *element));
        }
        // The last external one was looked at with the read.
        if at + 1 != elements.len() {
            source(history, observed, findings, reader, key, *element, false, &shown);
        }
    }
}

/// The edges, once it is known who took part.
pub(crate) fn link(history: &TransactionHistory, observed: &Observed, lists: &mut Lists) {
    let keys = history.key_count();
    // Per key and position: the next writer that took part.
    let mut next: Vec<Vec<u32>> = vec![Vec::new(); keys];
    let mut is_shown = vec![false; history.transactions().len()];
    // Transactions that wrote lists, by key.
    let mut by_key: Vec<Vec<u32>> = vec![Vec::new(); keys];
    for (id, _) in history.iter() {
        for key in observed.writes.of(id.0).iter().filter(|key| observed.is_list[**key as usize]) {
            by_key[*key as usize].push(id.0);
        }
    }
    for key in 0..keys {
        let elements = history.list(lists.longest[key]);
        let writers: Vec<u32> = elements
            .iter()
            .map(|element| {
                let number = observed.writers.number(key as u32, *element);
                let writer = number.map(|number| observed.writers.by_number[number as usize].transaction);
                writer.filter(|writer| observed.took_part[*writer as usize]).unwrap_or(INITIAL)
            })
            .collect();
        let mut order: Vec<u32> = writers.iter().copied().filter(|writer| *writer != INITIAL).collect();
        order.dedup();
        for pair in order.windows(2) {
            lists.edges.push(Edge { from: pair[0], to: pair[1], kind: WW, origin: key as u32 });
        }
        let mut after = INITIAL;
        let mut following = vec![INITIAL; writers.len() + 1];
        for (at, writer) in writers.iter().enumerate().rev() {
            if *writer != INITIAL {
                after = *writer;
            }
            following[at] = after;
        }
        next[key] = following;
        // Shown is whose last append is.
        let finals = elements.iter().filter_map(|element| observed.writers.number(key as u32, *element));
        let finals: Vec<u32> = finals
            .map(|number| observed.writers.by_number[number as usize])
            .filter(|writer| writer.is_final)
            .map(|writer| writer.transaction)
            .collect();
        finals.iter().for_each(|writer| is_shown[*writer as usize] = true);
        let unseen: Vec<u32> = by_key[key].iter().copied().filter(|writer| !is_shown[*writer as usize]).collect();
        finals.iter().for_each(|writer| is_shown[*writer as usize] = false);
        if unseen.len() > UNSEEN_MAX {
            lists.left_out.get_or_insert(Key(key as u32));
        }
        if let Some(from) = order.last() {
            let linked = unseen.iter().take(UNSEEN_MAX);
            lists.edges.extend(linked.filter(|to| *to != from).map(|to| Edge {
                from: *from,
                to: *to,
                kind: WW,
                origin: key as u32,
            }));
        }
        lists.writers[key] = order;
        lists.unseen[key] = unseen;
    }
    for read in &observed.list_reads {
        let key = read.key as usize;
        let list = history.list(read.list);
        if !history.list(lists.longest[key]).starts_with(list) {
            continue;
        }
        if let Some(last) = list.len().checked_sub(1)
            && let Some(number) = observed.writers.number(read.key, list[last])
        {
            let from = observed.writers.by_number[number as usize].transaction;
            if from != read.reader && observed.took_part[from as usize] {
                lists.edges.push(Edge { from, to: read.reader, kind: WR, origin: read.key });
            }
        }
        match next[key][list.len()] {
            INITIAL => {
                let unseen = lists.unseen[key].iter().take(UNSEEN_MAX).filter(|to| **to != read.reader);
                let edges = unseen.map(|to| Edge { from: read.reader, to: *to, kind: RW, origin: read.key });
                lists.edges.extend(edges);
            }
            to if to != read.reader => {
                lists.edges.push(Edge { from: read.reader, to, kind: RW, origin: read.key });
            }
            _ => {}
        }
    }
}
