//! Which rare branches of the node's code were taken, and which never: a campaign that stays away from a branch says
//! nothing about it.

use std::collections::BTreeMap;

use hearsay_core::{Mark, Marks, Reach};

/// Counters of marks in the status of a node begin with this.
pub const MARK_PREFIX: &str = "mark_";

/// How often each mark was hit, by name; marks that were not are left out.
pub fn by_name(marks: &Marks) -> BTreeMap<String, u64> {
    marks.hits().map(|(mark, count)| (mark.name().to_owned(), count)).collect()
}

/// Marks that faults and load can reach, and that were not hit.
pub fn never_hit(hits: &BTreeMap<String, u64>) -> Vec<Mark> {
    let reachable = Mark::ALL.iter().filter(|mark| mark.reach() == Reach::Faults);
    reachable.filter(|mark| !hits.contains_key(mark.name())).copied().collect()
}

/// A line about them, such as `marks: 37 of 44 hit; never: own_pause, stamp_tie`. `None`: nobody counted.
pub fn marks_line(hits: &BTreeMap<String, u64>) -> Option<String> {
    if hits.is_empty() {
        return None;
    }
    let never = never_hit(hits);
    let reachable = Mark::ALL.iter().filter(|mark| mark.reach() == Reach::Faults).count();
    let mut line = format!("marks: {} of {reachable} hit", reachable - never.len());
    let names = |marks: Vec<Mark>| marks.into_iter().map(Mark::name).collect::<Vec<_>>().join(", ");
    if !never.is_empty() {
        line.push_str(&format!("; never: {}", names(never)));
    }
    let strange = Mark::ALL.iter().filter(|mark| mark.reach() == Reach::Strangers && hits.contains_key(mark.name()));
    let strange: Vec<Mark> = strange.copied().collect();
    if !strange.is_empty() {
        line.push_str(&format!("; hit, though our own clients and nodes should not: {}", names(strange)));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_what_faults_can_reach_and_names_what_was_never_hit() {
        assert_eq!(marks_line(&BTreeMap::new()), None);
        let reachable = || Mark::ALL.iter().filter(|mark| mark.reach() == Reach::Faults);
        let mut hits: BTreeMap<String, u64> = reachable().map(|mark| (mark.name().to_owned(), 3)).collect();
        let all = hits.len();
        assert_eq!(marks_line(&hits), Some(format!("marks: {all} of {all} hit")));
        hits.remove("stamp_tie");
        hits.remove("own_pause");
        hits.insert("invalid".to_owned(), 1);
        let line = marks_line(&hits).unwrap();
        let expected = format!("marks: {} of {all} hit; never: stamp_tie, own_pause; hit, though", all - 2);
        assert!(line.starts_with(&expected) && line.ends_with(": invalid"), "{line}");
    }
}
