//! Tables and a randomised glare test for [`Links`](super::Links).

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[derive(Clone, Debug, Default)]
struct Fake(Arc<AtomicBool>);

/// The longest datagram that it takes.
const DATAGRAM_MAX: usize = 8;

impl Carrier for Fake {
    fn close(&self, _code: quinn::VarInt, _reason: &[u8]) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn send_datagram(&self, frame: &[u8]) -> Datagram {
        match frame {
            _ if frame.len() > DATAGRAM_MAX => Datagram::Unfit,
            b"full" => Datagram::Full,
            _ => Datagram::Sent,
        }
    }
}

const UP: Link = Link::Up;
const DOWN: Link = Link::Down;

fn links(own: u16) -> Links<Fake> {
    let members = (1..=3).map(|id| (NodeId(id), SocketAddr::from(([127, 0, 0, 1], 7000 + id)))).collect();
    Links::new(NodeId(own), &members, Arc::default())
}

fn dial(links: &mut Links<Fake>, now: Instant, to: u16) -> DialId {
    links.send(now, NodeId(to), Lane::Data, b"x").expect("dials").dial
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A connection with a process of `peer` at the address that the configuration names.
fn an_offer(peer: u16, incarnation: u64, dial: Option<DialId>) -> Offer<Fake> {
    let (peer, from) = (NodeId(peer), address(7000 + peer));
    Offer { peer, incarnation, from, silent: None, dial, connection: Fake::default() }
}

fn offer(
    links: &mut Links<Fake>,
    from: u16,
    incarnation: u64,
    dial: Option<DialId>,
) -> (Option<LinkId>, Vec<Link>, Fake) {
    let offer = an_offer(from, incarnation, dial);
    let connection = offer.connection.clone();
    let (verdict, changes) = links.offer(offer);
    let link = match verdict {
        Verdict::Link(link, _) => Some(link),
        Verdict::Duplicate => None,
        Verdict::Contested(rival) => panic!("contested by {rival:?}"),
    };
    (link, changes.into_iter().map(|(_, change)| change).collect(), connection)
}

#[test]
fn a_send_without_link_dials_once_and_queues() {
    let mut links = links(1);
    let now = Instant::now();
    let first = dial(&mut links, now, 2);
    assert_eq!(links.send(now, NodeId(2), Lane::Bulk, b"y"), None);
    let (verdict, changes) = links.offer(an_offer(2, 7, Some(first)));
    let Verdict::Link(_, queues) = verdict else { panic!("refused") };
    assert_eq!(changes, [(NodeId(2), UP)]);
    assert_eq!(queues.iter().map(LaneQueue::clear).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn what_may_be_lost_goes_as_a_datagram_where_a_link_takes_it_and_else_on_the_stream() {
    let mut links = links(1);
    let now = Instant::now();
    let control = |links: &mut Links<Fake>, frame: &[u8]| links.send_lossy(now, NodeId(2), Lane::Control, frame);
    let order = control(&mut links, b"first").expect("without a link it dials");
    assert_eq!(control(&mut links, b"second"), None);
    let (verdict, _) = links.offer(an_offer(2, 7, Some(order.dial)));
    let Verdict::Link(_, queues) = verdict else { panic!("refused") };
    assert_eq!(queues.iter().map(LaneQueue::clear).collect::<Vec<_>>(), [2, 0, 0], "both wait for the link");
    for frame in [b"short".as_slice(), b"full", b"too long for it", b"short"] {
        assert_eq!(control(&mut links, frame), None);
    }
    assert_eq!(queues.iter().map(LaneQueue::clear).collect::<Vec<_>>(), [1, 0, 0], "only what no datagram holds");
    let Counters { transport_datagrams_sent: sent, transport_datagrams_dropped: dropped, .. } = &*links.counters;
    assert_eq!((sent.count(), dropped.count(), links.counters.transport_datagrams_on_stream.count()), (2, 1, 1));
}

#[test]
fn a_failed_dial_backs_off_up_to_a_second_and_reports_down_each_time() {
    let mut links = links(1);
    let mut now = Instant::now();
    for expected_ms in [100, 200, 400, 800, 1_000, 1_000] {
        let attempt = dial(&mut links, now, 2);
        assert_eq!(links.dial_failed(now, NodeId(2), attempt, false), Some((NodeId(2), DOWN)));
        assert_eq!(links.send(now + Duration::from_millis(expected_ms - 1), NodeId(2), Lane::Data, b"x"), None);
        now += Duration::from_millis(expected_ms);
    }
    assert_eq!(links.counters.transport_dropped_unlinked.count(), 12);
}

#[test]
fn down_comes_once_per_link() {
    let mut links = links(1);
    let (first, changes, _) = offer(&mut links, 2, 7, None);
    assert_eq!(changes, [UP]);
    let first = first.unwrap();
    assert_eq!(links.lost(NodeId(2), first), Some((NodeId(2), DOWN)));
    assert_eq!(links.lost(NodeId(2), first), None);
    assert!(!links.is_current(NodeId(2), first));
}

#[test]
fn a_link_that_is_given_up_is_closed_without_a_word_and_made_again_by_use() {
    let mut links = links(1);
    let now = Instant::now();
    links.hang_up(NodeId(2));
    let first = dial(&mut links, now, 2);
    links.hang_up(NodeId(2));
    let (link, changes, connection) = offer(&mut links, 2, 7, Some(first));
    assert_eq!(changes, [UP], "a dial under way is not given up");
    links.hang_up(NodeId(2));
    assert!(connection.0.load(Ordering::Relaxed));
    let link = link.expect("it was the link");
    assert!(!links.is_current(NodeId(2), link));
    assert_eq!(links.lost(NodeId(2), link), None);
    dial(&mut links, now, 2);
}

#[test]
fn a_new_incarnation_replaces_a_link_whoever_dialled_it() {
    for own in [1, 3] {
        let mut links = links(own);
        let now = Instant::now();
        let attempt = dial(&mut links, now, 2);
        let (old, _, connection) = offer(&mut links, 2, 7, Some(attempt));
        let (new, changes, _) = offer(&mut links, 2, 8, None);
        assert_eq!(changes, [DOWN, UP]);
        assert!(connection.0.load(Ordering::Relaxed), "the old connection is closed");
        assert!(links.is_current(NodeId(2), new.unwrap()));
        assert_eq!(links.lost(NodeId(2), old.unwrap()), None, "the old link's end says nothing any more");
    }
}

#[test]
fn the_smaller_id_refuses_while_it_dials_and_the_larger_gives_way() {
    let now = Instant::now();
    let mut small = links(1);
    let mut large = links(2);
    let from_small = dial(&mut small, now, 2);
    let from_large = dial(&mut large, now, 1);
    assert!(offer(&mut small, 2, 20, None).0.is_none());
    assert!(large.dial_failed(now, NodeId(1), from_large, true).is_none(), "a duplicate is no failure");
    assert_eq!(large.send(now, NodeId(1), Lane::Data, b"y"), None, "waits for the other's connection");
    assert_eq!(offer(&mut large, 1, 10, None).1, [UP]);
    assert_eq!(offer(&mut small, 2, 20, Some(from_small)).1, [UP]);
}

#[test]
fn an_expected_connection_that_never_comes_is_dialled_again() {
    let mut links = links(2);
    let now = Instant::now();
    let attempt = dial(&mut links, now, 1);
    links.dial_failed(now, NodeId(1), attempt, true);
    assert_eq!(links.send(now + EXPECTATION / 2, NodeId(1), Lane::Data, b"x"), None);
    assert!(links.send(now + EXPECTATION, NodeId(1), Lane::Data, b"x").is_some());
}

#[test]
fn dials_under_way_are_bounded() {
    let members = (1..=200).map(|id| (NodeId(id), SocketAddr::from(([127, 0, 0, 1], 7000 + id)))).collect();
    let mut links: Links<Fake> = Links::new(NodeId(1), &members, Arc::default());
    let now = Instant::now();
    let orders: Vec<_> = (2..=200).filter_map(|id| links.send(now, NodeId(id), Lane::Data, b"x")).collect();
    assert_eq!(orders.len(), DIALS_MAX);
    links.dial_failed(now, orders[0].peer, orders[0].dial, false);
    assert!(links.send(now, NodeId(200), Lane::Data, b"x").is_some());
}

/// What is on its way to one of two nodes.
#[derive(Debug)]
enum Wire {
    /// The hello of whoever dialled this connection.
    Hello(usize, DialId),
    /// The hello of whoever accepted it.
    Answer(usize, DialId),
    /// The acceptor closed it as a duplicate.
    Refusal(DialId),
    /// Its other side closed it.
    End(usize),
}

/// One connection, seen from both sides.
#[derive(Debug, Default)]
struct Pair {
    ends: [Fake; 2],
    links: [Option<LinkId>; 2],
    told: [bool; 2],
}

/// Two nodes, n1 and n2, and the wire between them.
struct World {
    nodes: [Links<Fake>; 2],
    wire: [Vec<Wire>; 2],
    connections: Vec<Pair>,
    now: Instant,
}

impl World {
    fn new() -> World {
        World { nodes: [links(1), links(2)], wire: [vec![], vec![]], connections: vec![], now: Instant::now() }
    }

    fn peer(side: usize) -> NodeId {
        NodeId(2 - side as u16)
    }

    fn send(&mut self, side: usize) {
        if let Some(order) = self.nodes[side].send(self.now, World::peer(side), Lane::Data, b"x") {
            self.connections.push(Pair::default());
            self.wire[1 - side].push(Wire::Hello(self.connections.len() - 1, order.dial));
        }
    }

    fn receive(&mut self, side: usize, at: usize) {
        let (peer, now) = (World::peer(side), self.now);
        let message = self.wire[side].remove(at);
        let node = &mut self.nodes[side];
        match message {
            Wire::Hello(number, dial) => {
                let connection = self.connections[number].ends[side].clone();
                let reply = match node.offer(Offer { connection, ..an_offer(peer.0, 1, None) }).0 {
                    Verdict::Link(link, _) => {
                        self.connections[number].links[side] = Some(link);
                        Wire::Answer(number, dial)
                    }
                    Verdict::Duplicate => Wire::Refusal(dial),
                    Verdict::Contested(rival) => panic!("contested by {rival:?}"),
                };
                self.wire[1 - side].push(reply);
            }
            Wire::Answer(number, dial) => {
                let connection = self.connections[number].ends[side].clone();
                match node.offer(Offer { connection, ..an_offer(peer.0, 1, Some(dial)) }).0 {
                    Verdict::Link(link, _) => self.connections[number].links[side] = Some(link),
                    Verdict::Duplicate => self.wire[1 - side].push(Wire::End(number)),
                    Verdict::Contested(rival) => panic!("contested by {rival:?}"),
                }
            }
            Wire::Refusal(dial) => assert_eq!(node.dial_failed(now, peer, dial, true), None),
            Wire::End(number) => {
                if let Some(link) = self.connections[number].links[side] {
                    node.lost(peer, link);
                }
            }
        }
        // A side that closed its end tells the other, once.
        for (number, pair) in self.connections.iter_mut().enumerate() {
            for side in [0, 1] {
                if pair.ends[side].0.load(Ordering::Relaxed) && !std::mem::replace(&mut pair.told[side], true) {
                    self.wire[1 - side].push(Wire::End(number));
                }
            }
        }
    }

    fn has_common_link(&self) -> bool {
        self.connections.iter().any(|pair| match pair.links {
            [Some(a), Some(b)] => self.nodes[0].is_current(NodeId(2), a) && self.nodes[1].is_current(NodeId(1), b),
            _ => false,
        })
    }
}

/// Two nodes that dial whenever they like, over connections whose hellos arrive in any order: once quiet, both have the same
/// connection for their link.
#[test]
fn whatever_the_order_of_hellos_both_sides_end_with_one_connection() {
    for seed in 0..5_000_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |n: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % n as u64) as usize
        };
        let mut world = World::new();
        for _ in 0..60 {
            world.now += Duration::from_millis(50);
            let side = draw(2);
            if world.wire[side].is_empty() || draw(3) == 0 {
                world.send(side);
            } else {
                let at = draw(world.wire[side].len());
                world.receive(side, at);
            }
        }
        // Quiet: everything on the wire arrives in order, and both sides go on sending as heartbeats would.
        for _ in 0..40 {
            world.now += Duration::from_millis(600);
            for side in [0, 1] {
                world.send(side);
                for _ in 0..world.wire[side].len() {
                    world.receive(side, 0);
                }
            }
        }
        assert!(world.has_common_link(), "seed {seed}: {:?} and {:?}", world.nodes[0].peers, world.nodes[1].peers);
    }
}

/// The verdict over a process of n2 at a port of its own, and what changed with it.
fn offer_at(links: &mut Links<Fake>, port: u16, incarnation: u64, silent: Option<LinkId>) -> (Verdict<Fake>, usize) {
    let (verdict, changes) = links.offer(Offer { from: address(port), silent, ..an_offer(2, incarnation, None) });
    (verdict, changes.len())
}

#[test]
fn another_process_of_the_same_identity_is_contested_until_the_first_is_silent() {
    let mut links = links(1);
    let first = offer(&mut links, 2, 10, None).0.unwrap();
    let rival = |verdict| match verdict {
        (Verdict::Contested(rival), 0) => (rival.link, rival.from),
        other => panic!("{other:?}"),
    };
    assert_eq!(rival(offer_at(&mut links, 9_000, 11, None)), (first, address(7_002)));
    assert!(links.is_current(NodeId(2), first), "nothing has changed");
    // Silent was another link, of which nothing is left: the one there now has to be asked.
    let second = offer(&mut links, 2, 10, None).0.unwrap();
    assert_eq!(rival(offer_at(&mut links, 9_000, 11, Some(first))).0, second);
    let (verdict, changes) = offer_at(&mut links, 9_000, 11, Some(second));
    assert!(matches!(verdict, Verdict::Link(..)) && changes == 2, "{verdict:?}");
    // The same process may come again, from wherever it is now.
    assert!(matches!(offer_at(&mut links, 9_001, 11, None).0, Verdict::Link(..)));
}

#[test]
fn a_restart_and_the_address_of_the_configuration_are_not_contested() {
    let mut links = links(1);
    assert!(matches!(offer_at(&mut links, 9_000, 10, None).0, Verdict::Link(..)), "nobody else is there");
    assert!(matches!(offer_at(&mut links, 9_000, 11, None).0, Verdict::Link(..)), "a restart");
    assert!(matches!(offer_at(&mut links, 7_002, 12, None).0, Verdict::Link(..)), "where all others look for it");
    assert!(matches!(offer_at(&mut links, 9_000, 11, None).0, Verdict::Contested(_)));
}
