//! The kinds of violations: programs compare runs by them, so their names stay.

use hearsay_checkers::{CheckOptions, dsl, judge};

/// `kind count` of what a checker finds, that of the explanation first.
fn kinds(model: &str, text: &str) -> Vec<String> {
    let verdict = judge(&dsl::case(text).unwrap(), &[model], &CheckOptions::default()).unwrap().remove(0);
    verdict.kinds.iter().map(|found| format!("{} {}", found.kind, found.count)).collect()
}

#[test]
fn reads_are_stale_thin_air_too_early_or_of_what_failed() {
    let written = "p1 w x=5 [0..10]\np1 w x=7 [20..30]\n";
    for (reads, expected) in [
        ("p3 r x=7 [40..50]\np3 r x=5 [60..70]", &["stale-read 1"][..]),
        ("p3 r x=7 [40..50]\np3 r x=5 [60..70]\np3 r x=5 [80..90]", &["stale-read 2"]),
        ("p3 r x=9 [40..50]", &["thin-air 1"]),
        ("p3 r x=7 [40..50]\np3 r x=5 [60..70]\np3 r x=9 [80..90]", &["thin-air 1", "stale-read 1"]),
        ("p3 r x=7 [11..12]", &["read-before-write 1"]),
        ("p4 w x=8 [40..50] fail\np3 r x=8 [60..70]", &["failed-write-read 1"]),
        ("p4 d x [12..15]\np3 r x=7 [40..50]\np3 r x=null [60..70]", &["vanished 1"]),
        ("p3 r x=7 [40..50]", &[]),
    ] {
        assert_eq!(kinds("monotonic-reads", &format!("{written}{reads}")), expected, "{reads}");
    }
}

#[test]
fn what_is_there_at_the_end_is_lost_back_or_unequal() {
    let end = |held: [&str; 2], converged: &str| {
        format!("final replication=2{converged} deadline=1000\nfinal n1 x={}\nfinal n2 x={}", held[0], held[1])
    };
    let (in_time, written) = (" converged=100", "p1 w x=5 [0..10]\np2 w x=7 [20..30]\n");
    let lost = format!("{written}{}", end(["5", "5"], in_time));
    assert_eq!(kinds("acknowledged-writes", &lost), ["lost-write 1"]);
    assert_eq!(kinds("convergence", &lost), ["lost-write 1"]);
    let back = format!("p1 w x=5 [0..10]\np2 d x [20..30]\n{}", end(["5", "5"], in_time));
    assert_eq!(kinds("acknowledged-writes", &back), ["resurrection 1"]);
    let nobody = format!("{written}{}", end(["9", "9"], in_time));
    assert_eq!(kinds("convergence", &nobody), ["unwritten-value 1"]);
    let unequal = format!("{written}{}", end(["5", "7"], ""));
    assert_eq!(kinds("convergence", &unequal), ["not-equal 1"]);
    let no_longer = format!("{written}{}", end(["5", "7"], in_time));
    assert_eq!(kinds("convergence", &no_longer), ["equal-no-longer 1"]);
}
