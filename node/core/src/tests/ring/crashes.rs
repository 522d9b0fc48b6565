//! A crash behind every single output of every node while the ring changes: join, leave, replacement. The node comes back some moments
//! later with what its disk has by then; nothing that was acknowledged may be lost, and the change comes to its end.

use super::*;

/// How much load there is: one request in so many steps of 5 ms, so that a change has some hundred outputs at each node, not thousands.
const QUIET_STEPS: usize = 5;

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

/// One change with a crash of `victim` behind its output of this number since the change began. How many outputs it made until all was
/// over, too.
fn crash_behind(change: Change, victim: NodeId, output: u64) -> (Run, u64) {
    let mut run = Run::new(lean(), 1, Planted::NONE);
    for number in 0..40 {
        quiet_step(&mut run, number);
    }
    let before = if run.cluster.all().contains(&victim) { run.cluster.outputs(victim) } else { 0 };
    run.cluster.crash_behind = Some((victim, before.saturating_add(output)));
    begin(&mut run, change);
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

/// All crashes of these nodes in one change.
fn enumerate(change: Change, victims: &[u16]) {
    for victim in victims.iter().copied().map(NodeId) {
        let (whole, made) = crash_behind(change, victim, u64::MAX);
        assert!(whole.violations.is_empty(), "{change:?}: {:#?}", whole.violations);
        assert!(made > 15, "{change:?}: only {made} outputs of {victim} to crash behind");
        let mut crashed = 0;
        for output in 1..=made {
            let (run, _) = crash_behind(change, victim, output);
            assert!(run.violations.is_empty(), "{change:?}, {victim} behind output {output}: {:#?}", run.violations);
            crashed += run.cluster.crashed_behind;
        }
        assert_eq!(crashed, made, "{change:?}: not every crash of {victim} came about");
    }
}

#[test]
fn a_crash_behind_any_output_of_a_join_loses_nothing() {
    enumerate(Join(5), &[5, 1, 2, 3, 4]);
}

#[test]
fn a_crash_behind_any_output_of_a_leave_loses_nothing() {
    enumerate(Leave(2), &[2, 1, 3, 4]);
}

#[test]
fn a_crash_behind_any_output_of_a_replacement_loses_nothing() {
    enumerate(Replace(3, 6), &[6, 1, 2, 4]);
}
