//! The state machine by itself: (state, message) -> (state, messages), one node at a time.
//!
//! Whole overlays, and what goes wrong in them, are tested in the simulation that drives this layer.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::{Link, NodeId, Planted, Time};

/// A node and its clock.
struct Lone {
    layer: Dissemination,
    now: Time,
    sent: Vec<(NodeId, DisseminationMessage)>,
    delivered: usize,
}

fn overlay() -> DisseminationConfig {
    DisseminationConfig {
        exchange: ExchangeConfig { interval_ms: 0, ..ExchangeConfig::default() },
        hyparview: HyParViewConfig { contacts: vec![NodeId(1)], swap_interval_ms: 0, ..HyParViewConfig::default() },
        ..DisseminationConfig::default()
    }
}

fn full(protocol: BroadcastKind) -> DisseminationConfig {
    DisseminationConfig { protocol, membership: MembershipKind::Full, ..overlay() }
}

impl Lone {
    /// Node 1 of a hundred: the contact, so it joins nobody.
    fn new(config: &DisseminationConfig, planted: Planted) -> Lone {
        let members: Arc<[NodeId]> = (1..=100).map(NodeId).collect();
        config.validate().expect("a good configuration");
        let (layer, effects) = Dissemination::new(config, planted, NodeId(1), 7, members, &[3; 32], Time(0));
        Lone { layer, now: Time(0), sent: effects.send, delivered: 0 }
    }

    fn input(&mut self, input: DisseminationInput) {
        let effects = self.layer.handle(self.now, input);
        self.delivered += effects.delivered.len();
        self.sent.extend(effects.send);
    }

    fn hears(&mut self, from: u16, message: DisseminationMessage) {
        self.input(DisseminationInput::Peer { from: NodeId(from), message });
    }

    fn views(&mut self, from: u16, message: HyParViewMessage) {
        self.hears(from, DisseminationMessage::HyParView(message));
    }

    fn tree(&mut self, from: u16, message: PlumtreeMessage) {
        self.hears(from, DisseminationMessage::Plumtree(message));
    }

    fn gossip(&mut self, from: u16, sequence: u64, round: u16) {
        self.hears(from, DisseminationMessage::Gossip { round, message: broadcast(sequence) });
    }

    fn loses(&mut self, peer: u16) {
        self.input(DisseminationInput::Link { peer: NodeId(peer), state: Link::Down });
    }

    /// Lets time pass, deadline by deadline.
    fn wait_ms(&mut self, milliseconds: u64) {
        let until = self.now.plus_ms(milliseconds);
        let mut deadlines = 0;
        while let Some(at) = self.layer.next_deadline().filter(|at| *at <= until) {
            deadlines += 1;
            assert!(deadlines < 10_000, "deadlines without end");
            self.now = self.now.max(at);
            self.input(DisseminationInput::Deadline);
        }
        self.now = until;
    }

    fn take_sent(&mut self) -> Vec<(NodeId, DisseminationMessage)> {
        core::mem::take(&mut self.sent)
    }

    fn sent_tree(&mut self) -> Vec<(u16, PlumtreeMessage)> {
        let take = |(to, message): (NodeId, DisseminationMessage)| match message {
            DisseminationMessage::Plumtree(message) => Some((to.0, message)),
            _ => None,
        };
        self.take_sent().into_iter().filter_map(take).collect()
    }

    /// Neighbours 2 to `last`, who joined.
    fn with_neighbours(mut self, last: u16) -> Lone {
        for node in 2..=last {
            self.views(node, HyParViewMessage::Neighbor { priority: Priority::High });
        }
        self.take_sent();
        self
    }
}

fn id(sequence: u64) -> MessageId {
    MessageId { origin: NodeId(50), incarnation: 1, sequence }
}

fn broadcast(sequence: u64) -> Message {
    Message { id: id(sequence), payload: Payload(Arc::from([0_u8; 8])) }
}

fn ensure(good: bool, sentence: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("not so: {sentence}")) }
}

fn links(node: &Lone) -> (Vec<u16>, Vec<u16>) {
    let (eager, lazy) = node.layer.links().expect("plumtree has links");
    (eager.iter().map(|peer| peer.0).collect(), lazy.iter().map(|peer| peer.0).collect())
}

/// News: delivered, sent on to the eager but the sender, announced to the lazy, the sender becomes eager.
fn news_travels_on(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(5);
    node.tree(2, PlumtreeMessage::Prune);
    node.tree(3, PlumtreeMessage::Prune);
    ensure(links(&node) == (vec![4, 5], vec![2, 3]), "who prunes is lazy")?;
    node.take_sent();
    node.gossip(2, 0, 4);
    ensure(node.delivered == 1, "news is delivered")?;
    ensure(links(&node).0.contains(&2), "the link over which news came is eager")?;
    let gossiped: Vec<(u16, u16)> = node
        .take_sent()
        .iter()
        .filter_map(|(to, message)| match message {
            DisseminationMessage::Gossip { round, .. } => Some((to.0, *round)),
            _ => None,
        })
        .collect();
    ensure(gossiped == [(4, 5), (5, 5)], "the eager ones get it, one hop further")?;
    node.wait_ms(20);
    let announced = node.sent_tree();
    ensure(
        announced == [(3, PlumtreeMessage::IHave { announced: vec![(id(0), 4)] })],
        "the lazy ones hear of it, the sender does not",
    )
}

/// What is known: not delivered again, and the sender is told to be lazy.
fn duplicates_prune(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(4);
    node.gossip(2, 0, 1);
    node.take_sent();
    node.gossip(3, 0, 1);
    ensure(node.delivered == 1, "a broadcast is delivered once")?;
    ensure(links(&node).1 == [3], "who sent what was known is lazy")?;
    ensure(node.sent_tree() == [(3, PlumtreeMessage::Prune)], "and hears so")
}

/// Announced and not received: the first announcer is asked after the timeout, the next after a shorter one; it is forgotten in
/// the end, and asked for again if somebody else announces it.
fn announced_is_asked_for(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(5);
    for peer in [2, 3] {
        node.tree(peer, PlumtreeMessage::Prune);
        node.tree(peer, PlumtreeMessage::IHave { announced: vec![(id(0), 3)] });
    }
    node.take_sent();
    node.wait_ms(299);
    ensure(node.sent_tree().is_empty(), "the tree has its time")?;
    node.wait_ms(1);
    let graft = |to: u16| vec![(to, PlumtreeMessage::Graft { id: Some(id(0)) })];
    ensure(node.sent_tree() == graft(2), "the first announcer is asked")?;
    node.wait_ms(100);
    ensure(node.sent_tree() == graft(3), "then the next")?;
    node.tree(4, PlumtreeMessage::IHave { announced: vec![(id(0), 3)] });
    node.wait_ms(100);
    ensure(node.sent_tree() == graft(4), "then who announces it later")?;
    ensure(node.layer.flaw().is_none(), "what is missing has a timer")?;
    node.wait_ms(30_000);
    ensure(node.layer.state_size() <= 1, "what never comes is forgotten")
}

/// A tree that brought the last broadcasts at once is awaited no longer than the minimum; one that brought one of them late gets
/// twice that time.
fn patience_is_learned(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(5);
    node.tree(3, PlumtreeMessage::Prune);
    for sequence in 0..31 {
        node.gossip(2, sequence, 1);
    }
    node.take_sent();
    let asked_after = |node: &mut Lone, sequence: u64| {
        node.tree(3, PlumtreeMessage::IHave { announced: vec![(id(sequence), 1)] });
        (1..=300_u64).find(|_| {
            node.wait_ms(1);
            node.sent_tree().iter().any(|(_, message)| matches!(message, PlumtreeMessage::Graft { .. }))
        })
    };
    ensure(asked_after(&mut node, 31) == Some(300), "little is known before 32 broadcasts")?;
    node.gossip(3, 31, 1);
    ensure(asked_after(&mut node, 32) == Some(300), "what was asked for says nothing of the tree")?;
    node.gossip(3, 32, 1);
    node.gossip(2, 33, 1);
    ensure(asked_after(&mut node, 34) == Some(40), "a fast tree is awaited for the minimum")?;
    node.wait_ms(50);
    node.gossip(2, 34, 1);
    ensure(asked_after(&mut node, 35) == Some(180), "a tree that took 90 ms is awaited for twice as long")?;
    node.gossip(3, 35, 1);
    for sequence in 36..67 {
        node.gossip(2, sequence, 1);
    }
    ensure(asked_after(&mut node, 67) == Some(180), "as long as it is one of the last 32")?;
    node.gossip(3, 67, 1);
    for sequence in 68..100 {
        node.gossip(2, sequence, 1);
    }
    ensure(asked_after(&mut node, 100) == Some(40), "and no longer")?;
    node.wait_ms(5_000);
    node.gossip(2, 100, 1);
    ensure(asked_after(&mut node, 101) == Some(300), "never longer than the maximum")
}

/// A graft makes the link eager and brings what is held.
fn grafts_are_answered(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(4);
    node.gossip(2, 0, 1);
    node.tree(3, PlumtreeMessage::Prune);
    node.take_sent();
    node.tree(3, PlumtreeMessage::Graft { id: Some(id(0)) });
    ensure(links(&node).0.contains(&3), "who grafts is eager")?;
    let expected = DisseminationMessage::Gossip { round: 2, message: broadcast(0) };
    ensure(node.take_sent() == [(NodeId(3), expected)], "it gets what it lacks")?;
    node.tree(3, PlumtreeMessage::Graft { id: Some(id(9)) });
    ensure(node.layer.counters().grafts_in_vain == 1, "what is not held is counted")
}

/// A way that is seven hops longer than an announced one is swapped for it, and not one that is six longer.
fn long_ways_are_swapped(planted: Planted) -> Result<(), String> {
    for (long, swapped) in [(9, false), (10, true)] {
        let mut node = Lone::new(&overlay(), planted).with_neighbours(4);
        node.tree(3, PlumtreeMessage::Prune);
        node.gossip(2, 0, long);
        node.take_sent();
        node.tree(3, PlumtreeMessage::IHave { announced: vec![(id(0), 2)] });
        let expected = vec![(3, PlumtreeMessage::Graft { id: None }), (2, PlumtreeMessage::Prune)];
        let sent = node.sent_tree();
        ensure(if swapped { sent == expected } else { sent.is_empty() }, "the threshold is 7 hops")?;
    }
    Ok(())
}

/// Who becomes a neighbour is eager, and hears of recent broadcasts.
fn new_neighbours_hear_announcements(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted);
    node.input(DisseminationInput::Publish(Payload(Arc::from([1_u8; 8]))));
    node.take_sent();
    node.views(2, HyParViewMessage::Join);
    node.wait_ms(20);
    let heard =
        node.sent_tree().iter().any(|(to, message)| *to == 2 && matches!(message, PlumtreeMessage::IHave { .. }));
    ensure(heard, "a new neighbour hears what was published before")?;
    ensure(links(&node).0 == [2], "a new neighbour is eager")
}

/// A neighbour whose link broke leaves the tree, with all that waits for it.
fn lost_neighbours_leave_the_tree(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(5);
    node.tree(3, PlumtreeMessage::Prune);
    node.gossip(2, 0, 1);
    node.tree(3, PlumtreeMessage::IHave { announced: vec![(id(1), 3)] });
    node.take_sent();
    node.loses(3);
    ensure(node.layer.flaw().is_none(), "links are neighbours")?;
    node.wait_ms(1_000);
    let to_lost = node.sent_tree().iter().filter(|(to, _)| *to == 3).count();
    ensure(to_lost == 0, "nothing goes to who is gone")
}

/// A full view takes a newcomer in, passes it on to all others, and names it to whom it puts out.
fn joins_are_passed_on(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(6);
    node.views(9, HyParViewMessage::Join);
    ensure(node.layer.peers().contains(NodeId(9)) && node.layer.peers().len() == 5, "the newcomer is in")?;
    let sent = node.take_sent();
    let forwarded = sent
        .iter()
        .filter(|(_, message)| {
            matches!(
                message,
                DisseminationMessage::HyParView(HyParViewMessage::ForwardJoin { node: NodeId(9), ttl: 6 })
            )
        })
        .count();
    ensure(forwarded == 5, "all neighbours hear of it")?;
    let named = sent.iter().any(|(to, message)| {
        !node.layer.peers().contains(*to)
            && matches!(message, DisseminationMessage::HyParView(HyParViewMessage::Disconnect { alternatives })
                if alternatives.first() == Some(&NodeId(9)))
    });
    ensure(named, "who is put out hears of the newcomer")
}

/// Low priority finds room or is refused; high priority is never refused.
fn priorities_decide(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(6);
    let reply =
        |accepted| DisseminationMessage::HyParView(HyParViewMessage::NeighborReply { accepted, replaced: None });
    node.views(7, HyParViewMessage::Neighbor { priority: Priority::Low });
    ensure(node.take_sent() == [(NodeId(7), reply(false))], "a full view refuses low priority")?;
    node.views(8, HyParViewMessage::Neighbor { priority: Priority::High });
    ensure(node.take_sent().contains(&(NodeId(8), reply(true))), "and never high priority")?;
    ensure(node.layer.peers().len() == 5, "the view stays bounded")?;
    node.views(9, HyParViewMessage::NeighborReply { accepted: true, replaced: None });
    let disconnect = |(to, message): &(NodeId, DisseminationMessage)| {
        *to == NodeId(9) && matches!(message, DisseminationMessage::HyParView(HyParViewMessage::Disconnect { .. }))
    };
    ensure(node.take_sent().iter().any(disconnect), "an answer to no question is turned down")
}

/// The hops of a walk are counted down, from at most what is configured, and the walk ends with a link.
fn walks_are_counted_down(planted: Planted) -> Result<(), String> {
    for (heard, sent_on) in [(6, Some(5)), (200, Some(5)), (1, Some(0)), (0, None)] {
        let mut node = Lone::new(&overlay(), planted).with_neighbours(4);
        node.views(2, HyParViewMessage::ForwardJoin { node: NodeId(9), ttl: heard });
        let sent = node.take_sent();
        let ttl = sent.iter().find_map(|(_, message)| match message {
            DisseminationMessage::HyParView(HyParViewMessage::ForwardJoin { ttl, .. }) => Some(*ttl),
            _ => None,
        });
        ensure(ttl == sent_on, "a walk has one hop less, and ends")?;
        let asked = sent.iter().any(|(to, message)| {
            *to == NodeId(9)
                && matches!(
                    message,
                    DisseminationMessage::HyParView(HyParViewMessage::Neighbor { priority: Priority::High })
                )
        });
        ensure(asked == ttl.is_none(), "where it ends the newcomer is asked")?;
    }
    Ok(())
}

/// A dead neighbour is replaced from the passive view at nobody's expense.
fn the_lost_are_replaced_politely(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(6);
    node.views(2, HyParViewMessage::ShuffleReply { nodes: (20..30).map(NodeId).collect() });
    node.take_sent();
    node.loses(3);
    let asked: Vec<Priority> = node
        .take_sent()
        .iter()
        .filter_map(|(_, message)| match message {
            DisseminationMessage::HyParView(HyParViewMessage::Neighbor { priority }) => Some(*priority),
            _ => None,
        })
        .collect();
    ensure(asked == [Priority::Low], "one passive peer is asked, with low priority")
}

/// A neighbour whose link broke is tried again, even if nothing is wanting; more and more seldom.
fn the_lost_are_tried_again(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(6);
    node.loses(3);
    node.views(7, HyParViewMessage::Neighbor { priority: Priority::High });
    node.take_sent();
    let mut tries = Vec::new();
    for second in 0..600 {
        node.wait_ms(1_000);
        let tried = node.take_sent().iter().any(|(to, message)| {
            *to == NodeId(3) && matches!(message, DisseminationMessage::HyParView(HyParViewMessage::Neighbor { .. }))
        });
        if tried {
            tries.push(second);
            node.loses(3);
        }
    }
    ensure((3..=20).contains(&tries.len()), "a lost peer is tried a few times in ten minutes")
}

/// A swap puts one out, and says whom; the two that were put out learn of each other.
fn swaps_keep_degrees(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(6);
    node.views(9, HyParViewMessage::Neighbor { priority: Priority::Swap });
    let sent = node.take_sent();
    let replaced = sent.iter().find_map(|(to, message)| match message {
        DisseminationMessage::HyParView(HyParViewMessage::NeighborReply { accepted: true, replaced }) => {
            (*to == NodeId(9)).then_some(*replaced).flatten()
        }
        _ => None,
    });
    let gone = replaced.ok_or("not so: the answer names who was put out")?;
    let told = sent.iter().any(|(to, message)| {
        *to == gone
            && matches!(message, DisseminationMessage::HyParView(HyParViewMessage::Disconnect { alternatives })
                if alternatives.is_empty())
    });
    ensure(told && node.layer.peers().len() == 5, "one neighbour is traded")
}

/// A neighbour that only the other side knows of is told so.
fn one_sided_links_end(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&overlay(), planted).with_neighbours(4);
    node.gossip(30, 0, 1);
    let told = node.take_sent().iter().any(|(to, message)| {
        *to == NodeId(30) && matches!(message, DisseminationMessage::HyParView(HyParViewMessage::Disconnect { .. }))
    });
    ensure(told && node.delivered == 1, "the broadcast is taken, the link is turned down")
}

/// `tree`: one's own links of a heap over the sorted members, and not back to where it came from.
fn the_static_tree(planted: Planted) -> Result<(), String> {
    let mut node = Lone::new(&full(BroadcastKind::Tree), planted);
    node.gossip(3, 0, 1);
    let to: Vec<u16> = node.take_sent().iter().map(|(to, _)| to.0).collect();
    ensure(to == [2, 4, 5], "the children but the sender")
}

/// Rumors: news makes infective; a counter of useless contacts ends it; removed is removed.
fn rumors_end(planted: Planted) -> Result<(), String> {
    let config =
        DisseminationConfig { rumor: RumorConfig { k: 2, ..RumorConfig::default() }, ..full(BroadcastKind::Rumor) };
    let mut node = Lone::new(&config, planted);
    let rumor = |round| {
        DisseminationMessage::Rumor(RumorMessage::Rumors { rumors: vec![(round, broadcast(0))], feedback: true })
    };
    let answer = |needed: bool| {
        let (yes, no) = if needed { (vec![id(0)], vec![]) } else { (vec![], vec![id(0)]) };
        DisseminationMessage::Rumor(RumorMessage::Feedback { needed: yes, known: no })
    };
    node.hears(9, rumor(1));
    node.hears(8, rumor(1));
    let sent = node.take_sent();
    ensure(sent == [(NodeId(9), answer(true)), (NodeId(8), answer(true))], "within a round it is news to both")?;
    node.wait_ms(100);
    ensure(node.take_sent().len() == 1, "it is pushed to one peer in a round")?;
    node.hears(8, rumor(1));
    ensure(node.take_sent() == [(NodeId(8), answer(false))], "later it is known")?;
    for useful in [false, true, false] {
        node.hears(7, answer(useful));
        ensure(node.layer.state_size() == 1, "a useful contact resets the counter")?;
    }
    node.hears(7, answer(false));
    ensure(node.layer.state_size() == 0, "two useless contacts end it")?;
    node.hears(6, rumor(5));
    ensure(node.layer.state_size() == 0, "removed is removed")?;
    node.take_sent();
    node.wait_ms(1_000);
    ensure(node.take_sent().is_empty(), "and is not pushed any more")
}

/// The exchange: ids first, payloads only to who lacks them.
fn exchanges_send_what_lacks(planted: Planted) -> Result<(), String> {
    let config = DisseminationConfig {
        exchange: ExchangeConfig { interval_ms: 1_000, ..ExchangeConfig::default() },
        ..full(BroadcastKind::Periodic)
    };
    let mut node = Lone::new(&config, planted);
    let exchange = DisseminationMessage::Exchange;
    node.hears(9, exchange(ExchangeMessage::Messages { messages: vec![(1, broadcast(0)), (1, broadcast(0))] }));
    ensure(node.delivered == 1, "what an exchange brings is delivered once")?;
    node.hears(9, exchange(ExchangeMessage::Ask));
    ensure(
        node.take_sent() == [(NodeId(9), exchange(ExchangeMessage::Offer { ids: vec![id(0)] }))],
        "who asks is offered what is held",
    )?;
    node.hears(9, exchange(ExchangeMessage::Offer { ids: vec![id(0), id(1)] }));
    ensure(
        node.take_sent() == [(NodeId(9), exchange(ExchangeMessage::Want { ids: vec![id(1)] }))],
        "only what lacks is wanted",
    )?;
    node.hears(9, exchange(ExchangeMessage::Want { ids: vec![id(0), id(5)] }));
    ensure(
        node.take_sent() == [(NodeId(9), exchange(ExchangeMessage::Messages { messages: vec![(2, broadcast(0))] }))],
        "only what is held is sent",
    )?;
    node.wait_ms(1_000);
    ensure(node.take_sent().len() == 2, "each period one peer is offered to and asked")
}

/// However much is held, no message is longer than its bound.
#[test]
fn long_lists_are_split() {
    let mut node = Lone::new(&full(BroadcastKind::Direct), Planted::NONE);
    let large = |sequence| Message { id: id(sequence), payload: Payload(Arc::from(vec![0_u8; 1_000])) };
    for sequence in 0..2_000 {
        let messages = vec![(1, large(sequence))];
        node.hears(9, DisseminationMessage::Exchange(ExchangeMessage::Messages { messages }));
    }
    node.take_sent();
    node.hears(9, DisseminationMessage::Exchange(ExchangeMessage::Ask));
    let offered: Vec<usize> = node
        .take_sent()
        .iter()
        .map(|(_, message)| match message {
            DisseminationMessage::Exchange(ExchangeMessage::Offer { ids }) => ids.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((offered.iter().sum::<usize>(), offered.iter().max()), (2_000, Some(&message::IDS_MAX)));
    let ids = (0..500).map(id).collect();
    node.hears(9, DisseminationMessage::Exchange(ExchangeMessage::Want { ids }));
    let sent = node.take_sent();
    let payloads: usize = sent.iter().map(|(_, message)| message.payloads()).sum();
    assert_eq!(payloads, 500);
    assert!(sent.iter().all(|(_, message)| message.bytes() < message::BATCH_BYTES_MAX + 1_024));
}

/// Tables stay bounded whatever a peer says.
#[test]
fn strangers_fill_no_table() {
    let mut node = Lone::new(&overlay(), Planted::NONE).with_neighbours(4);
    for start in 0..100 {
        let announced = (start * 100..start * 100 + 100).map(|sequence| (id(sequence), 1)).collect();
        node.tree(2, PlumtreeMessage::IHave { announced });
    }
    for number in 0..200 {
        let nodes = (0..1_000).map(|place| NodeId(number * 300 + place)).collect();
        node.views(3, HyParViewMessage::Shuffle { origin: NodeId(60), ttl: 255, nodes });
        node.views(number, HyParViewMessage::Neighbor { priority: Priority::Low });
        node.loses(number);
    }
    assert!(node.layer.state_size() < 1_200, "{}", node.layer.state_size());
    assert!(node.layer.passive_view().len() <= 30 && node.layer.peers().len() <= 5);
    assert_eq!(node.layer.flaw(), None);
    let too_long = Message { id: id(77), payload: Payload(Arc::from(vec![0_u8; Payload::TAGGED_MAX + 1])) };
    let delivered = node.delivered;
    node.hears(2, DisseminationMessage::Gossip { round: 1, message: too_long });
    assert_eq!(node.delivered, delivered);
}

#[test]
fn whoever_left_is_spoken_to_no_more_and_whoever_joined_is() {
    let members = |nodes: &[u16]| DisseminationInput::Members(nodes.iter().copied().map(NodeId).collect());
    let mut node = Lone::new(&full(BroadcastKind::Direct), Planted::NONE);
    node.input(members(&[1, 2, 200]));
    assert_eq!(node.layer.peers().iter().collect::<Vec<NodeId>>(), [NodeId(2), NodeId(200)]);
    node.input(DisseminationInput::Publish(Payload(Arc::from([7_u8; 8]))));
    assert_eq!(node.take_sent().into_iter().map(|(to, _)| to.0).collect::<Vec<u16>>(), [2, 200]);
    let mut node = Lone::new(&overlay(), Planted::NONE).with_neighbours(4);
    node.views(2, HyParViewMessage::ShuffleReply { nodes: vec![NodeId(60), NodeId(61)] });
    node.take_sent();
    node.input(members(&[1, 2, 4, 61]));
    assert!(!node.layer.peers().contains(NodeId(3)) && node.layer.peers().contains(NodeId(2)));
    assert!(!node.layer.passive_view().contains(&NodeId(60)), "{:?}", node.layer.passive_view());
    assert_eq!(node.layer.flaw(), None);
    node.wait_ms(100_000);
    let sent = node.take_sent();
    assert!(sent.iter().all(|(to, _)| to.0 != 3 && to.0 != 60), "who left is not tried again: {sent:?}");
}

#[test]
fn messages_survive_the_wire_and_know_their_length() {
    let messages = [
        DisseminationMessage::Gossip { round: 3, message: broadcast(9) },
        DisseminationMessage::Plumtree(PlumtreeMessage::IHave { announced: vec![(id(1), 2), (id(2), 300)] }),
        DisseminationMessage::HyParView(HyParViewMessage::Shuffle {
            origin: NodeId(3),
            ttl: 4,
            nodes: vec![NodeId(9)],
        }),
    ];
    for message in messages {
        let frame = crate::codec::encode(&message);
        assert_eq!(frame.len(), message.bytes() + 1);
        assert_eq!(crate::codec::decode::<DisseminationMessage>(&frame), Ok(message));
    }
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    type Mistake = (fn(&mut DisseminationConfig), &'static str);
    let mistakes: [Mistake; 5] = [
        (|config| config.protocol = BroadcastKind::Direct, "set membership to full"),
        (|config| config.rumor.k = 0, "rumor.k is 0"),
        (|config| config.exchange.fan_out = 0, "exchange.fan_out is 0"),
        (|config| config.hyparview.passive_max = 2, "passive_max"),
        (|config| config.hyparview.shuffle_interval_ms = 0, "choose at least 1"),
    ];
    for (mistake, expected) in mistakes {
        let mut config = DisseminationConfig::default();
        assert_eq!(config.validate(), Ok(()));
        mistake(&mut config);
        let error = config.validate().expect_err(expected);
        assert!(error.0.contains(expected), "{error}");
    }
}

macro_rules! holds {
    ($($check:ident,)+) => {
        mod holds {
            $(#[test]
            fn $check() {
                super::$check(super::Planted::NONE).unwrap_or_else(|sentence| panic!("{sentence}"));
            })+
        }
    };
}

holds! {
    news_travels_on,
    duplicates_prune,
    announced_is_asked_for,
    patience_is_learned,
    grafts_are_answered,
    long_ways_are_swapped,
    new_neighbours_hear_announcements,
    lost_neighbours_leave_the_tree,
    joins_are_passed_on,
    priorities_decide,
    walks_are_counted_down,
    the_lost_are_replaced_politely,
    the_lost_are_tried_again,
    swaps_keep_degrees,
    one_sided_links_end,
    the_static_tree,
    rumors_end,
    exchanges_send_what_lacks,
}

/// Every planted bug of this layer breaks one of the checks.
#[cfg(feature = "planted-bugs")]
pub(crate) mod planted {
    use crate::{Bug, Planted};

    macro_rules! found {
        ($($name:ident: $bug:ident by $check:ident,)+) => {
            $(#[test]
            fn $name() {
                let found = super::$check(Planted(Some(Bug::$bug)));
                found.expect_err("the check is blind for it");
            })+

            /// What is found here.
            pub(crate) const PLANTED: &[Bug] = &[$(Bug::$bug),+];
        };
    }

    found! {
        broadcast_delivered_twice: BroadcastDeliveredTwice by duplicates_prune,
        exchange_never_started: ExchangeNeverStarted by exchanges_send_what_lacks,
        rumor_never_removed: RumorNeverRemoved by rumors_end,
        removed_rumor_returns: RemovedRumorReturns by rumors_end,
        prune_not_sent: PruneNotSent by duplicates_prune,
        sender_stays_lazy: SenderStaysLazy by news_travels_on,
        missing_without_timer: MissingWithoutTimer by announced_is_asked_for,
        new_neighbour_hears_nothing: NewNeighbourHearsNothing by new_neighbours_hear_announcements,
        lost_neighbour_stays_eager: LostNeighbourStaysEager by lost_neighbours_leave_the_tree,
        rejoin_on_each_loss: RejoinOnEachLoss by the_lost_are_replaced_politely,
        disconnect_names_nobody: DisconnectNamesNobody by joins_are_passed_on,
        join_stays_with_contact: JoinStaysWithContact by joins_are_passed_on,
        walk_never_ends: WalkNeverEnds by walks_are_counted_down,
        lost_peers_forgotten: LostPeersForgotten by the_lost_are_tried_again,
    }
}
