//! From files back to a case, so that `hearsay check` judges exactly what the run judged.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use hearsay_checkers::import::{Format, ImportOptions, read_recording};
use hearsay_checkers::record::Recording;
use hearsay_checkers::{Case, FaultWindow, FinalState, History, Phase, read_jsonl};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{RunDirectory, StoreError, failed};

/// What was observed around the history: the content of `phases.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Phases in order.
    pub phases: Vec<Phase>,
    /// When faults were in force.
    pub faults: Vec<FaultWindow>,
}

/// What is in `path`: a run's directory, or a history by itself.
///
/// # Errors
/// No history there, or a file that can't be read; with line and column.
pub fn load_case(path: &Path) -> Result<Case, StoreError> {
    if !path.is_dir() {
        return Ok(Case { history: load_history(path)?, ..Case::default() });
    }
    let run = RunDirectory::open(path);
    let history = load_history(&run.history())?;
    // A run that crashed has no more than its history.
    let observed: Observed = load_json(&run.phases())?.unwrap_or_default();
    let final_state: Option<FinalState> = load_json(&run.final_state())?;
    let recording = match needs_recording(&history) {
        false => None,
        true => {
            let file = File::open(run.history()).map_err(failed("can't read", &run.history()))?;
            Some(recording_of(file).map_err(|reason| StoreError::History { path: run.history(), reason })?)
        }
    };
    Ok(Case { history, recording, final_state, phases: observed.phases, faults: observed.faults, ..Case::default() })
}

/// Whether a history has values that are no numbers, which its operations do not hold.
pub(crate) fn needs_recording(history: &History) -> bool {
    history.has_collections || history.operations.iter().any(|operation| !operation.f.is_of_register())
}

/// What a history file says, values as data.
///
/// # Errors
/// It is no history, with line and column.
pub(crate) fn recording_of(file: impl io::Read) -> Result<Recording, String> {
    let options = ImportOptions { format: Some(Format::Json), keyed: Some(false) };
    read_recording(file, &options).map_err(|error| error.to_string())
}

fn load_history(path: &Path) -> Result<History, StoreError> {
    let file = File::open(path).map_err(failed("can't read", path))?;
    read_jsonl(BufReader::new(file))
        .map_err(|error| StoreError::History { path: path.to_owned(), reason: error.to_string() })
}

/// A JSON file of the store; `None` when there is none.
///
/// # Errors
/// It can't be read, or holds something else.
pub fn load_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("can't read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write_json;

    const HISTORY: &str = concat!(
        r#"{"index":0,"time":10,"type":"invoke","process":0,"f":"write","key":"k1","value":7,"node":"n1"}"#,
        "\n",
        r#"{"index":1,"time":20,"type":"ok","process":0,"f":"write","key":"k1","value":7,"node":"n1"}"#,
        "\n",
        r#"{"index":2,"time":30,"type":"inv"#,
    );

    #[test]
    fn a_crashed_run_is_a_case_without_final_state() {
        let store = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(store.path(), "c", "t", 1).unwrap();
        fs::write(run.history(), HISTORY).unwrap();
        let case = load_case(run.path()).unwrap();
        assert_eq!(case.history.operations.len(), 1);
        assert!(case.final_state.is_none() && case.phases.is_empty());
        let alone = load_case(&run.history()).unwrap();
        assert_eq!(alone.history.operations, case.history.operations);
    }

    #[test]
    fn a_history_of_sets_comes_with_its_values() {
        let store = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(store.path(), "c", "t", 1).unwrap();
        let line = |index: u64, kind, value| {
            format!(
                r#"{{"index":{index},"time":{index},"type":"{kind}","process":0,"f":"read","key":"k","value":{value}}}"#
            )
        };
        fs::write(run.history(), format!("{}\n{}\n", line(0, "invoke", "null"), line(1, "ok", "[3,5]"))).unwrap();
        let case = load_case(run.path()).unwrap();
        let recording = case.recording.expect("its values are no numbers");
        assert_eq!(recording.records[1].value.items().map(<[_]>::len), Some(2));
        fs::write(run.history(), format!("{}\n{}\n", line(0, "invoke", "null"), line(1, "ok", "3"))).unwrap();
        assert!(load_case(run.path()).unwrap().recording.is_none());
    }

    #[test]
    fn what_was_observed_comes_back() {
        let store = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(store.path(), "c", "t", 1).unwrap();
        fs::write(run.history(), "").unwrap();
        let observed = Observed {
            phases: vec![Phase { name: "warmup".to_owned(), from: 0, to: 5 }],
            faults: vec![FaultWindow { id: "f1".to_owned(), name: "crash".to_owned(), from: 1, to: 2 }],
        };
        write_json(&run.phases(), &observed).unwrap();
        let state = FinalState { replication: 3, converged_after: Some(5), deadline: 9, ..FinalState::default() };
        write_json(&run.final_state(), &state).unwrap();
        let case = load_case(run.path()).unwrap();
        assert_eq!((case.phases, case.faults), (observed.phases, observed.faults));
        assert_eq!(case.final_state, Some(state));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let store = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(store.path(), "c", "t", 1).unwrap();
        let missing = load_case(run.path()).unwrap_err().to_string();
        assert!(missing.contains("history.jsonl"), "{missing}");
        fs::write(run.history(), "nonsense\n").unwrap();
        let nonsense = load_case(run.path()).unwrap_err().to_string();
        assert!(nonsense.contains("line 1"), "{nonsense}");
        fs::write(run.history(), "").unwrap();
        fs::write(run.phases(), "{").unwrap();
        let damaged = load_case(run.path()).unwrap_err().to_string();
        assert!(damaged.contains("phases.json") && damaged.contains("line 1"), "{damaged}");
    }
}
