//! Plumtree (Leitao, Pereira, Rodrigues, "Epidemic broadcast trees", 2007).
//!
//! ```text
//! neighbour:  eager  --PRUNE, or it sent what was known-->  lazy
//!             lazy   --GRAFT, or it sent news-->            eager
//! broadcast:  unknown --IHAVE--> missing --GOSSIP--> delivered
//!                                   | patience: GRAFT to the first announcer, then to the next
//!                                   | missing_ms: forgotten
//! ```
//!
//! The patience is learned: twice the longest that the tree took after an announcement, of the last [`LEARNED_FROM`] broadcasts or
//! more; within `graft_timeout_min_ms` and `graft_timeout_ms`, where it begins. (The paper leaves the time-out to the user: longer
//! than the longest way of the tree. So a cut branch waits for what this network needs, not for what the slowest would.)
//!
//! News goes to eager neighbours at once and is announced to lazy ones in batches. A new neighbour begins eager (but one traded for
//! a lazy one), and hears
//! which recent broadcasts there are: else a broadcast whose sender lost all its neighbours would never be delivered.
//! A way that is at least `threshold` hops longer than one that was announced is swapped for it.
//!
//! Invariants: eager and lazy are disjoint and together the neighbours; every missing broadcast has a timer; all tables are
//! bounded.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::config::PlumtreeConfig;
use super::membership::Peers;
use super::message::{DisseminationMessage, MessageId, PlumtreeMessage};
use super::protocol::{Broadcast, Context};
use crate::{NodeId, Time, planted};

/// Most broadcasts that are known to be missing.
const MISSING_MAX: usize = 1_024;
/// Most announcers remembered for each.
const ANNOUNCERS_MAX: usize = 8;
/// So many announcements to one neighbour are sent without waiting for more.
const ANNOUNCED_MAX: usize = 128;

/// Broadcasts after which the patience may fall; with fewer, those of other origins, that take other ways, would often be asked
/// for in vain.
const LEARNED_FROM: u32 = 32;

#[derive(Debug)]
struct Missing {
    /// With the hops at the announcer, the first first.
    announcers: Vec<(NodeId, u16)>,
    /// When the first announcement came.
    since: Time,
    /// Who was asked for it last.
    asked: Option<NodeId>,
    timer: Time,
    expires: Time,
}

#[derive(Debug)]
pub(super) struct Plumtree {
    config: PlumtreeConfig,
    /// How long an announced broadcast may take by the tree, milliseconds.
    patience_ms: u64,
    /// The longest lag of the last [`LEARNED_FROM`] broadcasts, and of those since, milliseconds.
    lags_ms: [u64; 2],
    /// How many there were since.
    learned_from: u32,
    /// Both ascending.
    eager: Vec<NodeId>,
    lazy: Vec<NodeId>,
    missing: BTreeMap<MessageId, Missing>,
    timers: BTreeSet<(Time, MessageId)>,
    announcements: BTreeMap<NodeId, Vec<(MessageId, u16)>>,
    flush: Option<Time>,
}

fn insert(list: &mut Vec<NodeId>, peer: NodeId) {
    if let Err(place) = list.binary_search(&peer) {
        list.insert(place, peer);
    }
}

fn remove(list: &mut Vec<NodeId>, peer: NodeId) -> bool {
    match list.binary_search(&peer) {
        Ok(place) => {
            list.remove(place);
            true
        }
        Err(_) => false,
    }
}

fn has(list: &[NodeId], peer: NodeId) -> bool {
    list.binary_search(&peer).is_ok()
}

impl Plumtree {
    pub(super) fn new(config: PlumtreeConfig) -> Plumtree {
        Plumtree {
            patience_ms: config.graft_timeout_ms,
            lags_ms: [config.graft_timeout_ms, 0],
            learned_from: 0,
            config,
            eager: Vec::new(),
            lazy: Vec::new(),
            missing: BTreeMap::new(),
            timers: BTreeSet::new(),
            announcements: BTreeMap::new(),
            flush: None,
        }
    }

    fn make_eager(&mut self, peer: NodeId) {
        if remove(&mut self.lazy, peer) {
            insert(&mut self.eager, peer);
        }
    }

    fn make_lazy(&mut self, peer: NodeId) {
        if remove(&mut self.eager, peer) {
            insert(&mut self.lazy, peer);
        }
    }

    fn send(context: &mut Context<'_>, to: NodeId, message: PlumtreeMessage) {
        context.send(to, DisseminationMessage::Plumtree(message));
    }

    fn prune(&mut self, context: &mut Context<'_>, peer: NodeId) {
        self.make_lazy(peer);
        if planted!(context.planted, PruneNotSent) {
            return;
        }
        context.counters.prunes_sent += 1;
        Self::send(context, peer, PlumtreeMessage::Prune);
    }

    fn graft(&mut self, context: &mut Context<'_>, peer: NodeId, id: Option<MessageId>) {
        self.make_eager(peer);
        context.counters.grafts_sent += 1;
        Self::send(context, peer, PlumtreeMessage::Graft { id });
    }

    fn announce(&mut self, context: &mut Context<'_>, to: NodeId, id: MessageId) {
        if planted!(context.planted, AnnouncementNotSent) {
            return;
        }
        let Some(round) = context.log.held(id).map(|held| held.round) else { return };
        let waiting = self.announcements.entry(to).or_default();
        waiting.push((id, round));
        if waiting.len() >= ANNOUNCED_MAX {
            let announced = core::mem::take(waiting);
            Self::send(context, to, PlumtreeMessage::IHave { announced });
        } else if self.flush.is_none() {
            self.flush = Some(context.now.plus_ms(self.config.announce_delay_ms));
        }
    }

    /// To all neighbours but the one it came from.
    fn spread(&mut self, context: &mut Context<'_>, id: MessageId, from: Option<NodeId>) {
        for place in 0..self.eager.len() {
            if Some(self.eager[place]) != from {
                context.send_gossip(self.eager[place], id);
            }
        }
        for place in 0..self.lazy.len() {
            if Some(self.lazy[place]) != from {
                if planted!(context.planted, LazyNeighbourPushed) {
                    context.send_gossip(self.lazy[place], id);
                }
                self.announce(context, self.lazy[place], id);
            }
        }
    }

    /// It is here: nobody has to be asked for it.
    fn found(&mut self, id: MessageId) -> Option<Missing> {
        let missing = self.missing.remove(&id)?;
        self.timers.remove(&(missing.timer, id));
        Some(missing)
    }

    /// The tree brought a broadcast, so long after it was announced.
    fn learn_patience(&mut self, lag_ms: u64) {
        self.lags_ms[1] = self.lags_ms[1].max(lag_ms);
        self.learned_from += 1;
        if self.learned_from == LEARNED_FROM {
            self.lags_ms = [self.lags_ms[1], 0];
            self.learned_from = 0;
        }
        let longest = self.lags_ms[0].max(self.lags_ms[1]);
        let most = self.config.graft_timeout_ms;
        self.patience_ms = longest.saturating_mul(2).clamp(self.config.graft_timeout_min_ms.min(most), most);
    }

    /// A shorter way was announced: swap the links, if the longer one is still the eager and the shorter the lazy one.
    fn optimise(&mut self, context: &mut Context<'_>, longer: NodeId, long: u16, shorter: NodeId, short: u16) {
        let worth = u32::from(short) + 1 + u32::from(self.config.threshold) <= u32::from(long);
        if worth && longer != shorter && has(&self.eager, longer) && has(&self.lazy, shorter) {
            context.counters.optimised += 1;
            self.graft(context, shorter, None);
            self.prune(context, longer);
        }
    }

    fn on_gossip(&mut self, context: &mut Context<'_>, from: NodeId, round: u16, message: super::message::Message) {
        let id = message.id;
        if !context.receive(from, round, message) {
            self.prune(context, from);
            return;
        }
        if planted!(context.planted, SenderStaysLazy) {
            // The link over which news came is not kept.
        } else {
            self.make_eager(from);
        }
        let missing = self.found(id);
        if missing.as_ref().is_none_or(|missing| missing.asked != Some(from)) {
            let since = missing.as_ref().map_or(context.now, |missing| missing.since);
            self.learn_patience(context.now.0.saturating_sub(since.0) / 1_000_000);
        }
        self.spread(context, id, Some(from));
        if let Some((shorter, short)) = missing.and_then(|m| m.announcers.into_iter().min_by_key(|(_, short)| *short)) {
            self.optimise(context, from, round, shorter, short);
        }
    }

    fn on_announced(&mut self, context: &mut Context<'_>, from: NodeId, id: MessageId, round: u16) {
        if context.log.is_known(id) {
            let delivered = context.log.held(id).and_then(|held| Some((held.from?, held.round)));
            if let Some((parent, long)) = delivered {
                self.optimise(context, parent, long, from, round);
            }
            return;
        }
        if let Some(missing) = self.missing.get_mut(&id) {
            if missing.announcers.len() < ANNOUNCERS_MAX && missing.announcers.iter().all(|(peer, _)| *peer != from) {
                missing.announcers.push((from, round));
                // All announcers so far were asked in vain, and only the expiry was awaited.
                if missing.timer == missing.expires {
                    let at = context.now.plus_ms(self.config.graft_retry_ms).min(missing.expires);
                    self.timers.remove(&(missing.timer, id));
                    missing.timer = at;
                    self.timers.insert((at, id));
                }
            } else {
                context.counters.announcements_dropped += 1;
            }
            return;
        }
        if self.missing.len() >= MISSING_MAX {
            context.counters.announcements_dropped += 1;
            return;
        }
        let expires = context.now.plus_ms(self.config.missing_ms);
        let timer = context.now.plus_ms(self.patience_ms).min(expires);
        let announcers = alloc::vec![(from, round)];
        self.missing.insert(id, Missing { announcers, since: context.now, asked: None, timer, expires });
        if !planted!(context.planted, MissingWithoutTimer) {
            self.timers.insert((timer, id));
        }
    }

    fn on_missing_timer(&mut self, context: &mut Context<'_>, id: MessageId) {
        let missing = self.missing.get_mut(&id).expect("a timer belongs to a missing broadcast");
        if missing.expires <= context.now {
            self.missing.remove(&id);
            context.counters.missing_expired += 1;
            return;
        }
        let announcer = (!missing.announcers.is_empty()).then(|| missing.announcers.remove(0));
        let at = if missing.announcers.is_empty() {
            // Nobody else is left to be asked; the expiry, unless somebody announces it again.
            missing.expires
        } else {
            context.now.plus_ms(self.config.graft_retry_ms).min(missing.expires)
        };
        missing.timer = at;
        self.timers.insert((at, id));
        if let Some((peer, _)) = announcer {
            missing.asked = Some(peer);
            self.graft(context, peer, Some(id));
        }
    }
}

impl Broadcast for Plumtree {
    fn publish(&mut self, context: &mut Context<'_>, id: MessageId) {
        self.spread(context, id, None);
    }

    /// The tree did not bring it: the neighbours may lack it, too.
    fn learned(&mut self, context: &mut Context<'_>, from: NodeId, id: MessageId) {
        self.found(id);
        for peer in self.eager.iter().chain(&self.lazy).copied().collect::<Vec<NodeId>>() {
            if peer != from {
                self.announce(context, peer, id);
            }
        }
    }

    fn on_message(&mut self, context: &mut Context<'_>, from: NodeId, message: DisseminationMessage) -> bool {
        match message {
            DisseminationMessage::Gossip { round, message } => self.on_gossip(context, from, round, message),
            DisseminationMessage::Plumtree(PlumtreeMessage::IHave { announced }) => {
                for (id, round) in announced {
                    self.on_announced(context, from, id, round);
                }
            }
            DisseminationMessage::Plumtree(PlumtreeMessage::Graft { id }) => {
                self.make_eager(from);
                let id = id.filter(|_| !planted!(context.planted, GraftNotAnswered));
                if id.is_some_and(|id| !context.send_gossip(from, id)) {
                    context.counters.grafts_in_vain += 1;
                }
            }
            DisseminationMessage::Plumtree(PlumtreeMessage::Prune) => self.make_lazy(from),
            _ => return false,
        }
        true
    }

    fn neighbour_up(&mut self, context: &mut Context<'_>, peer: NodeId, spare: bool) {
        // What takes the place of a lazy link begins lazy: the tree is whole without it.
        if spare && !self.eager.is_empty() {
            insert(&mut self.lazy, peer);
        } else if !has(&self.lazy, peer) {
            insert(&mut self.eager, peer);
        }
        if planted!(context.planted, NewNeighbourHearsNothing) {
            return;
        }
        let since = Time(context.now.0.saturating_sub(self.config.recent_ms * 1_000_000));
        let recent: Vec<MessageId> = context.log.recent(since, super::message::IDS_MAX).collect();
        for id in recent {
            self.announce(context, peer, id);
        }
    }

    fn neighbour_down(&mut self, context: &mut Context<'_>, peer: NodeId) {
        if planted!(context.planted, LostNeighbourStaysEager) {
            return;
        }
        remove(&mut self.eager, peer);
        remove(&mut self.lazy, peer);
        self.announcements.remove(&peer);
        for missing in self.missing.values_mut() {
            missing.announcers.retain(|(announcer, _)| *announcer != peer);
        }
    }

    fn on_deadline(&mut self, context: &mut Context<'_>) {
        if self.flush.is_some_and(|at| at <= context.now) {
            self.flush = None;
            for (peer, announced) in core::mem::take(&mut self.announcements) {
                if !announced.is_empty() {
                    Self::send(context, peer, PlumtreeMessage::IHave { announced });
                }
            }
        }
        while let Some(&(at, id)) = self.timers.first()
            && at <= context.now
        {
            self.timers.remove(&(at, id));
            self.on_missing_timer(context, id);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        [self.flush, self.timers.first().map(|(at, _)| *at)].into_iter().flatten().min()
    }

    fn links(&self) -> Option<(&[NodeId], &[NodeId])> {
        Some((&self.eager, &self.lazy))
    }

    fn state_size(&self) -> usize {
        self.missing.len() + self.announcements.values().map(Vec::len).sum::<usize>()
    }

    fn flaw(&self, peers: Peers<'_>) -> Option<String> {
        if let Some(both) = self.eager.iter().find(|peer| has(&self.lazy, **peer)) {
            return Some(format!("{both} is both eager and lazy"));
        }
        let stranger = self.eager.iter().chain(&self.lazy).find(|peer| !peers.contains(**peer));
        if let Some(stranger) = stranger {
            return Some(format!("{stranger} is eager or lazy and no neighbour"));
        }
        let links = self.eager.len() + self.lazy.len();
        if links != peers.len() {
            return Some(format!("{links} of {} neighbours are eager or lazy", peers.len()));
        }
        let timeless = self.missing.iter().find(|(id, missing)| !self.timers.contains(&(missing.timer, **id)));
        if let Some((id, _)) = timeless {
            return Some(format!("{} of {} is missing and has no timer", id.sequence, id.origin));
        }
        let bounded = self.missing.len() <= MISSING_MAX
            && self.timers.len() == self.missing.len()
            && self.announcements.values().all(|waiting| waiting.len() < ANNOUNCED_MAX);
        (!bounded).then(|| String::from("a table is beyond its bound"))
    }
}
