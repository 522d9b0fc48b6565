//! The world: all nodes, connections and what is to come; every event changes it at its time, in its order.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hearsay_core::{
    ClientRequest, ClientResponse, Cluster, ClusterConfig, ConfigError, Input, Joining, Marks, MessageKind, NodeId,
    Output, Planted, Replica, RequestId, Send, planted,
};
use rand::Rng;

use super::connection::{ConnectionId, Frame, Packet, Party, Side};
use super::disk::{CrashLoss, Disk};
use super::event_queue::EventQueue;
use super::links::Connections;
use super::node::{Ailment, Effects, Node, Outgoing, Process};
use super::noise::Noise;
use super::run::Wake;
use super::run_hash::{RunHash, Watch};
use super::settings::{Settings, UNRELEASED_MAX};
use super::streams::{stream, sub_seed};
use super::tape::{Hindrance, Parcel, What};
use super::wire::Wire;

/// Lines of all nodes' logs that are kept.
const LOG_LINES_MAX: usize = 200_000;
/// Packets that wait for a paused process at most, besides those of streams.
const WAITING_MAX: usize = 16_384;

/// Something that happens to a side of a connection, when its process lets it.
#[derive(Debug)]
pub(super) enum Happening {
    Packet { connection: ConnectionId, to: Side, packet: Packet },
    Dial { connection: ConnectionId, attempt: u32 },
    HandshakeTimeout { connection: ConnectionId },
    HelloTimeout { connection: ConnectionId },
    KeepAlive { connection: ConnectionId },
    Idle { connection: ConnectionId, side: Side },
    Drain { connection: ConnectionId, from: Side },
    Retry { connection: ConnectionId, from: Side, retry: u32 },
}

impl Happening {
    fn place(&self) -> (ConnectionId, Side) {
        match *self {
            Happening::Packet { connection, to, .. } => (connection, to),
            Happening::Dial { connection, .. }
            | Happening::HandshakeTimeout { connection }
            | Happening::HelloTimeout { connection }
            | Happening::KeepAlive { connection } => (connection, Side::Dialler),
            Happening::Idle { connection, side } => (connection, side),
            Happening::Drain { connection, from } | Happening::Retry { connection, from, .. } => (connection, from),
        }
    }
}

/// What is planned.
#[derive(Debug)]
pub(super) enum Event {
    At(Happening),
    Boot {
        node: NodeId,
        starts: u64,
    },
    Deadline {
        node: NodeId,
        time: u64,
    },
    Synced {
        node: NodeId,
        starts: u64,
    },
    /// A process that was asked to end looks whether it may.
    Leaving {
        node: NodeId,
        starts: u64,
    },
    /// For the harness around the world.
    Wake(Wake),
}

/// What a step did.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing is planned any more.
    Nothing,
    /// Something within the world.
    World,
    /// It is for the harness to act.
    Wake(Wake),
}

/// What clients hear.
#[derive(Debug)]
pub(super) enum ClientEvent {
    Connected { slot: u32, connection: ConnectionId },
    Response { slot: u32, connection: ConnectionId, call: u64, response: ClientResponse },
    Lost { slot: u32, connection: ConnectionId, reason: &'static str },
}

/// A line of a node's log.
#[derive(Debug)]
pub(super) struct LogLine {
    pub(super) time: u64,
    pub(super) node: NodeId,
    pub(super) event: hearsay_core::Event,
}

/// The world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) settings: Settings,
    /// What the nodes have in common, shared between them.
    pub(super) cluster: Cluster,
    request_timeout_ms: u64,
    planted: Planted,
    /// How nodes that are no members at the start come into the cluster.
    pub(super) joining: BTreeMap<NodeId, Joining>,
    pub(super) queue: EventQueue<Event>,
    pub(super) nodes: Vec<Node>,
    pub(super) connections: Connections,
    /// Connections begun so far, by pair.
    pub(super) dialled: BTreeMap<(Party, NodeId), u64>,
    pub(super) wire: Wire,
    pub(super) hash: RunHash,
    sequence: u64,
    events: u64,
    messages: u64,
    client_events: VecDeque<ClientEvent>,
    pub(super) log: Vec<LogLine>,
    pub(super) log_left_out: u64,
    died: Option<(NodeId, String)>,
    /// What was asked by [`World::examine`] and not fetched yet, with the answer once there is one.
    examined: BTreeMap<(NodeId, RequestId), Option<ClientResponse>>,
    /// Of processes that have ended.
    pub(super) marks: Marks,
}

/// Runs the core's code; a panic comes back as its message.
fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
    })
}

/// Place of a node in the table of nodes: members are n1, n2, ...
pub(super) fn place(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

impl World {
    /// A world whose nodes are not started yet.
    ///
    /// # Errors
    /// A configuration that can't work.
    pub(super) fn new(
        config: &ClusterConfig,
        seed: u64,
        settings: Settings,
        watch: Watch,
    ) -> Result<World, ConfigError> {
        let cluster = Cluster::new(config.clone())?;
        let mut members = config.members.clone();
        members.sort_unstable();
        if members.iter().zip(1..).any(|(member, number)| member.0 != number) {
            return Err(ConfigError("the simulator's members are n1, n2, ... without a gap: renumber them".to_owned()));
        }
        let node = |&id: &NodeId| Node::new(settings.clock, Noise::new(seed, "disk", &[u64::from(id.0)]));
        Ok(World {
            seed,
            settings,
            request_timeout_ms: config.request_timeout_ms,
            cluster,
            planted: Planted::NONE,
            joining: BTreeMap::new(),
            queue: EventQueue::new(),
            nodes: members.iter().map(node).collect(),
            connections: Connections::new(members.len()),
            dialled: BTreeMap::new(),
            wire: Wire::new(settings.link),
            hash: RunHash::new(watch),
            sequence: 0,
            events: 0,
            messages: 0,
            client_events: VecDeque::new(),
            log: Vec::new(),
            log_left_out: 0,
            died: None,
            examined: BTreeMap::new(),
            marks: Marks::default(),
        })
    }

    /// The same with a bug planted in every node.
    pub(super) fn with(self, planted: Planted) -> World {
        World { planted, ..self }
    }

    /// Nanoseconds since the start of the world.
    pub(super) fn now(&self) -> u64 {
        self.queue.now()
    }

    /// How long a coordinator works for one request, nanoseconds.
    pub(super) fn request_timeout(&self) -> u64 {
        self.request_timeout_ms.saturating_mul(1_000_000)
    }

    /// Events so far.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Rare branches that all processes have taken so far.
    pub(super) fn marks(&self) -> Marks {
        let mut marks = self.marks.clone();
        for replica in self.nodes.iter().filter_map(|node| node.replica.as_ref()) {
            marks.add(&replica.marks());
        }
        marks
    }

    /// The first node whose replica broke an invariant of its own, with its last words.
    pub(super) fn died(&self) -> Option<&(NodeId, String)> {
        self.died.as_ref()
    }

    /// Carries out the next event.
    pub(super) fn step(&mut self) -> Step {
        let Some((sequence, event)) = self.queue.pop() else { return Step::Nothing };
        self.sequence = sequence;
        self.events += 1;
        #[cfg(test)]
        if self.settings.altered_from == Some(self.events) {
            self.wire.link.latency_ns += 1_000;
        }
        match event {
            Event::At(happening) => {
                if let Some(happening) = self.cross(happening) {
                    self.happen(happening);
                }
            }
            Event::Boot { node, starts } => self.boot(node, starts),
            Event::Deadline { node, time } => self.deadline(node, time),
            Event::Synced { node, starts } => self.synced(node, starts),
            Event::Leaving { node, starts } => self.leaving(node, starts),
            Event::Wake(wake) => return Step::Wake(wake),
        }
        Step::World
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        let (id, side) = happening.place();
        let Some(connection) = self.connections.get_mut(id) else { return self.undelivered(&happening) };
        if let Party::Node(node) = connection.party(side) {
            let node = &mut self.nodes[place(node)];
            if !node.exists() {
                return self.undelivered(&happening);
            }
            if node.process == Process::Paused || node.unreleased.len() >= UNRELEASED_MAX {
                let is_frame = |packet: &Packet| matches!(packet, Packet::Frame(..));
                // As a full socket buffer does. What is lost of a stream comes again, so it is not lost here; its sender gives
                // up within the idle time-out.
                match &happening {
                    Happening::Packet { packet, .. } if !is_frame(packet) && node.waiting.len() >= WAITING_MAX => {
                        node.counters.dropped_waiting += 1;
                    }
                    _ => node.waiting.push_back(happening),
                }
                return;
            }
        }
        match happening {
            Happening::Packet { connection, to, packet } => self.arrive(connection, to, packet),
            Happening::Dial { connection, attempt } => self.try_dial(connection, attempt),
            Happening::HandshakeTimeout { connection } => self.dial_timeout(connection, false),
            Happening::HelloTimeout { connection } => self.dial_timeout(connection, true),
            Happening::KeepAlive { connection } => self.keep_alive(connection),
            Happening::Idle { connection, side } => self.check_idle(connection, side),
            Happening::Drain { connection, from } => self.drain(connection, from),
            Happening::Retry { connection, from, retry } => self.retry(connection, from, retry),
        }
    }

    /// A packet whose connection or receiver is gone.
    fn undelivered(&mut self, happening: &Happening) {
        let now = self.now();
        if let Happening::Packet { packet: Packet::Frame(_, frame, _), .. } = happening {
            self.hash.tape(|tape| tape.hindered(now, frame, Hindrance::ConnectionLost));
        }
    }

    // Processes.

    /// Starts a process; false when there is one.
    pub(super) fn start(&mut self, id: NodeId) -> bool {
        let (seed, now) = (self.seed, self.now());
        let node = &mut self.nodes[place(id)];
        if node.process != Process::Down {
            return false;
        }
        node.process = Process::Starting;
        node.starts += 1;
        let starts = node.starts;
        let mut random = stream(seed, "start", &[u64::from(id.0), starts]);
        let takes = self.settings.start_ns + random.next_u64() % self.settings.start_ns.max(1);
        self.queue.push(now + takes, Event::Boot { node: id, starts });
        true
    }

    fn boot(&mut self, id: NodeId, starts: u64) {
        let (seed, now) = (self.seed, self.now());
        let node = &mut self.nodes[place(id)];
        if node.process != Process::Starting || node.starts != starts {
            return;
        }
        let object = [u64::from(id.0), starts];
        let incarnation = stream(seed, "incarnation", &object).next_u64();
        let (recovered, clocks) = (node.disk.recover(), node.clock.now(now));
        self.hash.boot((now, self.sequence), id, incarnation, recovered.entries.len() as u64);
        let seed = sub_seed(seed, "node", &object);
        let (cluster, planted, joining) = (&self.cluster, self.planted, self.joining.get(&id).cloned());
        let booted =
            guarded(|| Replica::boot_joining(cluster, joining, planted, id, incarnation, recovered, seed, clocks));
        let (replica, output) = match booted {
            Ok(booted) => booted.expect("the configuration was checked, and the store is this node's own"),
            Err(message) => return self.dies(id, message),
        };
        let node = &mut self.nodes[place(id)];
        node.process = Process::Running;
        node.incarnation = incarnation;
        node.replica = Some(replica);
        self.take(id, output);
    }

    /// Ends a process at once; what was lost. `None`: there was none.
    pub(super) fn kill(&mut self, id: NodeId) -> Option<CrashLoss> {
        self.end_process(id, Disk::crash)
    }

    /// Ends a process together with its machine; what was lost. `torn`: drawn from this, parts are kept. `None`: there was no
    /// process.
    pub(super) fn cut_power(&mut self, id: NodeId, torn: Option<u64>) -> Option<CrashLoss> {
        let draw = torn.map(|seed| {
            move |below: usize| (stream(seed, "torn", &[u64::from(id.0)]).next_u64() % below as u64) as usize
        });
        self.end_process(id, |disk| disk.power_cut(draw))
    }

    fn end_process(&mut self, id: NodeId, lose: impl FnOnce(&mut Disk) -> CrashLoss) -> Option<CrashLoss> {
        let node = &mut self.nodes[place(id)];
        if node.process == Process::Down {
            return None;
        }
        let last = node.disk.last();
        let loss = lose(&mut node.disk);
        let now = self.queue.now();
        self.hash.tape(|tape| tape.killed(now, id, last, loss));
        if let Some(replica) = &node.replica {
            self.marks.add(&replica.marks());
        }
        node.forget();
        for connection in self.connections.of_node(id) {
            for side in [Side::Dialler, Side::Acceptor] {
                let known = self.connections.get_mut(connection);
                if let Some(known) = known.filter(|known| known.is_open(side) && known.party(side) == Party::Node(id)) {
                    known.dialling = false;
                    self.end(connection, side);
                }
            }
        }
        Some(loss)
    }

    /// Stops a process in its tracks; false when none runs.
    pub(super) fn pause(&mut self, id: NodeId) -> bool {
        let node = &mut self.nodes[place(id)];
        let runs = node.process == Process::Running;
        if runs {
            node.process = Process::Paused;
            let now = self.queue.now();
            self.hash.tape(|tape| tape.note(now, What::Pauses(id)));
        }
        runs
    }

    /// Lets a paused process go on; false when it is not paused.
    pub(super) fn proceed(&mut self, id: NodeId) -> bool {
        let node = &mut self.nodes[place(id)];
        if node.process != Process::Paused {
            return false;
        }
        node.process = Process::Running;
        let now = self.queue.now();
        self.hash.tape(|tape| tape.note(now, What::Proceeds(id)));
        if std::mem::take(&mut node.synced_unseen) {
            self.release_synced(id);
        }
        self.take_waiting(id);
        self.plan_deadline(id);
        true
    }

    /// What waited before the door comes in, in order.
    fn take_waiting(&mut self, id: NodeId) {
        for happening in std::mem::take(&mut self.nodes[place(id)].waiting) {
            self.happen(happening);
        }
    }

    // Inputs and outputs.

    /// Hands a running node an input. `number` is that of the message, where it is one.
    pub(super) fn input(&mut self, id: NodeId, input: Input, number: u64) {
        if self.is_deaf(id) {
            return;
        }
        let output = self.handle(id, input, number);
        self.take(id, output);
        self.end_if_left(id);
    }

    fn handle(&mut self, id: NodeId, input: Input, number: u64) -> Output {
        let now = self.now();
        self.hash.input((now, self.sequence), id, &input, number);
        let node = &mut self.nodes[place(id)];
        node.handled += 1;
        let clocks = node.clock.now(now);
        let replica = node.replica.as_mut().expect("only a process takes inputs");
        match guarded(|| replica.handle(clocks, input)) {
            Ok(output) => output,
            Err(message) => {
                self.dies(id, message);
                Output::default()
            }
        }
    }

    /// A replica broke an invariant of its own: its process ends, and with it soon the run.
    pub(super) fn dies(&mut self, id: NodeId, message: String) {
        self.died.get_or_insert((id, message));
        // What it was about to do stays undone; the run looks no further than this event.
        self.nodes[place(id)].process = Process::Paused;
    }

    /// Asks a node what it answers later, over a path that no fault touches; `None`: it does not run.
    pub(super) fn examine(&mut self, id: NodeId, request: ClientRequest) -> Option<RequestId> {
        let node = &mut self.nodes[place(id)];
        if !matches!(node.process, Process::Running) {
            return None;
        }
        node.last_request += 1;
        let request_id = RequestId(node.last_request);
        self.examined.insert((id, request_id), None);
        let output = self.handle(id, Input::Client { request_id, request }, 0);
        self.take(id, output);
        Some(request_id)
    }

    /// The answer to what was asked, if it has come.
    pub(super) fn take_examined(&mut self, id: NodeId, request: RequestId) -> Option<ClientResponse> {
        let answered = self.examined.get(&(id, request)).is_some_and(Option::is_some);
        if answered { self.examined.remove(&(id, request)).flatten() } else { None }
    }

    /// Asks a node over a path that no fault touches and that takes no time.
    ///
    /// # Errors
    /// It gives no answer, as a sentence.
    pub(super) fn ask(&mut self, id: NodeId, request: ClientRequest) -> Result<ClientResponse, String> {
        let node = &mut self.nodes[place(id)];
        match node.process {
            Process::Running => {}
            Process::Down | Process::Starting => return Err("it does not run".to_owned()),
            Process::Paused => return Err("it is paused".to_owned()),
        }
        node.last_request += 1;
        let request_id = RequestId(node.last_request);
        let mut output = self.handle(id, Input::Client { request_id, request }, 0);
        let at = output.reply.iter().position(|(answered, _)| *answered == request_id);
        let response = at.map(|at| output.reply.remove(at).1);
        if let Some(response) = &response {
            self.hash.reply(request_id.0, response);
        }
        self.take(id, output);
        match response {
            Some(mut response) => {
                self.add_driver_counters(id, &mut response);
                Ok(response)
            }
            None => Err("it did not answer at once".to_owned()),
        }
    }

    /// What the driver counts joins the replica's own counters in every status report.
    fn add_driver_counters(&self, id: NodeId, response: &mut ClientResponse) {
        let ClientResponse::Status(report) = response else { return };
        let node = &self.nodes[place(id)];
        report.counters.extend(node.counters.by_name().map(|(name, count)| (name.to_owned(), count)));
        report.counters.extend(node.sent.by_name());
    }

    fn take(&mut self, id: NodeId, output: Output) {
        // Links lead everywhere here: nobody needs to be told where another is.
        let Output { durable, send, reply, hang_up, addresses: _, events } = output;
        for event in events {
            self.hash.event(&event);
            if self.log.len() < LOG_LINES_MAX {
                self.log.push(LogLine { time: self.queue.now(), node: id, event });
            } else {
                self.log_left_out += 1;
            }
        }
        // Nothing has been sent on these for long, so nothing that waits for the disk is for them.
        for peer in hang_up {
            self.hash.hang_up(peer);
            self.hang_up(id, peer);
        }
        let node = &mut self.nodes[place(id)];
        if !durable.is_empty() {
            self.hash.durable(&durable, node.disk.last() + 1);
            node.disk.gather(durable);
            self.begin_sync(id);
        }
        if !send.is_empty() || !reply.is_empty() {
            let mut effects = Effects { send: Vec::with_capacity(send.len()), reply: Vec::with_capacity(reply.len()) };
            for Send { to, lane, message } in send {
                self.messages += 1;
                let number = self.messages;
                let bytes = self.hash.send(to, lane, number, &message);
                effects.send.push(Outgoing { to, lane, number, bytes, message });
            }
            for (request_id, response) in reply {
                let bytes = self.hash.reply(request_id.0, &response);
                effects.reply.push((request_id, response, bytes));
            }
            let releases_early = self.releases_early() || planted!(self.planted, AcknowledgeBeforeDurable);
            let node = &mut self.nodes[place(id)];
            let ticket = node.disk.last();
            if releases_early || (node.unreleased.is_empty() && node.disk.is_durable(ticket)) {
                self.carry_out(id, effects);
            } else {
                node.unreleased.push_back((ticket, effects));
                node.counters.backpressure += u64::from(node.unreleased.len() == UNRELEASED_MAX);
            }
        }
        self.plan_deadline(id);
    }

    #[cfg(test)]
    fn releases_early(&self) -> bool {
        self.settings.releases_early
    }
    #[cfg(not(test))]
    fn releases_early(&self) -> bool {
        false
    }

    fn carry_out(&mut self, id: NodeId, effects: Effects) {
        let now = self.now();
        for message in effects.send {
            self.nodes[place(id)].sent.note(MessageKind::of(&message.message), u64::from(message.bytes));
            self.hash.tape(|tape| tape.leaves(now, Parcel::Message(message.number)));
            self.send_message(id, message);
        }
        for (request_id, mut response, bytes) in effects.reply {
            if let Some(examined) = self.examined.get_mut(&(id, request_id)) {
                *examined = Some(response);
                continue;
            }
            self.add_driver_counters(id, &mut response);
            let asked = self.nodes[place(id)].asking.remove(&request_id);
            let (connection, call) = asked.expect("the replica answers each request once");
            self.hash.tape(|tape| tape.leaves(now, Parcel::Response(call)));
            let frame = Frame::Response(call, Box::new(response));
            self.send_frame(connection, Side::Acceptor, hearsay_core::Lane::Data, frame, bytes);
        }
    }

    pub(super) fn take_request(&mut self, connection: ConnectionId, id: NodeId, call: u64, request: ClientRequest) {
        let node = &mut self.nodes[place(id)];
        if node.leaving.is_some() {
            return self.refuse_request(connection, id, call);
        }
        node.counters.requests += 1;
        node.last_request += 1;
        let request_id = RequestId(node.last_request);
        node.asking.insert(request_id, (connection, call));
        let now = self.queue.now();
        self.hash.tape(|tape| tape.taken(now, id, call, request_id));
        self.input(id, Input::Client { request_id, request }, 0);
    }

    // Disk.

    fn begin_sync(&mut self, id: NodeId) {
        let (now, disk) = (self.now(), self.settings.disk);
        let node = &mut self.nodes[place(id)];
        if !node.disk.begin_sync() {
            return;
        }
        let drawn = node.disk_noise.at(now).next_u64();
        let share = |bits: u64, below: u64| ((bits & 0xffff) * below) >> 16;
        let mut takes = disk.sync_ns + share(drawn, disk.jitter_ns);
        if share(drawn >> 16, 1_000) < u64::from(disk.hiccups_per_thousand) {
            takes += share(drawn >> 32, disk.hiccup_ns);
        }
        if let Ailment::Slow(slower_ns) = node.ailment {
            takes += slower_ns;
        }
        node.sync_began = now;
        let starts = node.starts;
        self.queue.push(now + takes, Event::Synced { node: id, starts });
    }

    fn synced(&mut self, id: NodeId, starts: u64) {
        let node = &mut self.nodes[place(id)];
        if node.starts != starts || !node.exists() {
            return;
        }
        match node.ailment {
            Ailment::None | Ailment::Slow(_) => {}
            // It ends with the process: until then nobody hears of it.
            Ailment::Holds => return,
            Ailment::Refuses => {
                node.syncs.refused += 1;
                // What it can't make durable it may not acknowledge: the node ends, as the real one does. A disk that could not
                // take it does not have it.
                self.end_process(id, |disk| disk.power_cut(None::<fn(usize) -> usize>));
                return;
            }
        }
        if node.process == Process::Paused {
            node.synced_unseen = true;
            return;
        }
        self.release_synced(id);
        self.take_waiting(id);
        self.plan_deadline(id);
    }

    fn release_synced(&mut self, id: NodeId) {
        let node = &mut self.nodes[place(id)];
        node.counters.batches += node.disk.synced();
        node.counters.commits += 1;
        node.syncs.done += 1;
        node.syncs.took_ns += self.queue.now() - node.sync_began;
        let (now, durable) = (self.queue.now(), node.disk.durable());
        self.hash.tape(|tape| tape.synced(now, id, durable));
        self.begin_sync(id);
        loop {
            let node = &mut self.nodes[place(id)];
            let Some((_, effects)) = node.unreleased.pop_front_if(|(ticket, _)| node.disk.is_durable(*ticket)) else {
                return;
            };
            self.carry_out(id, effects);
        }
    }

    // Timers.

    fn plan_deadline(&mut self, id: NodeId) {
        let node = &mut self.nodes[place(id)];
        let Some(next) = node.replica.as_ref().and_then(Replica::next_deadline) else { return };
        if node.deadline.is_none_or(|planned| next.0 < planned) {
            node.deadline = Some(next.0);
            self.queue.push(next.0, Event::Deadline { node: id, time: next.0 });
        }
    }

    fn deadline(&mut self, id: NodeId, time: u64) {
        let now = self.now();
        let node = &mut self.nodes[place(id)];
        if node.deadline != Some(time) {
            return;
        }
        node.deadline = None;
        if node.process != Process::Running || node.unreleased.len() >= UNRELEASED_MAX {
            // Planned again when it goes on.
            return;
        }
        let due = node.replica.as_ref().and_then(Replica::next_deadline).is_some_and(|next| next.0 <= now);
        if due { self.input(id, Input::Deadline, 0) } else { self.plan_deadline(id) }
    }

    // Clients.

    pub(super) fn tell_client(&mut self, event: ClientEvent) {
        self.client_events.push_back(event);
    }

    /// What clients heard since this was asked last.
    pub(super) fn next_client_event(&mut self) -> Option<ClientEvent> {
        self.client_events.pop_front()
    }

    /// A client sends a request over its connection.
    pub(super) fn send_request(&mut self, connection: ConnectionId, call: u64, request: ClientRequest) {
        let (now, bytes) = (self.now(), self.hash.request(&request));
        self.hash.tape(|tape| tape.leaves(now, Parcel::Request(call)));
        let frame = Frame::Request(call, request);
        self.send_frame(connection, Side::Dialler, hearsay_core::Lane::Data, frame, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_replica_are_kept() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| -> u8 { panic!("{} is broken", "it") }), Err("it is broken".to_owned()));
    }
}
