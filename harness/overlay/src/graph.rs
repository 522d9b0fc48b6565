//! The shape of an overlay: components, degrees, clustering, path lengths, symmetry.

use hearsay_core::NodeId;
use hearsay_core::dissemination::Peers;

use crate::World;

/// Figures of an overlay, over the nodes that run.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Nodes that run.
    pub nodes: usize,
    /// Sizes of the components, the largest first.
    pub components: Vec<usize>,
    /// Fewest neighbours of a node.
    pub degree_min: usize,
    /// Most.
    pub degree_max: usize,
    /// Mean.
    pub degree_mean: f64,
    /// Links that only one side knows of, those to nodes that do not run included.
    pub one_sided: usize,
    /// Mean clustering coefficient.
    pub clustering: f64,
    /// Mean length of the shortest paths from 32 of the nodes to all they reach.
    pub path_mean: f64,
}

/// Neighbours of each node that runs (by place), as their active views say.
fn views(world: &World) -> Vec<Option<&[NodeId]>> {
    world
        .members()
        .iter()
        .map(|node| {
            world.layer(*node).map(|layer| match layer.peers() {
                Peers::View(view) => view,
                Peers::All { members, .. } => members,
            })
        })
        .collect()
}

fn place(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

/// The component of each node (by place), numbered by size from 0, the largest first; `None`: it does not run. A link counts if
/// either side knows of it and both run.
pub fn components(world: &World) -> Vec<Option<usize>> {
    components_of(&views(world))
}

/// The same for the views of nodes 1, 2, ... by place.
pub fn components_of(views: &[Option<&[NodeId]>]) -> Vec<Option<usize>> {
    let mut parent: Vec<usize> = (0..views.len()).collect();
    fn root(parent: &mut [usize], mut node: usize) -> usize {
        while parent[node] != node {
            parent[node] = parent[parent[node]];
            node = parent[node];
        }
        node
    }
    for (node, view) in views.iter().enumerate() {
        for peer in view.iter().copied().flatten() {
            if views.get(place(*peer)).is_some_and(Option::is_some) {
                let (a, b) = (root(&mut parent, node), root(&mut parent, place(*peer)));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    let roots: Vec<Option<usize>> =
        (0..views.len()).map(|node| views[node].is_some().then(|| root(&mut parent, node))).collect();
    let mut sizes = vec![0; views.len()];
    roots.iter().flatten().for_each(|root| sizes[*root] += 1);
    let mut order: Vec<usize> = (0..views.len()).filter(|root| sizes[*root] > 0).collect();
    order.sort_by_key(|root| (std::cmp::Reverse(sizes[*root]), *root));
    let mut rank = vec![0; views.len()];
    order.iter().enumerate().for_each(|(number, root)| rank[*root] = number);
    roots.into_iter().map(|root| root.map(|root| rank[root])).collect()
}

/// The shape of the overlay as it is now.
pub fn shape(world: &World) -> Shape {
    let views = views(world);
    let numbers = components(world);
    let mut components = vec![0; numbers.iter().flatten().max().map_or(0, |last| last + 1)];
    numbers.iter().flatten().for_each(|number| components[*number] += 1);
    let running: Vec<usize> = (0..views.len()).filter(|node| views[*node].is_some()).collect();
    let view = |node: usize| views[node].unwrap_or(&[]);
    let degrees: Vec<usize> = running.iter().map(|node| view(*node).len()).collect();
    let count = running.len().max(1) as f64;
    let mut one_sided = 0;
    let mut clustering = 0.0;
    for &node in &running {
        let own = view(node);
        let back = |peer: &NodeId| views[place(*peer)].is_some_and(|view| view.contains(&world.members()[node]));
        one_sided += own.iter().filter(|peer| !back(peer)).count();
        let pairs = own.len() * own.len().saturating_sub(1);
        let linked: usize =
            own.iter().map(|peer| own.iter().filter(|other| view(place(*peer)).contains(other)).count()).sum();
        if pairs > 0 {
            clustering += linked as f64 / pairs as f64;
        }
    }
    let (mut length, mut paths) = (0_u64, 0_u64);
    for source in running.iter().step_by((running.len() / 32).max(1)) {
        let mut distance = vec![u32::MAX; views.len()];
        distance[*source] = 0;
        let mut queue = std::collections::VecDeque::from([*source]);
        while let Some(node) = queue.pop_front() {
            for peer in view(node) {
                let peer = place(*peer);
                if views[peer].is_some() && distance[peer] == u32::MAX {
                    distance[peer] = distance[node] + 1;
                    length += u64::from(distance[peer]);
                    paths += 1;
                    queue.push_back(peer);
                }
            }
        }
    }
    Shape {
        nodes: running.len(),
        components,
        degree_min: degrees.iter().copied().min().unwrap_or(0),
        degree_max: degrees.iter().copied().max().unwrap_or(0),
        degree_mean: degrees.iter().sum::<usize>() as f64 / count,
        one_sided,
        clustering: clustering / count,
        path_mean: length as f64 / paths.max(1) as f64,
    }
}
