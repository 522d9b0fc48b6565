//! The metadata of one node as a state machine: its own record, what it heard, when it exchanges digests.
//!
//! ```text
//!   heard of myself what I did not say (a failure mark, an older life): raise my incarnation, say so
//!   heard of my own end:                                                I am out, and say nothing any more
//!   a peer left:                                                        drop what is known of it after LEFT_KEPT_MS
//! ```
//!
//! What a node changed itself is announced (a broadcast each list); what it heard is not: the exchange brings that on, and broadcasts
//! reach others by themselves. Everything that changed is handed to the host, which makes it durable before anything is sent.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::exchange::{MetadataMessage, split};
use super::map::{Merged, MetadataMap, Name, OPTIONS_MAX, Record};
use super::members::{Member, MemberRecord, MemberState};
use super::options::OptionRecord;
use crate::{NodeId, Planted, Time, planted};

/// How long a node remembers tokens and address of a member that left.
pub const LEFT_KEPT_MS: u64 = 60_000;

/// Declares the counters once: a field, its name for the status call, and its meaning.
macro_rules! counters {
    ($($(#[$meaning:meta])+ $name:ident,)+) => {
        /// What the metadata of a node has done.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct PlaneCounters {
            $($(#[$meaning])+ pub $name: u64,)+
        }

        impl PlaneCounters {
            /// Every counter by name.
            pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Records that changed here, own ones included.
    records_changed,
    /// Records announced by broadcast.
    records_announced,
    /// Records that came and can't be, or are beyond a bound.
    records_refused,
    /// Exchanges of digests that this node began.
    exchanges_begun,
    /// Messages of exchanges that this node received, and whose digest it found different.
    exchanges_differed,
    /// Times that this node raised its incarnation because of what others said of it.
    incarnations_raised,
    /// Failure marks that this node made.
    failures_marked,
    /// Members whose record was dropped after they left.
    members_collected,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaneEffects {
    /// Names whose records changed: to be made durable first of all.
    pub changed: Vec<Name>,
    /// Lists of records to broadcast, each short enough for one payload.
    pub announce: Vec<Vec<(Name, Record)>>,
    /// To send to the peer whose message was handled, or that the exchange is with.
    pub send: Vec<MetadataMessage>,
}

/// The metadata of one node.
#[derive(Debug)]
pub struct Plane {
    identity: NodeId,
    map: MetadataMap,
    /// What this node says of itself.
    own: Member,
    interval_ms: u64,
    next_exchange: Time,
    rng: ChaCha8Rng,
    /// Members that left, by the time to drop what is known of them.
    to_collect: BTreeSet<(Time, NodeId)>,
    counters: PlaneCounters,
    planted: Planted,
}

impl Plane {
    /// The metadata of a node at its start, and what it has to make durable and to say first.
    ///
    /// `own` is what the configuration says of the node itself; `members` are the configured ones; `recovered` is what the store
    /// held, and `interval_ms` lies between two exchanges.
    pub fn start(
        own: Member,
        members: impl Iterator<Item = Member>,
        recovered: Vec<(Name, Record)>,
        interval_ms: u64,
        mut rng: ChaCha8Rng,
        planted: Planted,
        now: Time,
    ) -> (Plane, PlaneEffects) {
        let identity = own.node;
        let mut map = MetadataMap::new(planted);
        for member in members {
            map.merge(Name::Member(member.node), Record::Member(MemberRecord::of(member)));
        }
        let mut counters = PlaneCounters::default();
        let started_before = recovered.iter().any(|(name, _)| *name == Name::Member(identity));
        for (name, record) in recovered {
            counters.records_refused += u64::from(map.merge(name, record) == Merged::Refused);
        }
        let phase_ms = 1 + rng.next_u64() % interval_ms.max(1);
        let next_exchange = now.plus_ms(phase_ms);
        let to_collect = BTreeSet::new();
        let mut plane = Plane { identity, map, own, interval_ms, next_exchange, rng, to_collect, counters, planted };
        let left: Vec<NodeId> =
            plane.map.members().filter(|(member, _)| has_left(member)).map(|(member, _)| member.node).collect();
        plane.to_collect.extend(left.into_iter().map(|node| (now.plus_ms(LEFT_KEPT_MS), node)));
        let mut effects = PlaneEffects::default();
        match plane.map.member(identity).cloned() {
            _ if plane.is_out() => {}
            Some(stored) if started_before => {
                // Another life: whatever was said of the former one is over.
                plane.own = Member { state: stored.state, replaces: stored.replaces, ..plane.own };
                plane.raise(&mut effects);
            }
            // As everyone knows it from the configuration; durable, so that the next start is seen to be another one.
            Some(configured) if configured == plane.own => effects.changed.push(Name::Member(identity)),
            _ => plane.state_own(&mut effects),
        }
        plane.account(&effects);
        (plane, effects)
    }

    /// The map.
    pub fn map(&self) -> &MetadataMap {
        &self.map
    }

    /// What this node says of itself.
    pub fn own(&self) -> &Member {
        &self.own
    }

    /// What was done so far.
    pub fn counters(&self) -> &PlaneCounters {
        &self.counters
    }

    /// Whether this node is a member no longer.
    pub fn is_out(&self) -> bool {
        match self.map.member_record(self.identity) {
            Some(MemberRecord::Known { member, .. }) => has_left(member),
            Some(MemberRecord::Gone) => true,
            None => false,
        }
    }

    /// States something new about the node itself: its place in life, tokens, whom it replaces, its address. A step back in life
    /// raises the incarnation; who left stays out.
    pub fn set_own(&mut self, change: impl FnOnce(&mut Member)) -> PlaneEffects {
        let mut effects = PlaneEffects::default();
        if self.is_out() {
            return effects;
        }
        let before = self.own.clone();
        change(&mut self.own);
        (self.own.node, self.own.incarnation) = (self.identity, before.incarnation);
        if self.own == before {
            return effects;
        }
        let forward = self.own.state > before.state;
        let rest = |member: &Member| Member { state: MemberState::Joining, ..member.clone() };
        if forward && rest(&self.own) == rest(&before) {
            self.state_own(&mut effects);
        } else {
            self.raise(&mut effects);
        }
        self.settle(&mut effects);
        self.account(&effects);
        effects
    }

    /// Declares a dead member out for good: somebody else has its ranges.
    pub fn declare_left(&mut self, node: NodeId, now: Time) -> PlaneEffects {
        let mut effects = PlaneEffects::default();
        if let Some(member) = self.map.member(node).filter(|member| !has_left(member)) {
            let member = Member { state: MemberState::Left, ..member.clone() };
            self.put(Name::Member(node), Record::Member(MemberRecord::of(member)), &mut effects);
            self.note_left(&effects.changed.clone(), now);
        }
        self.account(&effects);
        effects
    }

    /// Says that these members are held for dead.
    pub fn mark_down(&mut self, nodes: &[NodeId]) -> PlaneEffects {
        let mut effects = PlaneEffects::default();
        for &node in nodes {
            let Some(MemberRecord::Known { member, down: None }) = self.map.member_record(node) else { continue };
            if node == self.identity || has_left(member) {
                continue;
            }
            let record = MemberRecord::Known { member: member.clone(), down: Some(self.identity) };
            self.put(Name::Member(node), Record::Member(record), &mut effects);
            self.counters.failures_marked += 1;
        }
        self.account(&effects);
        effects
    }

    /// These members are heard again. Only they themselves take the mark away.
    pub fn mark_up(&mut self, nodes: &[NodeId]) -> PlaneEffects {
        let mut effects = PlaneEffects::default();
        if planted!(self.planted, ForeignIncarnation) {
            for node in nodes {
                let Some(MemberRecord::Known { member, down: Some(_) }) = self.map.member_record(*node) else {
                    continue;
                };
                let member = Member { incarnation: member.incarnation + 1, ..member.clone() };
                self.put(Name::Member(*node), Record::Member(MemberRecord::of(member)), &mut effects);
            }
        }
        self.account(&effects);
        effects
    }

    /// Changes an option; the record, or why not.
    ///
    /// # Errors
    /// A sentence: the name or value can't be, or there are too many options.
    pub fn set_option(&mut self, name: &str, value: &str) -> Result<(OptionRecord, PlaneEffects), &'static str> {
        if !OptionRecord::is_name(name) {
            return Err("a name is words of letters, digits, _ and - with dots between them, at most 64 bytes");
        }
        if value.len() > OptionRecord::VALUE_MAX {
            return Err("the value is longer than 1024 bytes: make it shorter");
        }
        let known = self.map.option(name).map(|option| option.version);
        if known.is_none() && self.map.options_len() >= OPTIONS_MAX {
            return Err("there are 1024 options already: change one of them");
        }
        let highest = self.map.options().map(|(_, option)| option.version).max();
        let known = if planted!(self.planted, OptionsShareAVersion) { highest } else { known };
        let version = known.unwrap_or_default().saturating_add(1);
        let record = OptionRecord { version, origin: self.identity, value: value.into() };
        let mut effects = PlaneEffects::default();
        self.put(Name::Option(name.into()), Record::Option(record.clone()), &mut effects);
        self.account(&effects);
        Ok((record, effects))
    }

    /// Records that a broadcast brought.
    pub fn on_announced(&mut self, records: Vec<(Name, Record)>, now: Time) -> PlaneEffects {
        self.on_message(MetadataMessage::Records { records, wanted: Vec::new() }, now)
    }

    /// A message of an exchange.
    pub fn on_message(&mut self, message: MetadataMessage, now: Time) -> PlaneEffects {
        self.counters.exchanges_differed += u64::from(matches!(message, MetadataMessage::Buckets { .. }));
        let answer = self.map.on_message(message);
        self.counters.records_refused += answer.refused;
        let mut effects = PlaneEffects { changed: answer.changed, announce: Vec::new(), send: answer.replies };
        self.note_left(&effects.changed.clone(), now);
        self.settle(&mut effects);
        self.account(&effects);
        effects
    }

    /// When [`Plane::on_deadline`] is to be called at the latest.
    pub fn next_deadline(&self) -> Time {
        self.to_collect.first().map_or(self.next_exchange, |(at, _)| (*at).min(self.next_exchange))
    }

    /// The time that `next_deadline` named has come; the second is whom to send to, one of `peers`.
    pub fn on_deadline(&mut self, peers: &[NodeId], now: Time) -> (PlaneEffects, Option<NodeId>) {
        let mut effects = PlaneEffects::default();
        while let Some(&(at, node)) = self.to_collect.first()
            && at <= now
        {
            self.to_collect.pop_first();
            if self.map.collect(node) {
                self.counters.members_collected += 1;
                effects.changed.push(Name::Member(node));
            }
        }
        let mut peer = None;
        if self.next_exchange <= now {
            self.next_exchange = now.plus_ms(self.interval_ms);
            if !peers.is_empty() && !planted!(self.planted, MetadataNeverExchanged) {
                peer = Some(peers[(self.rng.next_u64() % peers.len() as u64) as usize]);
                self.counters.exchanges_begun += 1;
                effects.send.push(self.map.begin_exchange());
            }
        }
        self.account(&effects);
        (effects, peer)
    }

    /// Merges what this node says, and announces it.
    fn put(&mut self, name: Name, record: Record, effects: &mut PlaneEffects) {
        if self.map.merge(name.clone(), record) == Merged::Changed {
            let record = self.map.get(&name).expect("it was merged").clone();
            effects.changed.push(name.clone());
            self.announce(alloc::vec![(name, record)], effects);
        }
    }

    fn announce(&mut self, records: Vec<(Name, Record)>, effects: &mut PlaneEffects) {
        self.counters.records_announced += records.len() as u64;
        let known: Vec<(Name, Record)> = core::mem::take(&mut effects.announce).into_iter().flatten().collect();
        let all = known.into_iter().chain(records).collect();
        effects.announce = split(all, |(name, record): &(Name, Record)| name.bytes() + record.bytes());
    }

    fn state_own(&mut self, effects: &mut PlaneEffects) {
        self.put(Name::Member(self.identity), Record::Member(MemberRecord::of(self.own.clone())), effects);
        if planted!(self.planted, IncarnationNotDurable) {
            effects.changed.retain(|name| *name != Name::Member(self.identity));
        }
    }

    /// Says the same again in an incarnation above everything that was ever heard.
    fn raise(&mut self, effects: &mut PlaneEffects) {
        let heard = self.map.member(self.identity).map_or(0, |member| member.incarnation);
        self.own.incarnation = self.own.incarnation.max(heard).saturating_add(1);
        self.state_own(effects);
    }

    /// Answers what was said of this node.
    fn settle(&mut self, effects: &mut PlaneEffects) {
        let said = match self.map.member_record(self.identity) {
            Some(MemberRecord::Known { member, down }) if !has_left(member) => (*member != self.own, down.is_some()),
            _ => return,
        };
        if said == (false, false) || (!said.0 && planted!(self.planted, FailureNotRefuted)) {
            return;
        }
        // A mark that stays whatever is said would be contradicted without end.
        if !said.0 && planted!(self.planted, FailureMarkOutlives) && self.counters.incarnations_raised > 0 {
            return;
        }
        self.counters.incarnations_raised += 1;
        self.raise(effects);
    }

    fn note_left(&mut self, changed: &[Name], now: Time) {
        let waiting: BTreeMap<NodeId, Time> = self.to_collect.iter().map(|(at, node)| (*node, *at)).collect();
        for name in changed {
            if let Name::Member(node) = name
                && self.map.member(*node).is_some_and(has_left)
                && !waiting.contains_key(node)
            {
                self.to_collect.insert((now.plus_ms(LEFT_KEPT_MS), *node));
            }
        }
    }

    fn account(&mut self, effects: &PlaneEffects) {
        self.counters.records_changed += effects.changed.len() as u64;
    }
}

fn has_left(member: &Member) -> bool {
    member.state == MemberState::Left
}
