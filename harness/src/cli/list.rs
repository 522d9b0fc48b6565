//! `hearsay list`: everything that can be named on the command line or in a campaign, with a sentence each.

use std::process::ExitCode;

use hearsay_workloads::WorkloadSpec;

use crate::campaign::{SECTIONS, parse};
use crate::plan::{LinkScope, PartitionShape};

use super::print;

/// Lists it all.
pub(super) fn run() -> ExitCode {
    print(&text());
    ExitCode::SUCCESS
}

fn text() -> String {
    let campaigns = hearsay_workloads::campaigns().iter().map(|&(name, text)| {
        let about = parse(name, text).map(|campaign| campaign.about);
        (name.to_owned(), about.unwrap_or_else(|mistakes| mistakes.to_string()))
    });
    let checkers = hearsay_checkers::checkers()
        .iter()
        .map(|checker| (checker.name.to_owned(), format!("{}\n{:27}[{}]", checker.meaning, "", checker.source)));
    let faults = SECTIONS.iter().filter(|(section, _)| *section == "faults.kinds").flat_map(|(_, kinds)| kinds.iter());
    let shapes = PartitionShape::ALL.map(|shape| shape.to_string()).join(", ");
    let scopes = LinkScope::ALL.map(|scope| scope.to_string()).join(", ");
    let faults = faults.map(|&(name, meaning)| match name {
        "partition" => (name.to_owned(), format!("{meaning}; shapes: {shapes}")),
        "links" => (name.to_owned(), format!("{meaning}; between: {scopes}")),
        _ => (name.to_owned(), meaning.to_owned()),
    });
    let workloads = WorkloadSpec::ALL.iter().map(|&(name, meaning)| (name.to_owned(), meaning.to_owned()));
    let sections = [
        ("Campaigns (hearsay run NAME)", campaigns.collect::<Vec<_>>()),
        ("Checkers (hearsay check PATH --model NAME)", checkers.collect()),
        ("Faults", faults.collect()),
        ("Workloads", workloads.collect()),
    ];
    let mut text = String::new();
    for (title, rows) in sections {
        text.push_str(title);
        text.push('\n');
        for (name, meaning) in rows {
            text.push_str(&format!("  {name:<24} {meaning}\n"));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_that_is_registered_is_listed() {
        let text = super::text();
        for name in
            ["quickstart", "stale-reads", "monotonic-reads", "convergence", "partition", "wipe", "links", "register"]
        {
            assert!(text.contains(&format!("\n  {name} ")), "{name} is missing in:\n{text}");
        }
        for checker in hearsay_checkers::checkers() {
            assert!(text.contains(checker.meaning) && text.contains(checker.source), "{} has no source", checker.name);
        }
        assert!(!text.contains("mend:"), "a campaign that ships has mistakes:\n{text}");
    }
}
