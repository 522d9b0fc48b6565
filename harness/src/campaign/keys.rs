//! Every key of a campaign file, with its meaning. Read by the parser, shown in its errors.

use super::reader::KeyDoc;

/// The file.
pub(super) const CAMPAIGN_KEYS: &[KeyDoc] = &[
    ("campaign", "its name: small letters, digits and -"),
    ("about", "a sentence on what it shows"),
    ("cluster", "the nodes and how they are configured"),
    ("workload", "what the clients do: one of register, set, counter, scan, broadcast, options"),
    ("phases", "how long each phase takes"),
    ("faults", "what is done to the cluster; left out: nothing but load"),
    ("expect", "what each checker is to say: holds, violated or any"),
    ("swarm", "what --swarm may draw per seed, besides faults and mix; left out: nothing else"),
];

/// `cluster`. Left out: as the node has it by default.
pub(super) const CLUSTER_KEYS: &[KeyDoc] = &[
    ("nodes", "how many nodes, 1 to 10000; as processes up to 250"),
    ("replication", "replicas of each key (N), 1 to 9"),
    ("vnodes", "tokens of each node on the ring, 1 to 256"),
    ("read_repair", "what a coordinator does when replicas disagree: blocking, async or none"),
    ("request_timeout", "how long a coordinator works for one request"),
    ("repair_patience", "how long blocking read repair waits before it turns to further replicas"),
    ("requests_max", "requests in work at once at one coordinator"),
    ("heartbeat_interval", "between two heartbeats to each peer (default 250ms, rarer from 50 nodes on)"),
    ("heartbeat_timeout", "silence after which a peer is held for dead (default 1500ms, longer from 50 nodes on)"),
    ("merkle_interval", "between two Merkle exchanges that a node starts; 0s: none"),
    ("merkle_depth", "each range has a Merkle tree of 2^depth leaves, 0 to 16"),
    ("merkle_fan_out", "tree nodes that one question asks about below each that differs: 2, 4, 8 or 16"),
    ("merkle_bytes_per_s", "bytes that the Merkle exchanges of a node may move in a second; 0: as many as go"),
    ("conflict", "what becomes of concurrent writes: lww (the last one wins) or dcc (kept as siblings)"),
    ("exchange_interval", "with dcc: between two exchanges of version vectors that a node starts; 0 switches them off"),
    ("dot_log_max", "with dcc: most dots that a node logs for others that may lack them"),
    ("tombstone_grace", "age at which the mark of a deleted key is removed, up to 365d"),
    ("hints", "who keeps a write for a replica out of reach: none, or coordinator (default none)"),
    ("sloppy", "whether the next nodes on the ring stand in for replicas out of reach: true or false (default false)"),
    ("hint_window", "no new hints for a node that is away for longer (default 3h)"),
    ("hints_bytes", "bytes of hints that a node keeps for one other, at most (default 33554432)"),
    ("hint_replay", "records that a node hands over to one other per second, at most (default 40000)"),
    ("speculative_delay", "after which a read asks a further replica (default: as repair_patience)"),
    ("speculative_percentile", "the same as a percentile of recent reads, 50 to 99 (default: the delay alone)"),
    ("detection", "how a silent peer is judged: timeout, or phi (default timeout)"),
    ("digest_reads", "whether all replicas but one answer a read with a digest: true or false (default true)"),
    ("phi_threshold", "suspicion at which a peer is held for dead, 1 to 32 (default 8)"),
    ("dissemination", "how news spreads: broadcasts, and cluster metadata; left out: not at all"),
];

/// `cluster.dissemination`.
pub(super) const DISSEMINATION_KEYS: &[KeyDoc] = &[
    ("protocol", "direct, periodic, rumor, tree or plumtree (default plumtree)"),
    ("membership", "whom a node talks to: full, or hyparview (default hyparview)"),
    ("exchange_interval", "between two exchanges of digests that a node starts (default 2s); 0s: of broadcasts none"),
    ("active_view", "with hyparview: neighbours of a node (default 5)"),
    ("probe_interval", "with hyparview: before lost peers are tried again (default 10s, longer each time)"),
    ("shuffle_interval", "with hyparview: between two shuffles (default 10s)"),
];

/// `workload.broadcast`.
pub(super) const BROADCAST_KEYS: &[KeyDoc] = &[
    ("clients", "how many publishers"),
    ("rate", "broadcasts per second of all publishers together"),
    ("sticky", "how many of the publishers keep to one node; the others roam (default 0)"),
    ("at_most", "what broadcasts may cost, judged by gossip-cost (default: nothing is judged)"),
    ("client_timeout", "after which an operation's outcome is unknown (default twice cluster.request_timeout)"),
];

/// `workload.options`.
pub(super) const OPTIONS_KEYS: &[KeyDoc] = &[
    ("clients", "how many clients; each does one operation at a time"),
    ("rate", "changes per second of all clients together; a run may have 500 in all"),
    ("sticky", "how many of the clients keep to one node; the others roam (default 0)"),
    ("shared", "of a hundred changes so many are of a few options that all clients share, 0 to 99 (default 0)"),
    ("at_most", "what broadcasts may cost, judged by gossip-cost (default: nothing is judged)"),
    ("client_timeout", "after which an operation's outcome is unknown (default twice cluster.request_timeout)"),
];

/// `workload.broadcast.at_most` and `workload.options.at_most`, each a share of the deliveries of all nodes, such as 20%.
pub(super) const AT_MOST_KEYS: &[KeyDoc] = &[
    ("duplicates", "payloads received that were known"),
    ("grafts", "broadcasts asked for that the tree did not bring"),
    ("control", "messages without a payload"),
    ("evictions", "neighbours put out for others"),
    ("incarnations", "incarnations raised because of what others said"),
    ("left", "entries in tables at the end"),
];

/// `workload`.
pub(super) const WORKLOAD_KEYS: &[KeyDoc] = &[
    ("register", "read, write and delete registers"),
    ("set", "add elements to sets, read them, remove what was read"),
    ("counter", "add to counters, and read them"),
    ("scan", "read, write and delete registers, and scan groups of them"),
    ("broadcast", "broadcast numbers to all nodes"),
    ("options", "change options of the running cluster"),
];

/// `workload.register`.
pub(super) const REGISTER_KEYS: &[KeyDoc] = &[
    ("keys", "how many registers are in use at a time"),
    ("clients", "how many clients; each does one operation at a time"),
    ("rate", "operations per second of all clients together"),
    ("mix", "weights of the operations, such as {read: 50, write: 45, delete: 5}"),
    ("read_level", "replicas that a read asks: one, two, three, quorum, all, or a number"),
    ("write_level", "replicas that acknowledge a write or delete: any, one, two, three, quorum, all, or a number"),
    ("read_primaries", "with sloppy: so many of the replicas that a read asks must be the key's own (default: any)"),
    ("write_primaries", "with sloppy: so many of those that acknowledge a write must be the key's own (default: any)"),
    ("success_in_faults", "share of the operations that has to succeed among faults, such as 80%, for availability"),
    ("sticky", "how many of the clients keep to one node; the others roam (default 0)"),
    ("key_life", "after which all keys are left and fresh ones take their place (default: never)"),
    ("key_choice", "uniform, or zipf for hot keys (default uniform)"),
    ("client_timeout", "after which an operation's outcome is unknown (default twice cluster.request_timeout)"),
    ("overdue_skip", "an operation that would start so much too late is skipped (default 1s)"),
    HOT,
    ("value_bytes", "least bytes of a value, up to 65536 (default: as short as it goes)"),
];

const HOT: KeyDoc = ("hot", "keys that get a share of all operations, such as {keys: 2, share: 80} (default: none)");

/// `hot`.
pub(super) const HOT_KEYS: &[KeyDoc] =
    &[("keys", "how many keys are hot"), ("share", "operations of a hundred that go to one of them")];

/// `workload.set`: as registers, but for the size of values.
pub(super) const SET_KEYS: &[KeyDoc] = &COLLECTION_KEYS;

/// `workload.counter`: as sets.
pub(super) const COUNTER_KEYS: &[KeyDoc] = &COLLECTION_KEYS;

const COLLECTION_KEYS: [KeyDoc; 12] = [
    ("keys", "how many sets or counters are in use at a time"),
    REGISTER_KEYS[1],
    REGISTER_KEYS[2],
    ("mix", "weights of the operations, such as {read: 40, add: 40, update: 20}"),
    REGISTER_KEYS[4],
    REGISTER_KEYS[5],
    REGISTER_KEYS[9],
    REGISTER_KEYS[10],
    REGISTER_KEYS[11],
    REGISTER_KEYS[12],
    REGISTER_KEYS[13],
    HOT,
];

/// `workload.set.mix`. Left out: 0.
pub(super) const SET_MIX_KEYS: &[KeyDoc] = &[
    ("read", "weight of reads"),
    ("add", "weight of adds, whatever is in the set"),
    ("update", "weight of reads with an add behind them that replaces what was read"),
    ("remove", "weight of reads with a removal behind them of what was read; not with updates"),
];

/// `workload.counter.mix`. Left out: 0.
pub(super) const COUNTER_MIX_KEYS: &[KeyDoc] = &[SET_MIX_KEYS[0], SET_MIX_KEYS[1], SET_MIX_KEYS[2]];

/// `workload.scan`: as registers, in groups.
pub(super) const SCAN_KEYS: &[KeyDoc] = &[
    REGISTER_KEYS[0],
    REGISTER_KEYS[1],
    REGISTER_KEYS[2],
    ("mix", "weights of the operations, such as {read: 20, scan: 30, write: 40, delete: 10}"),
    REGISTER_KEYS[4],
    REGISTER_KEYS[5],
    REGISTER_KEYS[9],
    REGISTER_KEYS[10],
    REGISTER_KEYS[11],
    REGISTER_KEYS[12],
    REGISTER_KEYS[13],
    REGISTER_KEYS[14],
    REGISTER_KEYS[15],
    ("groups", "groups of keys; a scan is of one, now and then of all (default 5)"),
    ("limit", "most rows of a scan; each draws its own limit up to that (default 20)"),
];

/// `workload.scan.mix`. Left out: 0.
pub(super) const SCAN_MIX_KEYS: &[KeyDoc] = &[
    ("read", "weight of reads"),
    ("scan", "weight of scans"),
    ("write", "weight of writes"),
    ("delete", "weight of deletes"),
];

/// `workload.register.mix`. Left out: 0.
pub(super) const MIX_KEYS: &[KeyDoc] =
    &[("read", "weight of reads"), ("write", "weight of writes"), ("delete", "weight of deletes")];

/// `phases`.
pub(super) const PHASES_KEYS: &[KeyDoc] = &[
    ("warmup", "load without faults, first (default 0s)"),
    ("faults", "load with faults"),
    ("healed", "load without faults, after everything was healed (default 0s)"),
    ("converge_within", "longest wait, after the load, until all replicas are equal (default 30s)"),
];

/// `faults`.
pub(super) const FAULTS_KEYS: &[KeyDoc] = &[
    ("between", "from the healing of a fault to the next, such as [1s, 2s]"),
    ("at_once", "faults in force at the same time, of different kinds, 1 to 4 (default 1)"),
    (
        "spares",
        "nodes beyond cluster.nodes that are no members at the start, for join and replace, up to 16 (default 0)",
    ),
    (
        "kinds",
        "a list of partition, crash, pause, wipe, power-cut, slow-disk, failing-disk, links, clock, leave, join, retire, \
         replace, each with its parameters",
    ),
];

/// An item of `faults.kinds`.
pub const FAULT_KINDS: &[KeyDoc] = &[
    ("partition", "packets between nodes are dropped"),
    ("crash", "nodes are killed at once, and started again with their disks"),
    ("pause", "nodes are frozen, and go on"),
    ("wipe", "one node is killed, and started again with an empty disk"),
    ("power-cut", "nodes are killed at once while their disks hold back syncs; what was not synced is lost or torn"),
    ("slow-disk", "every sync of some nodes takes longer"),
    ("failing-disk", "the disks of some nodes refuse to sync, so that these have to stop; they are started again"),
    ("links", "packets are held, lost, duplicated, overtaken, beside all other faults"),
    ("clock", "wall clocks are off and drift; last-write-wins then may drop later writes"),
    ("leave", "nodes end in order (SIGTERM), and join again with their disk or an empty one; the ring stays"),
    ("join", "the ring changes: a spare node becomes a member"),
    ("retire", "the ring changes: a member hands over what it has and leaves for good"),
    ("replace", "the ring changes: a member is killed and its disk lost, and a spare node takes its place"),
];

/// `partition`.
pub(super) const PARTITION_KEYS: &[KeyDoc] = &[
    ("shapes", "a list of halves, random-halves, isolate-one, majorities-ring, bridge, one-way, clients"),
    FOR,
    QUIET,
    AT_LEAST,
    WEIGHT,
];

/// `crash`, `pause`, `power-cut` and `failing-disk`.
pub(super) const NODES_KEYS: &[KeyDoc] =
    &[("nodes", "how many: one, minority, majority, all, a number, or a list of these"), FOR, QUIET, AT_LEAST, WEIGHT];

/// `slow-disk`.
pub(super) const SLOW_DISK_KEYS: &[KeyDoc] = &[
    NODES_KEYS[0],
    ("sync", "how much longer each sync takes, such as 20ms or [5ms, 50ms] (default [5ms, 50ms])"),
    FOR,
    QUIET,
    AT_LEAST,
    WEIGHT,
];

/// `wipe`.
pub(super) const WIPE_KEYS: &[KeyDoc] = &[FOR, QUIET, AT_LEAST, WEIGHT];

/// `links`.
pub(super) const LINKS_KEYS: &[KeyDoc] = &[
    ("between", "which links, a list of nodes, clients, all, one-node, random-pairs (default nodes)"),
    ("latency", "every packet is held so long, up to 1s, such as 5ms or [2ms, 20ms]"),
    ("jitter", "and up to so much longer, up to 1s, such as 50ms or [10ms, 100ms]"),
    ("distribution", "of the jitter: uniform, normal or pareto (default uniform)"),
    ("loss", "share of the packets that is lost, such as 1%, up to 50%"),
    ("duplicate", "share of the packets that comes twice, up to 50%"),
    ("reorder", "share of the packets that is not held, and overtakes those that are, up to 50%"),
    ("bandwidth", "of each directed link, such as 500kbit/s, 10Mbit/s or 1Gbit/s"),
    ("queue", "how long packets may wait for that bandwidth, 1ms to 2s; the next ones are lost (default 2s)"),
    FOR,
    ("at_least", "so many in every run, spread over the phase (default: each scope once)"),
];

/// `clock`.
pub(super) const CLOCK_KEYS: &[KeyDoc] = &[
    ("nodes", "how many: one, minority, majority, all, a number, or a list of these"),
    ("offset", "how far ahead, behind when negative, such as 500ms or [-2s, 2s]"),
    ("drift", "how fast it gains, loses when negative, such as [-500ppm, 500ppm] (default 0ppm)"),
    FOR,
    QUIET,
    AT_LEAST,
    WEIGHT,
];

/// `leave`.
pub(super) const LEAVE_KEYS: &[KeyDoc] = &[
    ("nodes", "how many: one, minority, majority, all, a number, or a list of these"),
    ("join", "with which disk they come back: kept, empty (one node only), or a list of these (default kept)"),
    FOR,
    QUIET,
    AT_LEAST,
    WEIGHT,
];

/// `join`, `retire` and `replace`.
pub(super) const RING_KEYS: &[KeyDoc] = &[
    ("for", "until the next of its kind may begin, such as 3s or [2s, 4s]; nothing undoes the change"),
    QUIET,
    ("at_least", "so many in every run, and no more (default 1)"),
];

const FOR: KeyDoc = ("for", "how long, such as 3s or [2s, 4s]");
const QUIET: KeyDoc = ("quiet", "no other fault for so long before and after (default 0s; 3s where a disk is emptied)");
const AT_LEAST: KeyDoc = ("at_least", "so many in every run (default: each shape or number of nodes once)");
const WEIGHT: KeyDoc = ("weight", "how often it is drawn for the rest of the phase, 0 to 1000 (default 1)");

/// `swarm`. Left out: as the campaign has it.
pub(super) const SWARM_KEYS: &[KeyDoc] = &[
    ("nodes", "how many nodes, such as [3, 7]"),
    ("replication", "replicas of each key, such as [2, 5]; never more than nodes"),
    ("vnodes", "tokens of each node on the ring, such as [1, 16]"),
    ("read_repair", "a list of blocking, async, none"),
    ("merkle_interval", "between two Merkle exchanges, such as [500ms, 4s]"),
    ("keys", "registers in use at a time, such as [5, 50]"),
    ("clients", "how many clients, such as [5, 30]"),
    ("rate", "operations per second of all clients together, such as [100, 800]"),
    ("key_life", "after which fresh keys take the place of all, such as [2s, 8s]"),
];

/// Every section of a campaign file with its keys.
pub const SECTIONS: &[(&str, &[KeyDoc])] = &[
    ("", CAMPAIGN_KEYS),
    ("cluster", CLUSTER_KEYS),
    ("cluster.dissemination", DISSEMINATION_KEYS),
    ("workload", WORKLOAD_KEYS),
    ("workload.register", REGISTER_KEYS),
    ("workload.register.mix", MIX_KEYS),
    ("workload.register.hot", HOT_KEYS),
    ("workload.set", SET_KEYS),
    ("workload.set.mix", SET_MIX_KEYS),
    ("workload.counter", COUNTER_KEYS),
    ("workload.counter.mix", COUNTER_MIX_KEYS),
    ("workload.scan", SCAN_KEYS),
    ("workload.scan.mix", SCAN_MIX_KEYS),
    ("workload.broadcast", BROADCAST_KEYS),
    ("workload.options", OPTIONS_KEYS),
    ("workload.options.at_most", AT_MOST_KEYS),
    ("phases", PHASES_KEYS),
    ("swarm", SWARM_KEYS),
    ("faults", FAULTS_KEYS),
    ("faults.kinds", FAULT_KINDS),
    ("faults.kinds.partition", PARTITION_KEYS),
    ("faults.kinds.crash", NODES_KEYS),
    ("faults.kinds.pause", NODES_KEYS),
    ("faults.kinds.wipe", WIPE_KEYS),
    ("faults.kinds.power-cut", NODES_KEYS),
    ("faults.kinds.slow-disk", SLOW_DISK_KEYS),
    ("faults.kinds.failing-disk", NODES_KEYS),
    ("faults.kinds.links", LINKS_KEYS),
    ("faults.kinds.clock", CLOCK_KEYS),
    ("faults.kinds.leave", LEAVE_KEYS),
    ("faults.kinds.join", RING_KEYS),
    ("faults.kinds.retire", RING_KEYS),
    ("faults.kinds.replace", RING_KEYS),
];
