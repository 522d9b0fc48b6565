//! A crash behind every single output of every node while the ring changes: join, leave, replacement. The node comes back some moments
//! later with what its disk has by then; nothing that was acknowledged may be lost, and the change comes to its end.

use super::*;

/// One request in so many steps, so that a change has some dozens of outputs at each node, not thousands.
const QUIET_STEPS: usize = 2;

fn lean() -> ClusterConfig {
    ClusterConfig { vnodes: 2, ..settings(4) }
}

fn quiet_step(run: &mut Run, number: usize) {
    if number.is_multiple_of(QUIET_STEPS) {
        run.step();
    } else {
        run.cluster.run_ms(5);
        run.end_those_that_left();
    }
}

/// Begins a change without waiting for an answer: whoever is asked may crash behind it.
fn begin(run: &mut Run, change: Change) {
    match change {
        Leave(node) => drop(run.cluster.request(NodeId(node), ClientRequest::Leave)),
        other => run.begin(other),
    }
}

/// Changes at once with a crash of `victim` behind its output of this number since they began. How many outputs it made until all was
/// over, too.
fn crash_behind(changes: &[Change], victim: NodeId, output: u64, seed: u64) -> (Run, u64) {
    let mut run = Run::new(lean(), seed, Planted::NONE);
    for number in 0..40 {
        quiet_step(&mut run, number);
    }
    let before = if run.cluster.all().contains(&victim) { run.cluster.outputs(victim) } else { 0 };
    run.cluster.crash_behind = Some((victim, before.saturating_add(output)));
    changes.iter().for_each(|change| begin(&mut run, *change));
    let mut away_since = None;
    for number in 0..3_000 {
        let is_away = !run.cluster.is_up(victim) && !run.gone.contains(&victim);
        match away_since {
            None if is_away => away_since = Some(number),
            Some(since) if is_away && number >= since + 30 => {
                run.cluster.start(victim);
                away_since = None;
            }
            _ => {}
        }
        if !is_away && run.is_over() {
            break;
        }
        quiet_step(&mut run, number);
    }
    let made = run.cluster.outputs(victim) - before;
    run.cluster.crash_behind = None;
    run.finish();
    (run, made)
}

/// All crashes of these nodes while these changes are under way.
fn enumerate(changes: &[Change], victims: &[u16]) {
    let victims = victims.iter().copied().map(NodeId);
    for (victim, seed) in victims.flat_map(|victim| (1..=2).map(move |seed| (victim, seed))) {
        let (whole, made) = crash_behind(changes, victim, u64::MAX, seed);
        assert!(whole.violations.is_empty(), "{changes:?}: {:#?}", whole.violations);
        assert!(made > 10, "{changes:?}: only {made} outputs of {victim} to crash behind");
        let mut crashed = 0;
        for output in 1..=made {
            let (run, _) = crash_behind(changes, victim, output, seed);
            let violations = &run.violations;
            assert!(violations.is_empty(), "{changes:?}, {victim} behind output {output}: {violations:#?}");
            crashed += run.cluster.crashed_behind;
        }
        assert_eq!(crashed, made, "{changes:?}: not every crash of {victim} came about");
    }
}

#[test]
fn a_crash_behind_any_output_of_a_join_loses_nothing() {
    enumerate(&[Join(5)], &[5, 1, 2, 3, 4]);
}

#[test]
fn a_crash_behind_any_output_of_a_leave_loses_nothing() {
    enumerate(&[Leave(2)], &[2, 1, 3, 4]);
}

#[test]
fn a_crash_behind_any_output_of_a_replacement_loses_nothing() {
    enumerate(&[Replace(3, 6)], &[6, 1, 2, 4]);
}

#[test]
fn a_crash_behind_any_output_of_two_changes_at_once_loses_nothing() {
    enumerate(&[Join(5), Leave(2)], &[5, 2, 1]);
    enumerate(&[Join(5), Replace(3, 6)], &[5, 6, 1]);
}
