//! Options that a running cluster may change: the same names as in the configuration, with text for a value.
//!
//! An option takes effect on a node as soon as it hears of it; what is in work goes on as it began. Everything else in the
//! configuration (members, replication, tokens, trees) decides who holds what, and stays as it was at the start.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{ClusterConfig, ConfigError, ReadRepair};

impl ClusterConfig {
    /// Names of the options, each with what it takes.
    pub const OPTIONS: [(&'static str, &'static str); 7] = [
        ("hint_replay_per_s", "a number above 0"),
        ("hint_window_ms", "a number"),
        ("merkle_interval_ms", "a number; 0 switches the schedule off"),
        ("read_repair", "blocking, async or none"),
        ("repair_patience_ms", "a number above 0"),
        ("request_timeout_ms", "a number above 0"),
        ("speculative_delay_ms", "a number above 0, or nothing"),
    ];

    /// Whether this names an option.
    pub fn is_option(name: &str) -> bool {
        ClusterConfig::OPTIONS.iter().any(|(known, _)| *known == name)
    }

    /// The same configuration with one option changed.
    ///
    /// # Errors
    /// What is wrong and what is allowed, as a sentence.
    pub fn with_option(&self, name: &str, value: &str) -> Result<ClusterConfig, ConfigError> {
        let Some((_, takes)) = ClusterConfig::OPTIONS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = ClusterConfig::OPTIONS.iter().map(|(known, _)| *known).collect();
            return Err(ConfigError(format!(
                "{name} is no option; allowed: {}, and names that begin with schema. or keyspace.",
                names.join(", ")
            )));
        };
        let wrong = || ConfigError(format!("`{value}` is no value of {name}; allowed: {takes}"));
        let number = || value.parse::<u64>().ok().filter(|number| number.to_string() == value).ok_or_else(wrong);
        let mut config = self.clone();
        match name {
            "read_repair" => {
                config.read_repair = match value {
                    "blocking" => ReadRepair::Blocking,
                    "async" => ReadRepair::Async,
                    "none" => ReadRepair::None,
                    _ => return Err(wrong()),
                }
            }
            "hint_replay_per_s" => config.hint_replay_per_s = u32::try_from(number()?).map_err(|_| wrong())?,
            "hint_window_ms" => config.hint_window_ms = number()?,
            "merkle_interval_ms" => config.merkle_interval_ms = number()?,
            "repair_patience_ms" => config.repair_patience_ms = number()?,
            "request_timeout_ms" => config.request_timeout_ms = number()?,
            "speculative_delay_ms" if value.is_empty() => config.speculative_delay_ms = None,
            "speculative_delay_ms" => config.speculative_delay_ms = Some(number()?),
            _ => unreachable!("the list names it"),
        }
        config.validate()?;
        Ok(config)
    }

    /// The same configuration with all of these options changed, in their order, and those that can't be, each as a sentence.
    pub fn with_options<'a>(&self, options: impl Iterator<Item = (&'a str, &'a str)>) -> (ClusterConfig, Vec<String>) {
        let (mut config, mut wrong) = (self.clone(), Vec::new());
        for (name, value) in options.filter(|(name, _)| ClusterConfig::is_option(name)) {
            match config.with_option(name, value) {
                Ok(changed) => config = changed,
                Err(ConfigError(sentence)) => wrong.push(sentence),
            }
        }
        (config, wrong)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::NodeId;

    fn config() -> ClusterConfig {
        ClusterConfig { members: (1..=3).map(NodeId).collect(), ..ClusterConfig::default() }
    }

    #[test]
    fn every_option_can_be_changed_and_its_mistakes_are_named() {
        for (name, _) in ClusterConfig::OPTIONS {
            let value = if name == "read_repair" { "async" } else { "77" };
            let changed = config().with_option(name, value).expect(name);
            assert_ne!(changed, config(), "{name}");
            for bad in ["-1", "x", "+7", "007", "99999999999999999999"] {
                let ConfigError(sentence) = config().with_option(name, bad).expect_err(name);
                assert!(sentence.contains(name) && sentence.contains("allowed"), "{sentence}");
            }
        }
        assert!(config().with_option("request_timeout_ms", "0").is_err());
        assert!(
            config().with_option("replication", "2").expect_err("it decides who holds what").0.contains("no option")
        );
    }

    #[test]
    fn options_that_can_not_be_are_left_out_and_told() {
        let options =
            [("read_repair", "none"), ("request_timeout_ms", "0"), ("schema.t1", "x"), ("hint_window_ms", "5")];
        let (changed, wrong) = config().with_options(options.into_iter());
        assert_eq!((changed.read_repair, changed.hint_window_ms), (ReadRepair::None, 5));
        assert_eq!(changed.request_timeout_ms, config().request_timeout_ms);
        assert_eq!(wrong, vec![String::from("request_timeout_ms is 0: choose at least 1")]);
    }
}
