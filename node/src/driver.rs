//! The driver: feeds the replica with what happens and carries out what it answers.
//!
//! ```text
//! streams, links, timers -> inbox -> Replica::handle -> Output -> durable? -> sends, replies
//!                                                          \-> commit threads /
//! ```
//!
//! Invariants:
//! - *Durable first*: an output's sends and replies are released after its batch, and those of all outputs before, are
//!   durable; in order. After a failed commit nothing is released and the node stops.
//! - The driver never waits for a peer or a client; it waits for the disk only by taking no further input.
//! - All changes of links happen here, in order with the messages that come over them.
//! - A process that its peers refuse, because another one of its identity answers, ends: what it would acknowledge, the cluster
//!   would never see.
//! - A driver that is asked to stop takes no further request and answers those it has taken, within a bound, before it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hearsay_core::{
    ClientError, ClientErrorKind, ClientResponse, Event, Input, Link, MessageKind, Output, Replica, RequestId, Send,
    SentTraffic, Time, codec, planted,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use crate::clock::Clock;
use crate::commit::Committer;
use crate::counters::Counters;
use crate::release::ReleaseQueue;
use crate::store::StoreError;
use crate::transport::contest::Contest;
use crate::transport::frames::LENGTH_BYTES;
use crate::transport::links::{Links, Offer, Verdict};
use crate::transport::requests::Asker;
use crate::transport::{Arrival, Context, DialEnd, LinkChange, link};

/// Arrivals waiting for the driver; the tasks that bring more wait.
pub(crate) const INBOX_MAX: usize = 1_024;
/// Arrivals taken in one turn, whose batches go to the disk together. Between turns the network is served, so that the other
/// side works on the first answers while this one makes the next. Measured with 4 to 256: 8 is best with 16 requests in
/// flight and hardly below the best with 64.
const TURN_MAX: usize = 8;
/// Outputs that may wait for the disk before the driver stops taking inputs.
const UNRELEASED_MAX: usize = 8_192;

/// How long requests in work may take to be answered after the order to stop, unless the node says otherwise.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// What of an output waits for the disk.
#[derive(Debug)]
struct Effects {
    send: Vec<Send>,
    reply: Vec<(RequestId, ClientResponse)>,
}

/// Everything the driver owns.
pub(crate) struct Driver {
    replica: Replica,
    clock: Clock,
    context: Arc<Context>,
    links: Links<quinn::Connection>,
    asking: BTreeMap<RequestId, Asker>,
    last_request: u64,
    committer: Committer,
    unreleased: ReleaseQueue<Effects>,
    counters: Arc<Counters>,
    /// Messages handed to the links, by kind.
    sent: SentTraffic,
    drain_within: Duration,
    contest: Contest,
    /// Another process of this identity serves the cluster.
    contested: Option<String>,
}

/// Why a driver had to end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The disk refused a commit. What waited for it was not released.
    Disk(StoreError),
    /// Another process of this identity is linked and answers, says a peer in a sentence.
    Contested(String),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Ended {
        Ended::Disk(error)
    }
}

impl Driver {
    pub(crate) fn new(
        replica: Replica,
        clock: Clock,
        context: Arc<Context>,
        links: Links<quinn::Connection>,
        committer: Committer,
    ) -> Driver {
        let counters = Arc::clone(&context.counters);
        Driver {
            replica,
            clock,
            context,
            links,
            asking: BTreeMap::new(),
            last_request: 0,
            committer,
            unreleased: ReleaseQueue::new(),
            counters,
            sent: SentTraffic::default(),
            drain_within: DRAIN_WITHIN,
            contest: Contest::default(),
            contested: None,
        }
    }

    /// Sets how long requests in work may take to be answered after the order to stop.
    pub(crate) fn drain_within(self, drain_within: Duration) -> Driver {
        Driver { drain_within, ..self }
    }

    /// Runs until `stop` is done and the requests in work are answered; how many were not, within the time for it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(
        mut self,
        booted: Output,
        mut inbox: mpsc::Receiver<Arrival>,
        stop: impl Future<Output = ()>,
    ) -> Result<usize, Ended> {
        let mut stop = std::pin::pin!(stop);
        let mut drained = std::pin::pin!(sleep_until(Instant::now().into()));
        let mut stopping = false;
        let mut timer = std::pin::pin!(sleep_until(Instant::now().into()));
        let mut timer_at = None;
        let mut turn = Vec::with_capacity(TURN_MAX);
        let mut full_turn = false;
        self.take(booted);
        loop {
            self.committer.submit();
            self.release();
            if !stopping && self.replica.has_left() {
                stopping = true;
                self.context.stopping.store(true, Ordering::Relaxed);
                drained.as_mut().reset((Instant::now() + self.drain_within).into());
                tracing::info!("{} has left the cluster for good", self.context.hello.node);
            }
            if let Some(reason) = self.contested.take() {
                // Clients hear of nothing more from a node that is not part of the cluster.
                self.committer.finish()?;
                return Err(Ended::Contested(reason));
            }
            if stopping && self.asking.is_empty() && self.unreleased.len() == 0 {
                break;
            }
            let has_room = self.unreleased.len() < UNRELEASED_MAX;
            if !has_room {
                self.counters.store_backpressure.one();
            }
            let deadline = self.replica.next_deadline();
            if deadline != timer_at {
                timer_at = deadline;
                if let Some(instant) = deadline.and_then(|time| self.clock.instant(time)) {
                    timer.as_mut().reset(instant.into());
                }
            }
            if std::mem::take(&mut full_turn) {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    stopping = true;
                    self.context.stopping.store(true, Ordering::Relaxed);
                    drained.as_mut().reset((Instant::now() + self.drain_within).into());
                    tracing::info!("{} requests in work are answered first", self.asking.len());
                }
                () = &mut drained, if stopping => break,
                () = self.committer.progress() => {
                    if let Some(error) = self.committer.failure() {
                        return Err(error.into());
                    }
                }
                taken = inbox.recv_many(&mut turn, TURN_MAX), if has_room => {
                    if taken == 0 {
                        break;
                    }
                    full_turn = taken == TURN_MAX;
                    for arrival in turn.drain(..) {
                        self.arrive(arrival);
                    }
                    self.meet_deadline(deadline);
                }
                () = &mut timer, if has_room && deadline.is_some() => self.meet_deadline(deadline),
            }
        }
        // Whoever still waits for room in the inbox hears that its request was not taken.
        inbox.close();
        while let Ok(arrival) = inbox.try_recv() {
            if let Arrival::Request { asker, .. } = arrival {
                self.refuse(asker);
            }
        }
        self.committer.finish()?;
        self.release();
        Ok(self.asking.len())
    }

    /// A busy inbox must not starve the timers.
    fn meet_deadline(&mut self, deadline: Option<Time>) {
        if deadline.is_some_and(|time| time <= self.clock.now().time) {
            self.handle(Input::Deadline);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Request { asker, .. } if self.context.stopping.load(Ordering::Relaxed) => self.refuse(asker),
            Arrival::Request { request, asker } => {
                self.last_request += 1;
                let request_id = RequestId(self.last_request);
                self.asking.insert(request_id, asker);
                self.handle(Input::Client { request_id, request });
            }
            Arrival::Message { peer, link, message } => {
                if self.links.is_current(peer, link) {
                    self.handle(Input::Peer { from: peer, message });
                }
            }
            Arrival::Offer { offer, verdict } => self.judge(offer, verdict),
            Arrival::DialFailed { peer, dial, why } => {
                let duplicate = matches!(why, DialEnd::Duplicate);
                let change = self.links.dial_failed(Instant::now(), peer, dial, duplicate);
                self.change(change);
                if let DialEnd::Contested(reason) = why
                    && self.contest.said_by(peer)
                {
                    self.contested = Some(reason);
                }
            }
            Arrival::Lost { peer, link } => {
                let change = self.links.lost(peer, link);
                self.change(change);
            }
        }
    }

    /// Nothing of it has happened, and the client hears so.
    fn refuse(&self, asker: Asker) {
        let node = self.context.hello.node;
        let message = format!("{node} is stopping and takes no further requests: ask another node");
        asker.answer(ClientResponse::Failed(ClientError { kind: ClientErrorKind::Unavailable, message }));
    }

    fn judge(&mut self, offer: Offer<quinn::Connection>, verdict: oneshot::Sender<Verdict<quinn::Connection>>) {
        let peer = offer.peer;
        let (decision, changes) = self.links.offer(offer);
        self.change(changes);
        // Whoever asked has ended meanwhile and will not report the loss.
        if let Err(Verdict::Link(link, _)) = verdict.send(decision) {
            let change = self.links.lost(peer, link);
            self.change(change);
        }
    }

    fn change(&mut self, changes: impl IntoIterator<Item = LinkChange>) {
        for (peer, state) in changes {
            if state == Link::Up {
                self.contest.linked(peer);
            }
            self.handle(Input::Link { peer, state });
        }
    }

    fn handle(&mut self, input: Input) {
        let output = self.replica.handle(self.clock.now(), input);
        self.take(output);
    }

    fn take(&mut self, output: Output) {
        let Output { durable, send, reply, hang_up, addresses, events } = output;
        for (node, address) in addresses {
            match str::from_utf8(&address).ok().and_then(|text| text.parse().ok()) {
                Some(address) => self.links.learn(node, address),
                None => tracing::warn!("the address of {node} is none: it can't be reached unless it comes here"),
            }
        }
        events.into_iter().for_each(log);
        // Nothing has been sent on these for long, so nothing that waits for the disk is for them.
        hang_up.into_iter().for_each(|peer| self.links.hang_up(peer));
        if !durable.is_empty() {
            self.committer.gather(&durable);
        }
        if send.is_empty() && reply.is_empty() {
            return;
        }
        let ticket = self.committer.last();
        let effects = Effects { send, reply };
        let durable = self.unreleased.len() == 0 && self.committer.is_durable(ticket);
        if durable || planted!(self.replica.planted(), AcknowledgeBeforeDurable) {
            self.carry_out(effects);
        } else {
            self.unreleased.push(ticket, effects);
        }
    }

    fn release(&mut self) {
        while let Some(effects) = self.unreleased.pop(|ticket| self.committer.is_durable(ticket)) {
            self.carry_out(effects);
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        let now = Instant::now();
        for Send { to, lane, message } in effects.send {
            let frame = codec::encode(&message);
            self.sent.note(MessageKind::of(&message), (frame.len() + LENGTH_BYTES) as u64);
            let order = if message.may_be_lost() {
                self.links.send_lossy(now, to, lane, &frame)
            } else {
                self.links.send(now, to, lane, &frame)
            };
            if let Some(order) = order {
                tokio::spawn(link::dial(Arc::clone(&self.context), order));
            }
        }
        for (request_id, mut response) in effects.reply {
            let asker = self.asking.remove(&request_id).expect("the replica answers each request once");
            if let ClientResponse::Status(report) = &mut response {
                report.counters.extend(self.counters.report().map(|(name, count)| (name.to_owned(), count)));
                report.counters.extend(self.sent.by_name());
            }
            asker.answer(response);
        }
    }
}

fn log(event: Event) {
    match event {
        Event::PeerUp(peer) => tracing::info!("{peer} is alive"),
        Event::PeerDown(peer) => tracing::info!("{peer} is held for dead"),
        Event::CatchingUp => tracing::info!("catching up: no replica reads are answered until the others were asked"),
        Event::CaughtUp => tracing::info!("caught up"),
        Event::Ring(sentence) => tracing::info!("{sentence}"),
        Event::Warning(sentence) => tracing::warn!("{sentence}"),
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
