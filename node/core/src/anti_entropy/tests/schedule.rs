//! When sessions begin: by schedule, by request, and how many at once.

use super::*;

/// The peers that the node has asked something since the last look, in order; nothing is delivered.
fn asked(room: &mut Room) -> Vec<NodeId> {
    room.flying.drain(..).map(|(_, to, _)| to).collect()
}

#[test]
fn the_schedule_goes_round_the_live_peers() {
    let mut room = Room::with_schedule(5, 5, 2, 1_000);
    room.dead.insert(NodeId(4));
    let mut peers = Vec::new();
    for _ in 0..6 {
        let before = room.now;
        room.pass_deadline(N1);
        let waited_ms = room.now.since_ms(before);
        assert!((800..=1_200).contains(&waited_ms), "waited {waited_ms} ms");
        peers.extend(room.flying.iter().map(|(_, to, _)| *to));
        room.settle();
        assert_eq!(room.finished(N1).len(), 1);
    }
    assert_eq!(peers, [2, 3, 5, 2, 3, 5].map(NodeId));
}

#[test]
fn intervals_differ_from_one_another_and_between_nodes() {
    let mut room = Room::with_schedule(2, 2, 2, 1_000);
    let first: BTreeSet<Option<Time>> = [N1, N2].map(|id| room.nodes[&id].sync.next_deadline()).into();
    assert_eq!(first.len(), 2);
    let mut waits = BTreeSet::new();
    for _ in 0..5 {
        let before = room.now;
        room.pass_deadline(N1);
        room.settle();
        waits.insert(room.now.0 - before.0);
    }
    assert_eq!(waits.len(), 5);
}

#[test]
fn without_a_schedule_or_without_peers_there_is_no_deadline() {
    assert_eq!(Room::new(3, 3, 2).nodes[&N1].sync.next_deadline(), None);
    // One copy: nobody shares a range.
    assert_eq!(Room::with_schedule(3, 1, 2, 1_000).nodes[&N1].sync.next_deadline(), None);
}

#[test]
fn the_schedule_starts_no_third_session_and_requests_no_fifth() {
    let mut room = Room::with_schedule(9, 9, 2, 1_000);
    for _ in 0..6 {
        room.pass_deadline(N1);
    }
    assert_eq!(asked(&mut room), [N2, N3]);
    for peer in 2..=9 {
        room.request(N1, NodeId(peer));
    }
    assert_eq!(asked(&mut room), [4, 5].map(NodeId));
    assert_eq!(room.counters(N1).sessions_started, 4);
    // While all are busy only answers and the schedule have a deadline: no spinning on requests that have to wait.
    assert!(room.nodes[&N1].sync.next_deadline().unwrap() > room.now);
    // A session that ends makes room for the next request.
    room.act(N1, |now, sync, _| sync.on_link_down(now, N2));
    room.act(N1, |now, sync, host| sync.on_deadline(now, host));
    assert_eq!(asked(&mut room), [NodeId(6)]);
}

#[test]
fn requests_are_all_met_in_the_end() {
    let mut room = Room::new(9, 9, 2);
    for peer in 2..=9 {
        room.request(N1, NodeId(peer));
    }
    room.settle();
    let finished: BTreeSet<NodeId> = room.finished(N1).into_iter().map(|report| report.peer).collect();
    assert_eq!(finished, (2..=9).map(NodeId).collect());
    assert_eq!(room.nodes[&N1].sync.next_deadline(), None);
}

#[test]
fn a_request_to_a_dead_peer_is_tried_each_second() {
    let mut room = Room::new(2, 2, 2);
    room.dead.insert(N2);
    room.request(N1, N2);
    for second in 1..4 {
        assert_eq!(room.nodes[&N1].sync.next_deadline(), Some(Time(0).plus_ms(second * REQUEST_RETRY_MS)));
        room.pass_deadline(N1);
        assert_eq!(asked(&mut room), []);
    }
    room.dead.clear();
    room.pass_deadline(N1);
    room.settle();
    assert_eq!(room.finished(N1).len(), 1);
}

/// What a running session compared before the request came does not count for it.
#[test]
fn a_request_is_met_only_by_a_session_that_begins_after_it() {
    let mut room = Room::with_schedule(2, 2, 2, 1_000);
    room.pass_deadline(N1);
    room.request(N1, N2);
    assert_eq!(room.counters(N1).sessions_started, 1);
    room.settle();
    assert_eq!(room.counters(N1).sessions_started, 2);
    assert_eq!(room.finished(N1).len(), 2);
    assert_eq!(room.nodes[&N1].sync.requested.len(), 0);
}

#[test]
fn a_request_to_a_peer_that_shares_nothing_is_met_at_once() {
    let mut room = Room::new(3, 1, 2);
    room.request(N1, N2);
    assert_eq!(room.finished(N1), [SessionReport { requested: true, ..SessionReport::new(N2) }]);
    assert!(room.flying.is_empty());
}

/// Both begin with one another at the same moment.
#[test]
fn sessions_in_both_directions_at_once_both_finish() {
    let mut room = Room::new(2, 2, 4);
    for number in 0..400 {
        let key = Key(format!("k{number}").into_bytes());
        room.put(if number % 2 == 0 { N1 } else { N2 }, &key, version(number, None));
    }
    room.request(N1, N2);
    room.request(N2, N1);
    room.settle();
    assert_eq!((room.finished(N1).len(), room.finished(N2).len()), (1, 1));
    room.assert_agree(N1, N2);
    room.assert_nothing_left(N1, N2);
}

#[test]
fn a_session_keeps_to_its_bytes_a_second_and_still_ends() {
    // 200 versions of 10 kB at 100 kB a second: about 20 seconds, where without a limit no time passes.
    let run = |bytes_per_s| {
        let mut room = Room::new(2, 2, 4);
        let node = room.nodes.get_mut(&N1).unwrap();
        let rng = ChaCha8Rng::from_seed([1; 32]);
        node.sync = AntiEntropy::new(&room.ring, N1, 0, 1, rng, Time(0)).with_limits(4, bytes_per_s);
        for number in 0..200_u32 {
            let key = Key(number.to_be_bytes().to_vec());
            let node = if number % 2 == 0 { N1 } else { N2 };
            room.table(node).merge(key, version(1, Some(&[7; 10_000])));
        }
        room.act(N1, |now, sync, host| sync.request_session(now, N2, host));
        let mut steps = 0;
        while room.finished(N1).is_empty() {
            steps += 1;
            assert!(steps < 10_000, "the session does not end");
            while let Some((from, to, message)) = room.flying.pop_front() {
                room.act(to, |now, sync, host| sync.on_sync(now, from, message, host));
            }
            let deadline = room.nodes[&N1].sync.next_deadline();
            if room.flying.is_empty()
                && let Some(deadline) = deadline
            {
                room.now = room.now.max(deadline);
                room.act(N1, |now, sync, host| sync.on_deadline(now, host));
            }
        }
        room.assert_agree(N1, N2);
        room.now
    };
    assert_eq!(run(0), Time(0));
    let paced = run(100_000);
    assert!((10_000..40_000).contains(&paced.since_ms(Time(0))), "{paced:?}");
}
