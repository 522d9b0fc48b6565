//! Where histories stand among the models, in words and pictures.

use hearsay_checkers::import::{ImportOptions, read_recording};
use hearsay_checkers::transactions::{Level, TransactionHistory};
use hearsay_checkers::{Case, CheckOptions, Judgement, checkers, dsl, judge, strongest, timeline_svg};

fn lattice(text: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let lattice = strongest(&dsl::case(text).unwrap(), &CheckOptions::default());
    (lattice.strongest(), lattice.weakest_broken())
}

#[test]
fn litmus_tests_stand_where_the_papers_put_them() {
    // One copy: everything holds.
    let (strongest, broken) = lattice("p1 w x=1 [0..10]\np1 w x=2 [20..30]\np2 r x=2 [40..50]\np2 r x=2 [60..70]");
    assert_eq!((strongest, broken), (vec!["linearizable"], vec![]));
    // Sessions see two concurrent writes in different orders: causal memory, but nothing with one order of versions.
    let (strongest, broken) = lattice(
        "p1 w x=1 [0..10]\np2 w x=2 [0..10]\np3 r x=1 [20..30]\np3 r x=2 [40..50]\np4 r x=2 [20..30]\np4 r x=1 [40..50]",
    );
    assert_eq!(strongest, ["two-atomic", "regular", "causal-memory"]);
    assert_eq!(broken, ["monotonic-reads"]);
    // CCv, but not CM (Bouajjani et al. 2017).
    let (strongest, broken) = lattice(
        "p1 w z=1 [0..10]\np1 w x=1 [20..30]\np1 w y=1 [40..50]\np2 w x=2 [0..10]\np2 r z=null [20..30]\n\
         p2 r y=1 [60..70]\np2 r x=2 [80..90]",
    );
    assert!(strongest.contains(&"causal-convergence") && !strongest.contains(&"causal-memory"), "{strongest:?}");
    assert!(broken.contains(&"pram"), "{broken:?}");
    // Stale, but in order: sequential per key, not regular.
    let (strongest, broken) = lattice(
        "p1 w x=1 [0..10]\np1 w x=2 [20..30]\np2 r x=1 [40..50]\np2 r x=1 [51..52]\np2 r x=2 [60..70]\np2 r x=2 [80..90]",
    );
    assert!(strongest.contains(&"sequential") && strongest.contains(&"two-atomic"), "{strongest:?}");
    assert_eq!(broken, ["safe"]);
}

#[test]
fn every_model_of_the_lattice_has_a_checker_and_a_line_in_table_and_picture() {
    let case = dsl::case("p1 w x=1 [0..10]\np1 w x=2 [20..30]\np2 r x=2 [40..50]\np2 r x=1 [60..70]").unwrap();
    let lattice = strongest(&case, &CheckOptions::default());
    let (text, svg) = (lattice.to_text(), lattice.to_svg());
    for standing in &lattice.standings {
        assert!(checkers().iter().any(|checker| checker.name == standing.model));
        assert!(text.contains(standing.model) && svg.contains(standing.model), "{}", standing.model);
    }
    assert!(text.contains("Weakest that are broken:"), "{text}");
    println!("{text}");
    // To be looked at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/lattice.svg"), svg).unwrap();
}

#[test]
fn histories_of_transactions_stand_among_isolation_levels() {
    // Write skew: each reads what the other overwrites.
    let skew = "{:process 0, :type :invoke, :f :txn, :value [[:append x 1] [:r y nil]]}\n\
                {:process 1, :type :invoke, :f :txn, :value [[:append y 1] [:r x nil]]}\n\
                {:process 0, :type :ok, :f :txn, :value [[:append x 1] [:r y []]]}\n\
                {:process 1, :type :ok, :f :txn, :value [[:append y 1] [:r x []]]}\n\
                {:process 2, :type :invoke, :f :txn, :value [[:r x nil] [:r y nil]]}\n\
                {:process 2, :type :ok, :f :txn, :value [[:r x [1]] [:r y [1]]]}\n";
    let of = |text: &str| {
        let recording = read_recording(text.as_bytes(), &ImportOptions::default()).unwrap();
        let transactions = TransactionHistory::from_recording(&recording).unwrap();
        let converted = strongest(&Case { transactions, ..Case::default() }, &CheckOptions::default());
        // As `hearsay check` has it.
        let recorded = Case { recording: Some(recording), ..Case::default() };
        assert_eq!(strongest(&recorded, &CheckOptions::default()), converted);
        converted
    };
    let lattice = of(skew);
    assert_eq!(lattice.strongest(), ["strong-snapshot-isolation"], "{}", lattice.to_text());
    assert_eq!(lattice.weakest_broken(), ["serializable"]);
    let (text, svg) = (lattice.to_text(), lattice.to_svg());
    for level in Level::ALL {
        assert!(text.contains(level.name()) && svg.contains(level.name()), "{}", level.name());
    }
    // To be looked at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/levels.svg"), svg).unwrap();
    // One saw the other: in that order, it is as if they had followed each other.
    let lattice = of(&skew.replacen("[:r x []]", "[:r x [1]]", 1));
    assert_eq!((lattice.strongest(), lattice.weakest_broken()), (vec!["strict-serializable"], vec![]));
    assert!(lattice.to_text().contains("strict-serializable holds and implies it"));
}

#[test]
fn a_timeline_shows_the_named_operations_and_their_neighbours_and_nothing_else() {
    let mut text = String::from("p1 w x=1 [0..10]\np1 w x=2 [20..30]\np2 r x=2 [40..50]\np2 r x=1 [60..70]\n");
    for other in 0..50 {
        text += &format!("p{} r y=null [{}..{}]\n", 10 + other, other, other + 100);
    }
    text += "p2 r y=null [80..90]\np2 w x=<3 [95..99]\n".replace('<', "").as_str();
    let case: Case = dsl::case(&text).unwrap();
    let verdict = judge(&case, &["monotonic-reads"], &CheckOptions::default()).unwrap().remove(0);
    assert_eq!(verdict.judgement, Judgement::Violated);
    let svg = timeline_svg(&case, &verdict).unwrap();
    assert_eq!(svg.matches("height=\"12\"").count(), 5, "four named, one neighbour: {svg}");
    assert_eq!(svg.matches("read x = 1").count(), 1);
    // To be looked at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/timeline.svg"), svg).unwrap();
    let nothing = judge(&case, &["availability"], &CheckOptions::default()).unwrap().remove(0);
    assert!(timeline_svg(&case, &nothing).is_none(), "a verdict that names nothing has no picture");
}
