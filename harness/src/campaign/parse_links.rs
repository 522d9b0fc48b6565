//! Bad links of a campaign file.

use super::keys::LINKS_KEYS;
use super::mistakes::Mistake;
use super::parse_faults::{AT_LEAST_MAX, FAULT_MIN_MS, read_variants};
use super::reader::{DURATION_MAX_MS, Fields, Reader, join};
use super::tree::{Node, Value};
use super::types::{FaultKind, LinkRanges, Span, Variant};
use crate::plan::{
    Distribution, LINK_BANDWIDTH_BYTES_PER_S, LINK_DELAY_MAX_MS, LINK_QUEUE_MS, LINK_SHARE_MAX_PER_MILLION,
    LinkConditions, LinkScope,
};

const NOTHING: Span = Span { min_ms: 0, max_ms: 0 };
const SHARES_ALLOWED: &str = "a share of the packets in percent, such as 1% or 0.5%, up to 50%";
const BANDWIDTHS_ALLOWED: &str =
    "a number with its unit, such as 500kbit/s, 10Mbit/s or 1Gbit/s, from 64kbit/s to 10Gbit/s";

/// `nodes` is unknown after a mistake there.
pub(super) fn read_links(node: &Node, nodes: Option<u16>, reader: &mut Reader) -> Option<FaultKind> {
    let fields = reader.fields(node, "links", LINKS_KEYS)?;
    let scopes = read_scopes(&fields, nodes, reader);
    let span = |key: &'static str, reader: &mut Reader| match fields.get(key) {
        Some(node) => reader.span(node, key, 0..=LINK_DELAY_MAX_MS),
        None => Some(NOTHING),
    };
    let (latency, jitter) = (span("latency", reader), span("jitter", reader));
    let distribution = match fields.get("distribution") {
        Some(node) => {
            reader.word(node, "distribution", "uniform, normal, pareto", |word| word.parse::<Distribution>().ok())
        }
        None => Some(Distribution::default()),
    };
    let share = |key: &'static str, reader: &mut Reader| match fields.get(key) {
        Some(node) => read_number(node, key, SHARES_ALLOWED, parse_share, reader),
        None => Some(0),
    };
    let (loss, duplicate, reorder) = (share("loss", reader), share("duplicate", reader), share("reorder", reader));
    let bandwidth = match fields.get("bandwidth") {
        Some(node) => read_number(node, "bandwidth", BANDWIDTHS_ALLOWED, parse_bandwidth, reader),
        None => Some(0),
    };
    let queue_ms = match fields.get("queue") {
        Some(node) => reader.duration_ms(node, "queue", 1..=LINK_QUEUE_MS),
        None => Some(0),
    };
    let duration = fields.need("for", reader).and_then(|node| reader.span(node, "for", FAULT_MIN_MS..=DURATION_MAX_MS));
    let scopes = scopes?;
    let at_least = match fields.get("at_least") {
        Some(node) => reader.number(node, "at_least", 0..=AT_LEAST_MAX),
        None => Some(u32::try_from(scopes.len()).expect("few scopes")),
    };
    let ranges = LinkRanges {
        latency: latency?,
        jitter: jitter?,
        conditions: LinkConditions {
            latency_ms: 0,
            jitter_ms: 0,
            distribution: distribution?,
            loss_per_million: loss?,
            duplicate_per_million: duplicate?,
            reorder_per_million: reorder?,
            bandwidth_bytes_per_s: bandwidth?,
            queue_ms: queue_ms?,
        },
    };
    let held_at_least_ms = ranges.latency.min_ms + ranges.jitter.min_ms;
    if held_at_least_ms == 0 && !ranges.conditions.is_bad() {
        let what = "links does nothing to packets: it would never bite";
        reader.note(Mistake::new(fields.place, what).mend("add latency, jitter, loss, duplicate or bandwidth"));
        return None;
    }
    if held_at_least_ms == 0 && ranges.conditions.reorder_per_million > 0 {
        let what = "reorder lets packets overtake those that are held, but none is held";
        reader.note(Mistake::new(fields.place, what).mend("add latency or jitter"));
        return None;
    }
    if ranges.conditions.queue_ms > 0 && ranges.conditions.bandwidth_bytes_per_s == 0 {
        let what = "queue says how long packets wait for a bandwidth, but there is no limit";
        reader.note(Mistake::new(fields.place, what).mend("add bandwidth, or remove queue"));
        return None;
    }
    let variants = scopes.into_iter().map(|scope| Variant::Links(scope, ranges)).collect();
    // Weight 0: what is beside the others fills no gaps, there is as much of it as is asked for.
    Some(FaultKind { variants, duration: duration?, quiet_ms: 0, at_least: at_least?, weight: 0 })
}

fn read_scopes(fields: &Fields<'_>, nodes: Option<u16>, reader: &mut Reader) -> Option<Vec<LinkScope>> {
    let names: Vec<String> = LinkScope::ALL.iter().map(ToString::to_string).collect();
    let allowed = join(names.iter().map(String::as_str));
    let Some(node) = fields.get("between") else { return Some(vec![LinkScope::Nodes]) };
    let items = reader.one_or_more(node, "between", &allowed)?;
    read_variants(items, reader, |item, reader| {
        let scope: LinkScope = reader.word(item, "between", &allowed, |word| word.parse().ok())?;
        if nodes.is_some_and(|nodes| nodes < scope.nodes_min()) {
            let what = format!("there are no links of the scope {scope} in a cluster of one node");
            reader.note(Mistake::new(item.place, what).mend("raise cluster.nodes to 2, or remove the scope"));
            return None;
        }
        Some(scope)
    })
}

fn read_number<T>(
    node: &Node,
    name: &str,
    allowed: &str,
    parse: fn(&str) -> Option<T>,
    reader: &mut Reader,
) -> Option<T> {
    let Value::Text(text) = &node.value else {
        reader.note(Mistake::new(node.place, format!("{name} can't be {}", node.describe())).allowed(allowed));
        return None;
    };
    let parsed = parse(text);
    if parsed.is_none() {
        reader.note(Mistake::new(node.place, format!("{name} can't be `{text}`")).allowed(allowed));
    }
    parsed
}

/// `1%` or `0.25%`, per million.
fn parse_share(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let share = whole.parse::<u32>().ok()? * 10_000 + format!("{fraction:0<4}").parse::<u32>().ok()?;
    (share <= LINK_SHARE_MAX_PER_MILLION).then_some(share)
}

/// `10Mbit/s`, in bytes per second.
fn parse_bandwidth(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let bits = match unit {
        "kbit/s" => 1_000,
        "Mbit/s" => 1_000_000,
        "Gbit/s" => 1_000_000_000,
        _ => return None,
    };
    let bytes_per_s = number.parse::<u64>().ok()?.checked_mul(bits)? / 8;
    LINK_BANDWIDTH_BYTES_PER_S.contains(&bytes_per_s).then_some(bytes_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_bandwidths_have_their_units() {
        for (text, share) in [("1%", 10_000), ("0.5%", 5_000), ("50%", 500_000), ("0.0001%", 1), ("12.34%", 123_400)] {
            assert_eq!(parse_share(text), Some(share), "{text}");
        }
        for bad in ["", "%", "1", "50.1%", "-1%", "1.%", "0.00001%", "1 %", "99999%"] {
            assert_eq!(parse_share(bad), None, "{bad}");
        }
        for (text, bytes) in [("64kbit/s", 8_000), ("10Mbit/s", 1_250_000), ("10Gbit/s", 1_250_000_000)] {
            assert_eq!(parse_bandwidth(text), Some(bytes), "{text}");
        }
        for bad in ["", "10", "63kbit/s", "11Gbit/s", "10MB/s", "Mbit/s", "99999999999999999999Gbit/s"] {
            assert_eq!(parse_bandwidth(bad), None, "{bad}");
        }
    }
}
