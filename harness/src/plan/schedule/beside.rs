//! Faults beside the others: bad links are in force while partitions come and go, and do not count for `at_once`.
//!
//! Each plan has exactly as many as the campaign asks for. They follow each other in a random order, spread over the fault
//! phase: what time they leave is divided at random before, between and behind them.

use hearsay_workloads::stream;
use rand::RngExt;

use super::{Drawn, Draws, Placed, draw_required, shortened};
use crate::campaign::FaultSchedule;
use crate::plan::Phases;

/// All of them, by start.
pub(super) fn place_beside(schedule: &FaultSchedule, phases: &Phases, draws: &mut Draws) -> Vec<Placed> {
    let schedule = schedule.only(true);
    let gap_ms = schedule.between.min_ms;
    let required = draw_required(&schedule, draws);
    let room_ms = |drawn: &[Drawn]| {
        let taken_ms: u64 = drawn.iter().map(|drawn| drawn.length_ms + gap_ms).sum();
        phases.faults_ms.checked_sub(taken_ms + gap_ms)
    };
    let attempts = [100, 80, 60, 40, 20, 0].into_iter();
    let attempts = attempts
        .map(|percent| -> Vec<Drawn> { required.iter().map(|drawn| shortened(drawn, &schedule, percent)).collect() });
    let mut fitting = attempts.filter_map(|drawn| room_ms(&drawn).map(|room_ms| (drawn, room_ms)));
    let Some((drawn, room_ms)) = fitting.next() else {
        unreachable!("the campaign was checked: the faults beside the others fit into {} ms", phases.faults_ms)
    };
    let mut spread = stream(draws.seed, "fault-spread", 0);
    let mut cuts_ms: Vec<u64> = drawn.iter().map(|_| spread.random_range(0..=room_ms)).collect();
    cuts_ms.sort_unstable();
    let mut taken_ms = phases.faults_from_ms() + gap_ms;
    let mut place = |(drawn, cut_ms): (Drawn, u64)| {
        let from_ms = taken_ms + cut_ms;
        taken_ms += drawn.length_ms + gap_ms;
        Placed { from_ms, until_ms: from_ms + drawn.length_ms, quiet_ms: drawn.quiet_ms, fault: drawn.fault }
    };
    drawn.into_iter().zip(cuts_ms).map(&mut place).collect()
}
