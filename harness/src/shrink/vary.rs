//! Variations of a candidate: what is left of a plan rarely meets at the same moments as before, because every message that is
//! gone no longer delays others. So a candidate is tried with other seeds of the world and with its operations moved a little.
//!
//! Pure: the number of the variation decides.

use crate::plan::Plan;

/// Operations are moved by up to so much either way, milliseconds; one of these by the number of the variation. Zero: only
/// the world's seed is another.
const MOVES_MS: [u64; 6] = [0, 2, 0, 8, 25, 80];

/// A variation of the plan. Number 0 is the plan itself.
pub(super) fn varied(plan: &Plan, number: u64) -> Plan {
    let mut plan = plan.clone();
    if number == 0 {
        return plan;
    }
    plan.seed = plan.seed.wrapping_add(number);
    let most_ms = MOVES_MS[usize::try_from(number).unwrap_or(0) % MOVES_MS.len()];
    if most_ms == 0 {
        return plan;
    }
    let last_ms = plan.phases.load_ms().saturating_sub(1);
    let mut state = plan.seed;
    for operation in &mut plan.operations {
        let moved = (operation.at_ms + draw(&mut state) % (2 * most_ms + 1)).saturating_sub(most_ms);
        operation.at_ms = moved.min(last_ms);
    }
    // Each client's operations keep their order.
    for of_client in plan.operations.chunk_by_mut(|one, other| one.client == other.client) {
        let mut times: Vec<u64> = of_client.iter().map(|operation| operation.at_ms).collect();
        times.sort_unstable();
        of_client.iter_mut().zip(times).for_each(|(operation, at_ms)| operation.at_ms = at_ms);
    }
    plan
}

/// SplitMix64: enough for trying, and the same everywhere.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{campaign, plan::make_plan};

    #[test]
    fn a_variation_is_a_plan_that_moves_operations_and_changes_nothing_else() {
        let plan = make_plan(&campaign::load("stale-reads").unwrap(), 4);
        assert_eq!(varied(&plan, 0), plan);
        for number in 1..=24 {
            let other = varied(&plan, number);
            assert_eq!(other, varied(&plan, number));
            assert_eq!(other.validate(), [""; 0], "variation {number}");
            assert_eq!(other.seed, plan.seed + number);
            assert_eq!((&other.faults, other.phases), (&plan.faults, plan.phases));
            let most_ms = MOVES_MS[number as usize % MOVES_MS.len()];
            let moves = plan.operations.iter().zip(&other.operations);
            let mut moved_ms = 0;
            for (before, after) in moves {
                assert_eq!((before.client, before.node, &before.action), (after.client, after.node, &after.action));
                moved_ms = moved_ms.max(before.at_ms.abs_diff(after.at_ms));
            }
            // Where two of a client change places, one stands in for the other.
            assert_eq!(moved_ms > 0, most_ms > 0, "variation {number}");
            assert!(moved_ms <= 2 * most_ms, "variation {number} moves by {moved_ms}");
        }
    }
}
