//! Faults of disks: power cuts, slow syncs, refused syncs.

use super::*;
use crate::plan::{Fault, PlannedFault};
use crate::sim::disk_faults;
use crate::sim::faults::Faults;
use crate::sim::node::Process;
use crate::sim::settings::MILLISECOND;

fn fault(fault: Fault) -> PlannedFault {
    PlannedFault { id: "f1".to_owned(), at_ms: 0, duration_ms: 1, fault }
}

/// Writes and deletes that a client asks for, without waiting.
fn write(world: &mut World, to: u16, keys: std::ops::Range<u16>) {
    let connection = world.dial(Party::Client(0), n(to));
    pass(world, 50 * MILLISECOND);
    for key in keys {
        let request = hearsay_core::ClientRequest::Put {
            key: hearsay_core::Key(key.to_string().into_bytes()),
            value: crate::run::client::encode_value(u64::from(key) + 1),
            level: hearsay_core::Level::One,
        };
        world.send_request(connection, u64::from(key) + 1, request);
    }
}

#[test]
fn a_power_cut_takes_what_a_crash_leaves() {
    let (mut kept_whole, mut kept_in_part) = (0, 0);
    for (seed, torn, crash) in (0..20).flat_map(|seed| [(seed, false, true), (seed, false, false), (seed, true, false)])
    {
        let mut world = settled(1, Settings::default());
        let nodes = vec![n(1)];
        disk_faults::hold(&mut world, &nodes);
        write(&mut world, 1, 0..1);
        pass(&mut world, 100 * MILLISECOND);
        assert!(disk_faults::anything_unsynced(&world, &nodes), "its sync is held");
        // While one is in flight, these gather: neither end leaves them.
        write(&mut world, 1, 1..4);
        pass(&mut world, 100 * MILLISECOND);
        let mut faults = Faults::default();
        let planned = fault(match crash {
            true => Fault::Crash { nodes },
            false => Fault::PowerCut { nodes, hold_ms: 0, torn, seed },
        });
        let evidence = faults.inject(&mut world, &planned);
        assert_eq!(evidence.bit, Some(true), "{evidence:?}");
        world.nodes[place(n(1))].ailment = Default::default();
        assert_eq!(faults.heal(&mut world, &planned).healed, Some(true));
        pass(&mut world, SECOND);
        let keys = status(&mut world, 1).keys;
        match (crash, torn) {
            (true, _) => assert_eq!(keys, 1, "the page cache has it"),
            (false, false) => assert_eq!(keys, 0, "nothing was synced"),
            (false, true) => match keys {
                0 => kept_in_part += 1,
                1 => kept_whole += 1,
                more => panic!("{more} keys: what gathered was never handed to the disk"),
            },
        }
    }
    assert!(kept_whole > 0 && kept_in_part > 0, "{kept_whole} and {kept_in_part} of 20 torn ones");
}

#[test]
fn a_power_cut_of_idle_nodes_did_not_bite() {
    let mut world = settled(1, Settings::default());
    let evidence = Faults::default()
        .inject(&mut world, &fault(Fault::PowerCut { nodes: vec![n(1)], hold_ms: 0, torn: false, seed: 0 }));
    assert_eq!(evidence.bit, Some(false));
    assert!(evidence.sentences.iter().any(|sentence| sentence == "Nothing was unsynced."), "{evidence:?}");
}

#[test]
fn syncs_of_a_slow_disk_take_longer_until_it_is_healed() {
    let mut world = settled(1, Settings::default());
    let planned = fault(Fault::SlowDisk { nodes: vec![n(1)], sync_ms: 30 });
    let mut faults = Faults::default();
    let made = faults.inject(&mut world, &planned);
    write(&mut world, 1, 0..5);
    pass(&mut world, SECOND);
    let healed = faults.heal(&mut world, &planned);
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{made:?} {healed:?}");
    assert!(healed.numbers["syncs"] > 0 && healed.numbers["sync_mean_us"] >= 30_000, "{healed:?}");
    let silent = faults.inject(&mut world, &planned);
    let healed = faults.heal(&mut world, &planned);
    assert_eq!(healed.bit, Some(false), "no sync was made: {silent:?} {healed:?}");
}

#[test]
fn a_node_whose_disk_refuses_to_sync_ends_by_itself_and_has_acknowledged_nothing() {
    let mut world = settled(1, Settings::default());
    let planned = fault(Fault::FailingDisk { nodes: vec![n(1)] });
    let mut faults = Faults::default();
    faults.inject(&mut world, &planned);
    write(&mut world, 1, 0..5);
    pass(&mut world, SECOND);
    assert_eq!(world.nodes[place(n(1))].process, Process::Down);
    let answered = std::iter::from_fn(|| world.next_client_event())
        .any(|event| matches!(event, crate::sim::world::ClientEvent::Response { .. }));
    assert!(!answered, "what can't be made durable is not acknowledged");
    assert!(world.died().is_none(), "its end is what was planned");
    let healed = faults.heal(&mut world, &planned);
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    pass(&mut world, SECOND);
    assert_eq!(status(&mut world, 1).keys, 0);
}
