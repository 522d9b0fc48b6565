//! Processor time and memory of the rows that peers were measured on, each in a process of its own.
//!
//! `cargo bench -p hearsay-checkers --bench processor`; with a name, such as `-- one-key`, only the rows that contain it.
//! Wall time means little on a busy machine, so the time is that of the processor, threads included, and beside it stands the
//! same work in units of a reference from the same process: counting the lines of the row's file. Linux only (/proc).

#![expect(clippy::disallowed_methods, reason = "a benchmark reads files")]

#[path = "made/mod.rs"]
mod made;
#[path = "../tests/simulated/mod.rs"]
mod simulated;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use hearsay_checkers::import::{ImportOptions, read_recording, read_transactions};
use hearsay_checkers::stream::judge_jsonl;
use hearsay_checkers::transactions::TransactionHistory;
use hearsay_checkers::{Case, CheckOptions, Judgement, Verdict, find, registers_from_jsonl};
use simulated::{Isolation, Shape, edn, plume, simulate};

const LISTS: Shape = Shape {
    isolation: Isolation::Serializable,
    lists: true,
    transactions: 100_000,
    operations: 4,
    processes: 20,
    keys: 100,
    writes_per_key: 64,
    seed: 1,
};
const REGISTERS: Shape = Shape { lists: false, operations: 8, keys: 1_000, writes_per_key: usize::MAX, ..LISTS };

/// What a row reads.
#[derive(Clone, Copy)]
enum Input {
    /// `history.jsonl`: operations, keys, clients, indeterminate ones of a hundred.
    Jsonl(u64, u64, u64, u64),
    /// The same, and of a hundred reads so many return the version before: operations, keys, clients, old ones.
    Old(u64, u64, u64, u64),
    /// `history.jsonl` of copies that are late: operations, keys, clients, writes by which they are late.
    Late(u64, u64, u64, u64),
    Edn(Shape),
    Plume(Shape),
}

impl Input {
    fn write(self, out: &mut impl Write) {
        let text = match self {
            Input::Jsonl(operations, keys, clients, info) => {
                return made::write_jsonl(operations, keys, clients, info, 0, out);
            }
            Input::Old(operations, keys, clients, old) => {
                return made::write_jsonl(operations, keys, clients, 0, old, out);
            }
            Input::Late(operations, keys, clients, late) => {
                return made::write_late_copies_jsonl(operations, keys, clients, late, out);
            }
            Input::Edn(shape) => edn(&simulate(shape)),
            Input::Plume(shape) => plume(&simulate(shape)),
        };
        out.write_all(text.as_bytes()).expect("it is written");
    }
}

/// What of the work counts.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Judging what was read before.
    Judge,
    /// Reading, and judging if there is a model.
    Read,
    /// Both at once, in the memory that is under way.
    Stream,
}

/// A row: its name, what it reads, what it judges, and the goal in seconds of processor time.
struct Row {
    name: &'static str,
    input: Input,
    /// Nothing: it only reads.
    model: Option<&'static str>,
    how: How,
    goal_s: f64,
}

const fn row(name: &'static str, input: Input, model: Option<&'static str>, how: How, goal_s: f64) -> Row {
    Row { name, input, model, how, goal_s }
}

const ONE_KEY: Input = Input::Jsonl(100_000, 1, 5, 0);
const TEN_MILLION: Input = Input::Jsonl(10_000_000, 1, 5, 0);
const MILLION: Input = Input::Jsonl(1_000_000, 100, 10, 0);

const LATE: Input = Input::Late(100_000, 100, 10, 20);
const LATE_MILLION: Input = Input::Late(1_000_000, 100, 10, 20);

const REGISTERS_100K: Input = Input::Plume(REGISTERS);

const ROWS: &[Row] = &[
    row("one-key-100k linearizable, parsing included", ONE_KEY, Some("linearizable"), How::Read, 0.05),
    row("one-key-10M linearizable, parsing included", TEN_MILLION, Some("linearizable"), How::Read, 5.0),
    row("one-key-100k linearizable, streamed", ONE_KEY, Some("linearizable"), How::Stream, 0.05),
    row("one-key-10M linearizable, streamed", TEN_MILLION, Some("linearizable"), How::Stream, 5.0),
    row("sessions-1M causal, streamed", MILLION, Some("causal"), How::Stream, 2.0),
    row("sessions-1M monotonic-reads", MILLION, Some("monotonic-reads"), How::Judge, 2.0),
    row("sessions-1M read-your-writes", MILLION, Some("read-your-writes"), How::Judge, 2.0),
    row("sessions-1M monotonic-writes", MILLION, Some("monotonic-writes"), How::Judge, 2.0),
    row("sessions-1M writes-follow-reads", MILLION, Some("writes-follow-reads"), How::Judge, 2.0),
    row("sessions-1M pram", MILLION, Some("pram"), How::Judge, 2.0),
    row("sessions-1M causal", MILLION, Some("causal"), How::Judge, 2.0),
    row("sessions-1M causal-convergence", MILLION, Some("causal-convergence"), How::Judge, 2.0),
    row("sessions-100k causal-memory", Input::Jsonl(100_000, 100, 10, 0), Some("causal-memory"), How::Judge, 5.0),
    row("late-copies-100k pram", LATE, Some("pram"), How::Judge, 2.0),
    row("late-copies-100k causal", LATE, Some("causal"), How::Judge, 2.0),
    row("late-copies-100k causal-memory", LATE, Some("causal-memory"), How::Judge, 5.0),
    row("late-copies-1M causal-memory", LATE_MILLION, Some("causal-memory"), How::Judge, 50.0),
    row("late-copies-1M pram", LATE_MILLION, Some("pram"), How::Judge, 20.0),
    row("old-reads-100k two-atomic, 5 clients", Input::Old(100_000, 1, 5, 10), Some("two-atomic"), How::Judge, 0.05),
    row("old-reads-100k two-atomic, 20 clients", Input::Old(100_000, 1, 20, 10), Some("two-atomic"), How::Judge, 0.05),
    row("old-reads-1M two-atomic, 100 keys", Input::Old(1_000_000, 100, 20, 10), Some("two-atomic"), How::Judge, 0.5),
    row("registers-100k x 8 parsing", REGISTERS_100K, None, How::Read, 0.15),
    row("registers-100k x 8 read-committed", REGISTERS_100K, Some("read-committed"), How::Judge, 0.14),
    row("registers-100k x 8 session-read-committed", REGISTERS_100K, Some("session-read-committed"), How::Judge, 0.14),
    row("registers-100k x 8 read-atomic", REGISTERS_100K, Some("read-atomic"), How::Judge, 0.24),
    row("registers-100k x 8 session-read-atomic", REGISTERS_100K, Some("session-read-atomic"), How::Judge, 0.24),
    row("registers-100k x 8 causal", REGISTERS_100K, Some("transactional-causal"), How::Judge, 0.91),
    row("lists-100k parsing", Input::Edn(LISTS), None, How::Read, 0.7),
    row("lists-100k strict-serializable", Input::Edn(LISTS), Some("strict-serializable"), How::Judge, 1.0),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [mode, name, path] = arguments.as_slice()
        && mode == "one"
    {
        let row = ROWS.iter().find(|row| row.name == name).expect("a row of the table");
        return measure(row, Path::new(path));
    }
    println!("{:<48} {:>9} {:>9} {:>9} {:>9}  goal, s", "row", "processor", "reference", "MB before", "MB peak");
    println!("{:<48} {:>9} {:>9} {:>9} {:>9}", "", "s", "x lines", "", "");
    for row in ROWS.iter().filter(|row| arguments.iter().all(|word| row.name.contains(word.as_str()))) {
        let path = temporary(row);
        let mut out = BufWriter::new(File::create(&path).expect("a temporary file is made"));
        row.input.write(&mut out);
        out.flush().expect("it is written");
        let exe = std::env::current_exe().expect("the program has a path");
        let ended = Command::new(exe).args(["one", row.name]).arg(&path).status();
        fs::remove_file(&path).expect("the temporary file is removed");
        assert!(ended.expect("it runs itself").success(), "{} did not end well", row.name);
    }
}

fn temporary(row: &Row) -> PathBuf {
    let at = ROWS.iter().position(|known| known.name == row.name).unwrap_or_default();
    std::env::temp_dir().join(format!("hearsay-processor-{}-{at}", std::process::id()))
}

/// Measures one row and prints its line.
fn measure(row: &Row, path: &Path) {
    let begun = processor_s();
    let lines = count_lines(path);
    let reference = processor_s() - begun;
    black_box(lines);
    let before_mb = peak_mb();
    let holds = |verdict: &Verdict| {
        assert_ne!(verdict.judgement, Judgement::Violated, "{:?}", verdict.explanation);
        if verdict.judgement == Judgement::Unknown {
            println!("{} is unknown: {}", verdict.checker, verdict.explanation.join(" "));
        }
    };
    let begun = processor_s();
    let spent = if let (How::Stream, Some(model)) = (row.how, row.model) {
        let open = || File::open(path).map(|file| BufReader::with_capacity(1 << 18, file));
        let judged = judge_jsonl(open, &[model], &CheckOptions::default()).expect("a history");
        judged.verdicts.iter().for_each(holds);
        processor_s() - begun
    } else {
        let case = read(row, path);
        let read_s = processor_s() - begun;
        if let Some(model) = row.model {
            holds(&(find(model).expect("a model").check)(&case, &CheckOptions::default()));
        }
        let all_s = processor_s() - begun;
        if row.how == How::Read { all_s } else { all_s - read_s }
    };
    println!(
        "{:<48} {spent:>9.3} {:>9.1} {before_mb:>9.0} {:>9.0}  {}",
        row.name,
        spent / reference.max(1e-6),
        peak_mb(),
        row.goal_s
    );
}

fn read(row: &Row, path: &Path) -> Case {
    let file = File::open(path).expect("the row's file is there");
    match row.input {
        Input::Jsonl(..) | Input::Old(..) | Input::Late(..) => {
            let reader = BufReader::with_capacity(1 << 18, file);
            Case { registers: Some(registers_from_jsonl(reader).expect("a history")), ..Case::default() }
        }
        Input::Plume(_) => {
            let (_, transactions) = read_transactions(file, None).expect("a good file").expect("transactions");
            Case { transactions: Some(transactions), ..Case::default() }
        }
        Input::Edn(_) => {
            let recording = read_recording(file, &ImportOptions::default()).expect("a good file");
            let transactions = TransactionHistory::from_recording(&recording).expect("transactions");
            Case { transactions, ..Case::default() }
        }
    }
}

fn count_lines(path: &Path) -> usize {
    let mut file = File::open(path).expect("the row's file is there");
    let mut buffer = vec![0; 1 << 18];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer).expect("it is read") {
            0 => return lines,
            read => lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}

/// Processor time of this process, threads that have ended included, seconds.
fn processor_s() -> f64 {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").expect("this is Linux").flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|part| part.parse::<u64>().ok()).unwrap_or_default();
    }
    sum as f64 / 1e9
}

/// Most memory that this process had, megabytes.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says");
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kb / 1e3
}
