//! Pictures (SVG): how a rumor spreads, and what an overlay looks like over time.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write;

use hearsay_core::NodeId;
use hearsay_core::dissemination::MessageId;

use crate::{World, components_of};

/// Colours that stay apart for most eyes (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4e9e"];

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its points, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Under the x axis.
    pub x: String,
    /// Beside the y axis.
    pub y: String,
    /// Whether x is logarithmic.
    pub log_x: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

const PANEL: (f64, f64) = (480.0, 360.0);
const INNER: (f64, f64, f64, f64) = (64.0, 44.0, 380.0, 250.0);

/// Plots side by side.
pub fn plots(plots: &[Plot]) -> String {
    let mut out = String::new();
    let width = PANEL.0 * plots.len() as f64;
    begin(&mut out, width, PANEL.1);
    for (number, plot) in plots.iter().enumerate() {
        let _ = write!(out, "<g transform=\"translate({:.0} 0)\">", PANEL.0 * number as f64);
        draw_plot(&mut out, plot);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn begin(out: &mut String, width: f64, height: f64) {
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{words}</text>");
}

/// A round step that divides `most` into about five.
fn step(most: f64) -> f64 {
    let rough = (most / 5.0).max(1e-9);
    let ten = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * ten).find(|step| *step >= rough).unwrap_or(rough)
}

fn draw_plot(out: &mut String, plot: &Plot) {
    let (left, top, width, height) = INNER;
    let scale = |x: f64| if plot.log_x { x.max(1e-9).log10() } else { x };
    let all = || plot.lines.iter().flat_map(|line| line.points.iter());
    let least_x = all().map(|(x, _)| scale(*x)).fold(f64::INFINITY, f64::min);
    let most_x = all().map(|(x, _)| scale(*x)).fold(f64::NEG_INFINITY, f64::max);
    let most_y = all().map(|(_, y)| *y).fold(0.0, f64::max).max(1e-9);
    let y_step = step(most_y);
    let most_y = (most_y / y_step - 1e-9).ceil() * y_step;
    let to_x = |x: f64| left + (scale(x) - least_x) / (most_x - least_x).max(1e-9) * width;
    let to_y = |y: f64| top + height - y / most_y * height;
    text(out, left + width / 2.0, 24.0, "middle", &plot.title);
    text(out, left + width / 2.0, top + height + 40.0, "middle", &plot.x);
    let _ = writeln!(
        out,
        "<text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#222\">{}</text>",
        top + height / 2.0,
        plot.y
    );
    let mut tick = 0.0;
    while tick <= most_y * 1.000_001 {
        let y = to_y(tick);
        let _ = writeln!(out, "<path d=\"M{left} {y:.1}h{width}\" stroke=\"#ddd\"/>");
        text(out, left - 6.0, y + 4.0, "end", &format!("{}", (tick * 1e6).round() / 1e6));
        tick += y_step;
    }
    let ticks: Vec<f64> = if plot.log_x {
        let (first, last) = (least_x.ceil() as i32, most_x.floor() as i32);
        (first..=last).map(|power| 10_f64.powi(power)).collect()
    } else {
        let x_step = step(most_x - least_x);
        (0..=20).map(|number| f64::from(number) * x_step).filter(|x| *x >= least_x && *x <= most_x).collect()
    };
    for x in ticks {
        let _ = writeln!(out, "<path d=\"M{:.1} {:.1}v5\" stroke=\"#222\"/>", to_x(x), top + height);
        text(out, to_x(x), top + height + 19.0, "middle", &format!("{x}"));
    }
    let _ = writeln!(out, "<path d=\"M{left} {top}v{height}h{width}\" stroke=\"#222\" fill=\"none\"/>");
    for (number, line) in plot.lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let path: Vec<String> = line.points.iter().map(|(x, y)| format!("{:.1} {:.1}", to_x(*x), to_y(*y))).collect();
        let _ = writeln!(out, "<path d=\"M{}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>", path.join("L"));
        // What grows by steps ends high on the right; against the logarithm the lines part on the right, and the left has room.
        let (x, y) = if plot.log_x {
            (left + 14.0, top + 14.0 + 17.0 * number as f64)
        } else {
            (left + width - 110.0, top + height - 14.0 - 17.0 * (plot.lines.len() - 1 - number) as f64)
        };
        let _ = writeln!(out, "<path d=\"M{x:.1} {:.1}h22\" stroke=\"{colour}\" stroke-width=\"3\"/>", y - 4.0);
        text(out, x + 28.0, y, "start", &line.name);
    }
}

/// Up to so many nodes stand on a circle, with their names.
const FEW: usize = 30;

/// One moment of an overlay.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Above it.
    pub title: String,
    /// Below it.
    pub note: String,
    /// The component of each node that runs.
    component: BTreeMap<NodeId, usize>,
    /// Links: (smaller, larger, whether the broadcast tree runs over it, whether both ends run).
    links: Vec<(NodeId, NodeId, bool, bool)>,
}

/// What the overlay looks like now.
pub fn moment(world: &World, title: &str) -> Moment {
    let view = |node: &NodeId| {
        let layer = world.layer(*node)?;
        let eager = layer.links().map_or(&[][..], |(eager, _)| eager);
        Some((*node, layer.peers().iter().map(|peer| (peer, eager.contains(&peer))).collect()))
    };
    moment_of(&world.members().iter().filter_map(view).collect(), title)
}

/// Neighbours of each node that runs, and whether the broadcast tree runs over the link.
pub type Views = BTreeMap<NodeId, Vec<(NodeId, bool)>>;

/// The moment that these views show; nodes are numbered from 1.
pub fn moment_of(views: &Views, title: &str) -> Moment {
    let last = views.keys().next_back().map_or(0, |node| usize::from(node.0));
    let mut peers = vec![None; last];
    for (node, view) in views {
        peers[usize::from(node.0) - 1] = Some(view.iter().map(|(peer, _)| *peer).collect::<Vec<NodeId>>());
    }
    let numbers = components_of(&peers.iter().map(Option::as_deref).collect::<Vec<_>>());
    let component: BTreeMap<NodeId, usize> =
        views.keys().filter_map(|node| Some((*node, numbers[usize::from(node.0) - 1]?))).collect();
    let mut links: BTreeMap<(NodeId, NodeId), (bool, bool)> = BTreeMap::new();
    for (&node, view) in views {
        for &(peer, eager) in view {
            let link = links.entry((node.min(peer), node.max(peer))).or_default();
            link.0 |= eager;
            link.1 = views.contains_key(&peer);
        }
    }
    let links: Vec<_> = links.into_iter().map(|((a, b), (eager, alive))| (a, b, eager, alive)).collect();
    let parts = numbers.iter().flatten().max().map_or(0, |last| last + 1);
    let dead = links.iter().filter(|link| !link.3).count();
    let note = format!(
        "{} nodes, {} links, {dead} dead, {parts} component{}",
        component.len(),
        links.len() - dead,
        if parts == 1 { "" } else { "s" }
    );
    Moment { title: title.to_owned(), note, component, links }
}

/// Places for a picture: rings by the hops of a broadcast, angles so that every subtree has a sector of its own. Whom the broadcast
/// did not reach stands outside.
pub fn places(world: &World, id: MessageId) -> BTreeMap<NodeId, (f64, f64)> {
    let way = |node: &NodeId| (*node, world.layer(*node).and_then(|layer| Some(layer.log().held(id)?.from)));
    places_of(&world.members().iter().map(way).collect(), id.origin)
}

/// The same for a broadcast that came to each node from another: `None`: not at all; `Some(None)`: it is the origin.
///
/// Few nodes stand on one circle, in the order of the tree: on rings three of them would often lie on a line, and their links on
/// each other.
pub fn places_of(ways: &BTreeMap<NodeId, Option<Option<NodeId>>>, origin: NodeId) -> BTreeMap<NodeId, (f64, f64)> {
    if ways.len() <= FEW {
        return on_a_circle(ways, origin);
    }
    let mut children: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    let mut outside = Vec::new();
    for (node, way) in ways {
        match way {
            Some(Some(parent)) => children.entry(*parent).or_default().push(*node),
            Some(None) => {}
            None => outside.push(*node),
        }
    }
    let mut leaves: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut order = vec![origin];
    let mut next = 0;
    while let Some(node) = order.get(next).copied() {
        order.extend(children.get(&node).into_iter().flatten());
        next += 1;
    }
    for node in order.iter().rev() {
        let own = children.get(node).map_or(1, |below| below.iter().map(|child| leaves[child]).sum());
        leaves.insert(*node, own);
    }
    let mut polar = BTreeMap::from([(origin, (0.0, 0.0, TAU))]);
    for node in &order {
        let (ring, mut angle, width) = polar[node];
        for child in children.get(node).into_iter().flatten() {
            let share = width * leaves[child] as f64 / leaves[node] as f64;
            polar.insert(*child, (ring + 1.0, angle, share));
            angle += share;
        }
    }
    // Who heard of it from one that was not reached any more, or went since, stands nowhere else.
    outside.extend(ways.keys().filter(|node| !polar.contains_key(node) && ways[node].is_some()));
    let rings = polar.values().map(|(ring, ..)| *ring).fold(1.0, f64::max);
    let count = outside.len().max(1) as f64;
    let far = outside.into_iter().enumerate().map(|(number, node)| {
        let angle = TAU * number as f64 / count;
        (node, (angle.cos(), angle.sin()))
    });
    let near = polar.into_iter().map(|(node, (ring, angle, width))| {
        let (radius, angle) = (0.92 * ring / rings, angle + width / 2.0);
        (node, (radius * angle.cos(), radius * angle.sin()))
    });
    near.chain(far).collect()
}

/// Nodes on a circle, each beside those that heard of the broadcast from it.
fn on_a_circle(ways: &BTreeMap<NodeId, Option<Option<NodeId>>>, origin: NodeId) -> BTreeMap<NodeId, (f64, f64)> {
    let mut order = Vec::new();
    let mut open = vec![origin];
    while let Some(node) = open.pop() {
        if !ways.contains_key(&node) || order.contains(&node) {
            continue;
        }
        order.push(node);
        open.extend(ways.iter().rev().filter(|(_, way)| **way == Some(Some(node))).map(|(child, _)| *child));
    }
    let rest: Vec<NodeId> = ways.keys().copied().filter(|node| !order.contains(node)).collect();
    order.extend(rest);
    let count = order.len().max(1) as f64;
    let place = |(number, node): (usize, NodeId)| {
        let angle = TAU * (number as f64 / count - 0.25);
        (node, (0.92 * angle.cos(), 0.92 * angle.sin()))
    };
    order.into_iter().enumerate().map(place).collect()
}

/// Moments side by side: nodes coloured by component, dead ones as crosses; links of the broadcast tree strong, the others thin,
/// dead ones dashed in red.
pub fn strip(moments: &[Moment], places: &BTreeMap<NodeId, (f64, f64)>) -> String {
    const SIDE: f64 = 460.0;
    let mut out = String::new();
    let few = places.len() <= FEW;
    begin(&mut out, SIDE * moments.len() as f64, SIDE + 70.0);
    for (number, moment) in moments.iter().enumerate() {
        let (middle_x, middle_y) = (SIDE * (number as f64 + 0.5), 34.0 + SIDE / 2.0);
        let radius = SIDE / 2.0 - 14.0;
        let at = |node: NodeId| {
            let (x, y) = places.get(&node).copied().unwrap_or((1.0, 1.0));
            (middle_x + x * radius, middle_y + y * radius)
        };
        text(&mut out, middle_x, 22.0, "middle", &moment.title);
        text(&mut out, middle_x, SIDE + 56.0, "middle", &moment.note);
        // The strong ones last, on top.
        let mut links = moment.links.clone();
        links.sort_by_key(|(a, b, eager, alive)| (*alive && *eager, !*alive, *a, *b));
        for (a, b, eager, alive) in links {
            let ((x1, y1), (x2, y2)) = (at(a), at(b));
            let style = match (alive, eager) {
                (false, _) => "stroke=\"#d00000\" stroke-width=\"1\" stroke-dasharray=\"3 3\"",
                (true, true) => "stroke=\"#333\" stroke-width=\"1.6\"",
                (true, false) if few => "stroke=\"#999\" stroke-width=\"1\"",
                (true, false) => "stroke=\"#ccc\" stroke-width=\"0.6\"",
            };
            let _ = writeln!(out, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" {style}/>");
        }
        for node in places.keys() {
            let (x, y) = at(*node);
            if few {
                // Outside of the circle, where no link runs.
                let (far_x, far_y) = (middle_x + (x - middle_x) * 1.06, middle_y + (y - middle_y) * 1.06);
                text(&mut out, far_x, far_y + 4.0, "middle", &node.to_string());
            }
            match moment.component.get(node) {
                Some(component) => {
                    let colour = COLOURS[component % COLOURS.len()];
                    let _ = writeln!(
                        out,
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"><title>{node}</title></circle>"
                    );
                }
                None => {
                    let _ = writeln!(
                        out,
                        "<path d=\"M{:.1} {:.1}l6 6m0 -6l-6 6\" stroke=\"#999\" stroke-width=\"1.5\"><title>{node}, \
                         dead</title></path>",
                        x - 3.0,
                        y - 3.0
                    );
                }
            }
        }
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::{grown, kill_share};

    #[test]
    fn a_strip_shows_every_node_and_marks_what_is_dead() {
        let mut world = grown(30, 1, 30_000);
        let id = world.publish(NodeId(1), 8);
        world.run_ms(2_000);
        let places = places(&world, id);
        assert_eq!(places.len(), 30);
        let before = moment(&world, "before");
        kill_share(&mut world, 0.2);
        let after = moment(&world, "after");
        let picture = strip(&[before, after], &places);
        assert_eq!(picture.matches("<circle").count(), 30 + 24);
        assert_eq!(picture.matches(", dead</title>").count(), 6);
        assert!(picture.contains("stroke-dasharray") && picture.ends_with("</svg>\n"));
    }

    #[test]
    fn few_nodes_stand_apart_on_a_circle_with_their_names() {
        let node = NodeId;
        // A line of five, and two that heard of nothing.
        let mut ways: BTreeMap<NodeId, Option<Option<NodeId>>> =
            (2..=5).map(|n| (node(n), Some(Some(node(n - 1))))).collect();
        ways.extend([(node(1), Some(None)), (node(6), None), (node(7), None)]);
        let places = places_of(&ways, node(1));
        assert_eq!(places.len(), 7);
        let all: Vec<(f64, f64)> = places.values().copied().collect();
        for (one, (x1, y1)) in all.iter().enumerate() {
            assert!((x1.hypot(*y1) - 0.92).abs() < 1e-9, "on the circle");
            assert!(all[..one].iter().all(|(x, y)| (x - x1).hypot(y - y1) > 0.3), "apart");
        }
        let views = ways.keys().map(|node| (*node, Vec::new())).collect();
        let picture = strip(&[moment_of(&views, "now")], &places);
        assert!((1..=7).all(|n| picture.contains(&format!(">n{n}</text>"))), "{picture}");
    }

    #[test]
    fn a_plot_has_a_line_and_a_name_for_each() {
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(1.0, 0.5), (10.0, 2.0), (100.0, 3.0)] };
        let plot = Plot {
            title: "t".into(),
            x: "x".into(),
            y: "y".into(),
            log_x: true,
            lines: vec![line("a < b"), line("c")],
        };
        let picture = plots(&[plot]);
        assert_eq!(picture.matches("stroke-width=\"2\"").count(), 2);
        assert!(picture.contains("a &lt; b") && picture.contains(">100<"));
    }
}
