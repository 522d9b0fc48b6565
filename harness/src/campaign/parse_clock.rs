//! The fault `clock` of a campaign file: sizes, and signed ranges of offsets and drifts.

use super::mistakes::Mistake;
use super::parse_faults::read_sizes;
use super::reader::{Fields, Reader};
use super::tree::{Node, Value};
use super::types::Variant;
use crate::plan::{CLOCK_DRIFT_MAX_PPB, CLOCK_OFFSET_MAX_NS, CLOCK_SKEW_MIN_NS};

/// A kind of signed number with a unit.
struct Quantity {
    allowed: &'static str,
    /// The unit's name and its factor.
    units: &'static [(&'static str, i64)],
    /// Largest, either way.
    most: i64,
    range: &'static str,
}

const OFFSET: Quantity = Quantity {
    allowed: "an offset such as 500ms or -2s, or a smallest and a largest such as [-2s, 2s]",
    units: &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000)],
    most: CLOCK_OFFSET_MAX_NS,
    range: "from -60m to 60m",
};

const DRIFT: Quantity = Quantity {
    allowed: "a drift such as 500ppm, or a slowest and a fastest such as [-500ppm, 500ppm]",
    units: &[("ppb", 1), ("ppm", 1_000)],
    most: CLOCK_DRIFT_MAX_PPB,
    range: "from -100000ppm to 100000ppm",
};

/// The variants of a `clock`: one for each number of nodes.
pub(super) fn read_clocks(fields: &Fields<'_>, nodes: Option<u16>, reader: &mut Reader) -> Option<Vec<Variant>> {
    let offset = fields.need("offset", reader);
    let offset_ns = offset.and_then(|node| read_range(node, "offset", &OFFSET, reader));
    let drift_ppb = match fields.get("drift") {
        Some(node) => read_range(node, "drift", &DRIFT, reader),
        None => Some((0, 0)),
    };
    if let (Some(node), Some((least, most))) = (offset, offset_ns)
        && least.abs().max(most.abs()) < CLOCK_SKEW_MIN_NS
    {
        let mistake = Mistake::new(node.place, "offset is too small to be seen".to_owned());
        reader.note(mistake.allowed("10ms or more, either way"));
        return None;
    }
    let (offset_ns, drift_ppb) = (offset_ns.unwrap_or_default(), drift_ppb.unwrap_or_default());
    read_sizes(fields, nodes, |size| Variant::Clock { size, offset_ns, drift_ppb }, reader)
}

/// One value, or a list of the two ends of a range. After a mistake `None`.
fn read_range(node: &Node, name: &str, quantity: &Quantity, reader: &mut Reader) -> Option<(i64, i64)> {
    let Value::List(ends) = &node.value else {
        return read_quantity(node, name, quantity, reader).map(|value| (value, value));
    };
    let [least, most] = ends.as_slice() else {
        let what = format!("{name} has {} ends", ends.len());
        reader.note(Mistake::new(node.place, what).allowed(quantity.allowed));
        return None;
    };
    let (least, most) = (read_quantity(least, name, quantity, reader), read_quantity(most, name, quantity, reader));
    let (least, most) = (least?, most?);
    if least > most {
        let mistake = Mistake::new(node.place, format!("{name} has its largest before its smallest"));
        reader.note(mistake.allowed(quantity.allowed).mend("exchange the two"));
        return None;
    }
    Some((least, most))
}

fn read_quantity(node: &Node, name: &str, quantity: &Quantity, reader: &mut Reader) -> Option<i64> {
    let Value::Text(text) = &node.value else {
        reader.wrong_type(node, name, quantity.allowed);
        return None;
    };
    let Some(value) = parse(text, quantity.units) else {
        let mistake = Mistake::new(node.place, format!("{name} can't be {}", node.describe()));
        reader.note(mistake.allowed(quantity.allowed));
        return None;
    };
    if value.unsigned_abs() > quantity.most.unsigned_abs() {
        let mistake = Mistake::new(node.place, format!("{name} is too large: {text}"));
        reader.note(mistake.allowed(quantity.range));
        return None;
    }
    Some(value)
}

/// `-1500ms`, `2s`, `300ppm`.
fn parse(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(sign * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_with_units() {
        for (text, value) in [("-2s", -2_000_000_000), ("+5us", 5_000), ("0ms", 0), ("1m", 60_000_000_000)] {
            assert_eq!(parse(text, OFFSET.units), Some(value), "{text}");
        }
        assert_eq!(parse("-500ppm", DRIFT.units), Some(-500_000));
        for bad in ["", "-", "2", "s", "--2s", "2 s", "1.5s", "2h", "99999999999999999999s", "9223372036854775807s"] {
            assert_eq!(parse(bad, OFFSET.units), None, "{bad}");
        }
    }
}
