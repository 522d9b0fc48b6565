//! The campaigns that ship, inside the program: a bare binary can run them. A new one is a file in `campaigns/` and a
//! line here. Those of claims are in a folder of their own; there `claims/NAME` calls itself `claims-NAME`.

const CAMPAIGNS: &[(&str, &str)] = &[
    ("any-level", include_str!("../campaigns/any-level.yaml")),
    ("broadcast-trees", include_str!("../campaigns/broadcast-trees.yaml")),
    ("broadcasts", include_str!("../campaigns/broadcasts.yaml")),
    ("churn", include_str!("../campaigns/churn.yaml")),
    ("claims/01-lanes", include_str!("../campaigns/claims/01-lanes.yaml")),
    ("claims/02-notification", include_str!("../campaigns/claims/02-notification.yaml")),
    ("claims/03-three-ways", include_str!("../campaigns/claims/03-three-ways.yaml")),
    ("claims/04-convergence", include_str!("../campaigns/claims/04-convergence.yaml")),
    ("claims/05-read-repair", include_str!("../campaigns/claims/05-read-repair.yaml")),
    ("claims/06-monotonic-reads", include_str!("../campaigns/claims/06-monotonic-reads.yaml")),
    ("claims/07-merge-listener", include_str!("../campaigns/claims/07-merge-listener.yaml")),
    ("claims/08-digest-reads", include_str!("../campaigns/claims/08-digest-reads.yaml")),
    ("claims/09-hinted-handoff", include_str!("../campaigns/claims/09-hinted-handoff.yaml")),
    ("claims/10-any", include_str!("../campaigns/claims/10-any.yaml")),
    ("claims/11-sloppy-quorum", include_str!("../campaigns/claims/11-sloppy-quorum.yaml")),
    ("claims/12-merkle", include_str!("../campaigns/claims/12-merkle.yaml")),
    ("claims/13-version-vectors", include_str!("../campaigns/claims/13-version-vectors.yaml")),
    ("claims/14-rumors", include_str!("../campaigns/claims/14-rumors.yaml")),
    ("claims/15-quiet", include_str!("../campaigns/claims/15-quiet.yaml")),
    ("claims/16-spanning-tree", include_str!("../campaigns/claims/16-spanning-tree.yaml")),
    ("claims/17-plumtree", include_str!("../campaigns/claims/17-plumtree.yaml")),
    ("claims/18-hyparview", include_str!("../campaigns/claims/18-hyparview.yaml")),
    ("clock-skew", include_str!("../campaigns/clock-skew.yaml")),
    ("counters", include_str!("../campaigns/counters.yaml")),
    ("direct-mail", include_str!("../campaigns/direct-mail.yaml")),
    ("disk-loss", include_str!("../campaigns/disk-loss.yaml")),
    ("dot-log", include_str!("../campaigns/dot-log.yaml")),
    ("dot-pages", include_str!("../campaigns/dot-pages.yaml")),
    ("failure-marks", include_str!("../campaigns/failure-marks.yaml")),
    ("hand-overs", include_str!("../campaigns/hand-overs.yaml")),
    ("hint-grace", include_str!("../campaigns/hint-grace.yaml")),
    ("hints", include_str!("../campaigns/hints.yaml")),
    ("hot-keys", include_str!("../campaigns/hot-keys.yaml")),
    ("large-values", include_str!("../campaigns/large-values.yaml")),
    ("lost-updates", include_str!("../campaigns/lost-updates.yaml")),
    ("merkle-pages", include_str!("../campaigns/merkle-pages.yaml")),
    ("metadata", include_str!("../campaigns/metadata.yaml")),
    ("one-way", include_str!("../campaigns/one-way.yaml")),
    ("option-ties", include_str!("../campaigns/option-ties.yaml")),
    ("power-cuts", include_str!("../campaigns/power-cuts.yaml")),
    ("primaries", include_str!("../campaigns/primaries.yaml")),
    ("quickstart", include_str!("../campaigns/quickstart.yaml")),
    ("re-creates", include_str!("../campaigns/re-creates.yaml")),
    ("removals", include_str!("../campaigns/removals.yaml")),
    ("removed", include_str!("../campaigns/removed.yaml")),
    ("ring-changes", include_str!("../campaigns/ring-changes.yaml")),
    ("rumors", include_str!("../campaigns/rumors.yaml")),
    ("scans", include_str!("../campaigns/scans.yaml")),
    ("seen-writes", include_str!("../campaigns/seen-writes.yaml")),
    ("sets", include_str!("../campaigns/sets.yaml")),
    ("siblings", include_str!("../campaigns/siblings.yaml")),
    ("sloppy", include_str!("../campaigns/sloppy.yaml")),
    ("slow-links", include_str!("../campaigns/slow-links.yaml")),
    ("speculative", include_str!("../campaigns/speculative.yaml")),
    ("stale-options", include_str!("../campaigns/stale-options.yaml")),
    ("stale-reads", include_str!("../campaigns/stale-reads.yaml")),
    ("stand-ins", include_str!("../campaigns/stand-ins.yaml")),
    ("steady-trees", include_str!("../campaigns/steady-trees.yaml")),
    ("strict-hints", include_str!("../campaigns/strict-hints.yaml")),
    ("ten-thousand", include_str!("../campaigns/ten-thousand.yaml")),
    ("tombstones", include_str!("../campaigns/tombstones.yaml")),
    ("tree-costs", include_str!("../campaigns/tree-costs.yaml")),
];

/// (name, text of the file) of every campaign that ships, by name.
pub fn campaigns() -> &'static [(&'static str, &'static str)] {
    CAMPAIGNS
}

/// The text of the campaign called `name`.
pub fn campaign(name: &str) -> Option<&'static str> {
    CAMPAIGNS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_registered_under_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/campaigns");
        let listed = |folder: &str| -> Vec<String> {
            std::fs::read_dir(folder)
                .expect("the folder of campaigns")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
                .collect()
        };
        let mut files = listed(folder);
        files.retain(|name| name != "claims");
        files.extend(listed(&format!("{folder}/claims")).into_iter().map(|name| format!("claims/{name}")));
        files.sort();
        let registered: Vec<String> = campaigns().iter().map(|(name, _)| format!("{name}.yaml")).collect();
        assert_eq!(files, registered, "register it in campaigns.rs, in the order of the names");
        for (name, text) in campaigns() {
            let own = format!("campaign: {}", name.replace('/', "-"));
            assert!(text.lines().any(|line| line == own), "{name} calls itself otherwise");
        }
        assert_eq!(campaign(campaigns()[0].0), Some(campaigns()[0].1));
        assert_eq!(campaign("no-such"), None);
    }
}
