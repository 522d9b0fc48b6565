//! The command line towards people and programs, where it needs no sandbox: what is refused, what is said, what is replayed.

use std::path::Path;
use std::process::Stdio;

use hearsay_tests::{Ended, Workplace, small_campaign, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const CALM: &str = "{warmup: 2s, converge_within: 30s}";

fn object(ended: &Ended) -> Value {
    let value: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("not one JSON object ({error}):\n{}\n{}", ended.stdout, ended.stderr));
    assert!(value.is_object(), "{value}");
    value
}

#[test]
fn what_ends_a_command_before_it_starts_is_an_object_for_programs() {
    let place = Workplace::new();
    for arguments in [
        &["run", "no-such-campaign", "--json"][..],
        &["run", "quickstart", "--seed", "minus", "--json"],
        &["run", "--plan", "no-such-plan.yaml", "--json"],
        &["check", "no-such-history", "--json"],
    ] {
        let ended = place.run(arguments);
        ended.expect_code(64);
        let told = object(&ended);
        assert_eq!((&told["outcome"], &told["exit_code"]), (&"bad-usage".into(), &64.into()), "{arguments:?}");
        assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
        assert!(!ended.stderr.is_empty(), "people are told as well");
    }
    let ended = place.run(&["run", "no-such-campaign"]);
    assert_eq!(ended.stdout, "", "nothing for programs unless asked");
}

#[test]
fn the_doctor_gives_programs_one_object() {
    let ended = Workplace::new().run(&["doctor", "--json"]);
    ended.expect_code(0);
    let told = object(&ended);
    assert_eq!((&told["fit"], &told["nodes"]), (&true.into(), &5.into()));
    let checks = told["checks"].as_array().expect("a list of checks");
    assert!(!checks.is_empty() && checks.iter().all(|check| check["name"].is_string()), "{told}");
}

#[test]
fn devices_and_pipes_are_no_campaigns_nor_plans() {
    let place = Workplace::new();
    nix::unistd::mkfifo(&place.path().join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe can be made");
    for path in ["/dev/zero", "pipe.yaml"] {
        for arguments in [&["run", path, "--sim"][..], &["run", "--sim", "--plan", path]] {
            place.run(arguments).expect_code(64).expect_words("no regular file");
        }
    }
}

#[test]
fn a_long_line_is_not_printed_whole() {
    let place = Workplace::new();
    let long = "x".repeat(100_000);
    let campaign = small_campaign("", CALM).replace("about: a short run for tests", &format!("about: {{{long}: 1}}"));
    let ended = place.run(&["run", place.file("long.yaml", &campaign).to_str().expect("a plain path"), "--sim"]);
    ended.expect_code(64);
    assert!(ended.stderr.len() < 3_000, "{} bytes", ended.stderr.len());
}

#[test]
fn a_model_that_is_asked_for_has_to_hold() {
    let place = Workplace::new();
    let text = hearsay_workloads::campaign("stale-reads").expect("it ships");
    let text = text.replace("campaign: stale-reads", "campaign: lenient").replace(": violated", ": any");
    place.file("lenient.yaml", &text);
    place.run(&["run", "lenient.yaml", "--sim", "--seed", "1"]).expect_code(0);
    let run = place.latest().display().to_string();
    place.run(&["check", &run]).expect_code(0).expect_words("monotonic-reads");
    place.run(&["check", &run, "--model", "monotonic-reads"]).expect_code(1).expect_words("violated");
    place.run(&["check", &run, "--model", "convergence"]).expect_code(0);
}

#[test]
fn the_replay_line_finds_the_same_store() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign("", CALM));
    let ended = place.run(&["run", "small.yaml", "--sim", "--seed", "7", "--store", "my store"]);
    ended.expect_code(0).expect_words(" --store 'my store'");
    let line = ended.stdout.lines().last().expect("a last line").to_owned();
    let (_, again) = line.split_once("again: hearsay ").expect("the replay line");
    let runs = || std::fs::read_dir(place.path().join("my store/small")).expect("the store").count();
    assert_eq!(runs(), 1);
    let shell = format!("\"$0\" {again}");
    let status = std::process::Command::new("sh")
        .args(["-c", &shell])
        .arg(hearsay_tests::program())
        .current_dir(place.path())
        .stdout(Stdio::null())
        .status()
        .expect("a shell");
    assert!(status.success(), "{again}");
    assert_eq!(runs(), 2, "{again}");
    assert!(!place.path().join("store").exists());
}

#[test]
fn an_interrupted_simulation_says_so() {
    let place = Workplace::new();
    let campaign = small_campaign("", "{warmup: 1h, converge_within: 30s}");
    place.file("long.yaml", &campaign);
    for json in [false, true] {
        let mut arguments = vec!["run", "long.yaml", "--sim", "--seed", "7"];
        arguments.extend(json.then_some("--json"));
        let child = place.hearsay(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let status = format!("/proc/{}/status", child.id());
        // The thread that looks at the signals is there.
        wait_for("the simulation", || {
            let text = std::fs::read_to_string(Path::new(&status)).ok()?;
            let threads = text.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse::<u32>().ok()?;
            (threads >= 2).then_some(())
        });
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it takes signals");
        let ended = Ended::from(child.wait_with_output().expect("it ends"));
        ended.expect_code(2).expect_words("interrupted");
        if json {
            assert_eq!(object(&ended)["interrupted"], Value::Bool(true));
        }
    }
}

#[test]
fn histories_of_other_systems_are_judged_and_converted() {
    let place = Workplace::new();
    let lines = "0\t:invoke\t:add\t1\n0\t:ok\t:add\t1\n1\t:invoke\t:read\tnil\n1\t:ok\t:read\t#{1}\n";
    place.file("good.log", lines);
    let held = place.run(&["check", "good.log"]);
    held.expect_code(0)
        .expect_words("The format is log, guessed")
        .expect_words("set-full")
        .expect_words("verdict: holds");
    let edn = place.run(&["convert", "good.log", "--to", "edn"]);
    edn.expect_code(0);
    assert!(edn.stdout.starts_with("{:index 0, :type :invoke, :process 0, :f :add, :value 1}\n"), "{}", edn.stdout);
    place.file("bad.edn", &edn.stdout.replace("#{1}", "#{2}"));
    let broken = place.run(&["check", "bad.edn", "--model", "set", "--json"]);
    broken.expect_code(1);
    let told = object(&broken);
    assert_eq!((&told["format"], &told["found"]), (&"edn".into(), &"violated".into()));
    assert_eq!(told["verdicts"][0]["checker"], "set");
    // The way back is the same text.
    place.file("again.edn", &edn.stdout);
    let text = place.run(&["convert", "again.edn", "--to", "text"]);
    assert_eq!(text.stdout, lines);
    place.run(&["check", "good.log", "--format", "edn"]).expect_code(64).expect_words("line 1, column 1");
    place.file("other.edn", "{:type :ok :f :juggle :process 1}\n");
    place.run(&["check", "other.edn"]).expect_code(64).expect_words("no model fits");
    place.run(&["check", "good.log", "--memory", "lots"]).expect_code(64).expect_words("no size");
    place
        .file("register.log", "0\t:invoke\t:write\t1\n0\t:ok\t:write\t1\n1\t:invoke\t:read\tnil\n1\t:ok\t:read\tnil\n");
    place
        .run(&["check", "register.log", "--strongest", "--svg", "models.svg"])
        .expect_code(0)
        .expect_words("linearizable");
    place.run(&["check", "register.log", "--model", "linearizable", "--svg", "line.svg"]).expect_code(1);
    for name in ["models.svg", "line.svg"] {
        let svg = std::fs::read_to_string(place.path().join(name)).expect("the picture is there");
        assert!(svg.starts_with("<svg"), "{name}");
    }
}

#[test]
fn a_history_is_judged_as_it_is_read_where_memory_is_short() {
    let place = Workplace::new();
    let mut lines = String::new();
    for operation in 0..400_u64 {
        let (f, value) = if operation % 2 == 0 { ("write", operation) } else { ("read", operation - 1) };
        for (at, kind) in ["invoke", "ok"].into_iter().enumerate() {
            let index = operation * 2 + at as u64;
            let value = if f == "read" && kind == "invoke" { "null".to_owned() } else { value.to_string() };
            lines += &format!(
                "{{\"index\":{index},\"time\":{},\"type\":\"{kind}\",\"process\":{},\"f\":\"{f}\",\"key\":\"x\",\"value\":{value}}}\n",
                index * 10,
                operation % 3
            );
        }
    }
    place.file("good.jsonl", &lines);
    let judge = |name: &str| place.run(&["check", name, "--model", "linearizable,regular", "--memory", "100kB"]);
    // What one pass can't decide and does not fit is unknown, with what it would take.
    judge("good.jsonl")
        .expect_code(2)
        .expect_words("Judged as it was read: 400 operations, 1 pass of the file.")
        .expect_words("takes 280 kB for 400 operations, more than the 100 kB allowed");
    place.file(
        "bad.jsonl",
        &lines.replace("\"read\",\"key\":\"x\",\"value\":398", "\"read\",\"key\":\"x\",\"value\":4"),
    );
    judge("bad.jsonl").expect_code(1).expect_words("the first contradiction in the history");
}

#[test]
fn histories_of_other_systems_are_judged_as_they_are_read_where_memory_is_short() {
    let place = Workplace::new();
    let (mut lines, mut lists) = (String::new(), String::new());
    for operation in 0..400_u64 {
        let (f, asked, value) = match operation % 2 {
            0 => ("write", (operation + 1).to_string(), operation + 1),
            _ => ("read", "nil".to_owned(), operation),
        };
        let process = operation % 3;
        for (kind, value) in [("invoke", asked), ("ok", value.to_string())] {
            lines += &format!("{{:process {process}, :type :{kind}, :f :{f}, :value {value}}}\n");
        }
        lists += &format!("{{:process 0, :type :invoke, :f :txn, :value [[:append 1 {operation}]]}}\n");
        lists += &format!("{{:process 0, :type :ok, :f :txn, :value [[:append 1 {operation}]]}}\n");
    }
    place.file("good.edn", &lines);
    place.file("vector.edn", &format!("[{lines}]"));
    place.file("bad.edn", &lines.replace(":read, :value 399", ":read, :value 5"));
    place.file("lists.edn", &lists);
    let judge = |name: &str, models: &str| place.run(&["check", name, "--model", models, "--memory", "100kB"]);
    for name in ["good.edn", "vector.edn"] {
        judge(name, "linearizable").expect_code(0).expect_words("Judged as it was read: 400 operations, 2 passes");
        judge(name, "regular")
            .expect_code(2)
            .expect_words("takes 280 kB for 400 operations, more than the 100 kB allowed");
    }
    judge("bad.edn", "linearizable").expect_code(1).expect_words("the first contradiction in the history");
    judge("lists.edn", "serializable").expect_code(2).expect_words("`txn` is no function of a register");
    judge("lists.edn", "serializable").expect_words("more than the 100 kB allowed: allow more to have it judged");
    place.run(&["check", "lists.edn", "--memory", "100kB"]).expect_code(2).expect_words("strict-serializable");
    place.run(&["check", "good.edn", "--memory", "100kB", "--strongest"]).expect_code(64).expect_words("allow more");
    // Without a limit of the user's, all is in memory.
    place
        .run(&["check", "lists.edn", "--model", "serializable"])
        .expect_words("No committed transaction read anything");
}

#[test]
fn what_is_no_history_is_named_with_the_mend() {
    let place = Workplace::new();
    for (name, content, expected) in [
        ("empty.edn", "", "the file is empty: expected a history"),
        ("blank.log", "\n\n; nothing\n", "no event in its 3 lines, only blanks and comments"),
        ("packed.edn.gz", "\u{1f}\u{0}", "it is no text: byte 0x1f at offset 0"),
        (
            "nemesis.edn",
            "{:process :nemesis, :type :info, :f :start, :value nil}\n",
            "no client did anything in it: all its events (1) are of other processes, the first of nemesis on line 1",
        ),
    ] {
        place.file(name, content);
        for command in [&["check", name][..], &["check", name, "--memory", "1kB"]] {
            place.run(command).expect_code(64).expect_words(name).expect_words(expected);
        }
    }
    std::fs::write(place.path().join("cut.jsonl.gz"), b"\x1f\x8b\x08\x00\x00").expect("it is written");
    place
        .run(&["check", "cut.jsonl.gz"])
        .expect_code(64)
        .expect_words("packed by gzip: unpack it with `gunzip -k FILE`");
    place.run(&["check", "."]).expect_code(64).expect_words("no history.jsonl; give one of its files: blank.log");
}

#[test]
fn what_breaks_a_level_of_transactions_is_drawn() {
    let place = Workplace::new();
    place.file(
        "skew.txt",
        "w(1,1,0,0)\nr(2,0,0,0)\nw(2,1,1,1)\nr(1,0,1,1)\nr(1,1,2,2)\nr(2,0,2,2)\nr(2,1,3,3)\nr(1,0,3,3)\n",
    );
    let drawn = place.run(&["check", "skew.txt", "--model", "serializable", "--svg", "skew.svg"]);
    drawn.expect_code(1).expect_words("The format is plume, guessed; there are 4 records.");
    let svg = std::fs::read_to_string(place.path().join("skew.svg")).expect("the picture is there");
    assert!(svg.contains("rw: ") && svg.matches("<polygon").count() >= 2, "{svg}");
}
