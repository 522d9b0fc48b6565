//! The rules of the house, enforced. Every rule says why it is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live in a folder of the workspace").to_path_buf()
}

/// Every file below `folder` with that ending, without build output and stored runs.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "store", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(top()).unwrap_or(path).display().to_string()
}

/// The crates of this workspace that a manifest names, outside of its dev-dependencies when `shipped_only`.
fn imports(manifest: &str, shipped_only: bool) -> BTreeSet<String> {
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(|c| c == '[' || c == ']').to_string();
        } else if section.ends_with("dependencies") && !(shipped_only && section.starts_with("dev-")) {
            let name: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
            if name == "hearsay" || name.starts_with("hearsay-") {
                found.insert(name);
            }
        }
    }
    found
}

#[test]
fn the_architecture_shows_in_the_folder_list() {
    let allowed: BTreeSet<&str> =
        ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "checkers", "harness", "node", "tests", "workloads"]
            .into();
    // Made by running the commands of the README, and ignored by git.
    let made = ["target", "store"];
    for entry in fs::read_dir(top()).expect("the top can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || made.contains(&name.as_str()) {
            continue;
        }
        assert!(allowed.contains(name.as_str()), "`{name}` at the top: put it into the room it belongs to");
    }
    for name in allowed {
        assert!(top().join(name).exists(), "`{name}` is missing at the top");
    }
}

#[test]
fn rooms_import_in_one_direction() {
    let rules: [(&str, &[&str]); 6] = [
        // The oracle shares no code with what it judges.
        ("checkers", &[]),
        ("workloads", &["hearsay-checkers"]),
        ("node/core", &[]),
        ("node", &["hearsay-core"]),
        ("harness", &["hearsay-checkers", "hearsay-core", "hearsay-node", "hearsay-overlay", "hearsay-workloads"]),
        ("harness/overlay", &["hearsay-core"]),
    ];
    for (room, allowed) in rules {
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        let found = imports(&read(&top().join(room).join("Cargo.toml")), false);
        assert!(found.is_subset(&allowed), "{room} imports {found:?}, allowed is {allowed:?}");
    }
}

#[test]
fn the_node_core_has_no_operating_system() {
    let root = read(&top().join("node/core/src/lib.rs"));
    assert!(root.contains("#![no_std]"), "no_std is what keeps clocks, sockets and threads out of the core");
    let manifest = read(&top().join("node/core/Cargo.toml"));
    for crate_name in ["tokio", "quinn", "rustls", "nix", "redb", "getrandom", "std"] {
        let named = manifest
            .lines()
            .any(|line| line.starts_with(&format!("{crate_name}.")) || line.starts_with(&format!("{crate_name} ")));
        assert!(!named, "the core names `{crate_name}`");
    }
    for path in files(&top().join("node/core/src"), ".rs") {
        let text = read(&path);
        // A test may use the standard library; what ships may not bring it back.
        for (number, line) in text.lines().enumerate() {
            assert!(
                !line.trim_start().starts_with("extern crate std")
                    || number > 0 && text.lines().nth(number - 1).is_some_and(|l| l.contains("cfg(test)")),
                "{}:{}: std comes back into the core",
                relative(&path),
                number + 1
            );
        }
    }
}

#[test]
fn deterministic_rooms_take_time_and_chance_as_input() {
    // Written apart so that this file does not name them itself.
    let forbidden = [
        "Instant::",
        "SystemTime::",
        "thread_rng",
        "rand::rng(",
        "HashMap",
        "HashSet",
        "tokio::",
        "std::env",
        "std::thread",
    ];
    for room in
        ["node/core/src", "checkers/src", "workloads/src", "harness/src/plan", "harness/src/sim", "harness/overlay/src"]
    {
        for path in files(&top().join(room), ".rs") {
            let text = read(&path);
            let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
            if relative(&path).contains("/tests") {
                continue;
            }
            // Keys are judged side by side in one file, whose results are in the order of the keys whatever thread was faster.
            let side_by_side = relative(&path) == "checkers/src/parallel.rs";
            for (number, line) in shipped.lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                for word in forbidden {
                    let excused = side_by_side && word == "std::thread";
                    assert!(
                        excused || !code.contains(word),
                        "{}:{}: `{word}` in a deterministic room",
                        relative(&path),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    for path in files(&top(), ".rs") {
        let text = read(&path);
        assert!(
            text.starts_with("//!"),
            "{}: a file begins with a header: purpose, source, invariants",
            relative(&path)
        );
        let lines = text.lines().count();
        assert!(lines <= 800, "{}: {lines} lines; split it, one concept a file", relative(&path));
        for (number, line) in text.lines().enumerate() {
            let mark = ["todo", "unimplemented", "dbg"].iter().find(|m| line.contains(&format!("{m}!(")));
            assert!(mark.is_none(), "{}:{}: unfinished mark", relative(&path), number + 1);
        }
    }
}

#[test]
fn tests_wait_for_states_not_for_time() {
    for path in files(&top(), ".rs") {
        let name = relative(&path);
        if !name.contains("/tests/") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            let ignored = line.trim_start().starts_with(concat!("#[", "ignore"));
            assert!(!ignored, "{name}:{}: an ignored test proves nothing", number + 1);
            let excused = line.contains("// poll") || line.contains("// the case itself");
            let sleeps = line.contains(concat!("sleep", "(")) && !excused;
            assert!(
                !sleeps,
                "{name}:{}: poll with a deadline, and mark the pause between polls with `// poll`",
                number + 1
            );
        }
    }
}

#[test]
fn unsafe_code_stays_forbidden() {
    let workspace = read(&top().join("Cargo.toml"));
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for path in files(&top(), "Cargo.toml") {
        if path != top().join("Cargo.toml") {
            let manifest = read(&path);
            assert!(
                manifest.contains("[lints]\nworkspace = true"),
                "{}: does not take the shared lints",
                relative(&path)
            );
        }
    }
}

#[test]
fn the_text_speaks_of_the_project_alone() {
    // Written apart so that this file does not trip over itself.
    let words =
        [["crates", ".io"], ["deb.", "debian"], ["pypi", ".org"], ["/wo", "rk/"], ["/fa", "rm/"]].map(|w| w.concat());
    for ending in [".rs", ".md", ".toml", ".yaml", "run"] {
        for path in files(&top(), ending) {
            for (number, line) in read(&path).lines().enumerate() {
                for word in &words {
                    assert!(!line.contains(word.as_str()), "{}:{}: `{word}`", relative(&path), number + 1);
                }
            }
        }
    }
}

#[test]
fn planted_bugs_are_only_in_builds_that_ask_for_them() {
    for path in files(&top(), "Cargo.toml") {
        let mut section = String::new();
        for line in read(&path).lines() {
            if line.starts_with('[') {
                section = line.to_owned();
            }
            let asks = line.contains("planted-bugs") && (section != "[features]" || line.starts_with("default"));
            assert!(!asks || line.starts_with('#'), "{}: `{line}` plants bugs in every build", relative(&path));
        }
    }
    let source = read(&top().join("node/core/src/planted.rs"));
    let names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \""))
        .map(|(_, name)| name)
        .collect();
    assert!(names.len() >= 12, "the table of planted bugs looks different: {names:?}");
    let program = fs::read(hearsay_tests::program()).expect("the program is built with the tests");
    let has = |name: &str| program.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has("read-your-writes"), "names are not found in the program at all");
    for name in names {
        assert_eq!(has(name), cfg!(feature = "planted-bugs"), "the name `{name}` in the program");
    }
}
