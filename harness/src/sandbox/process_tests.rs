//! Node processes without a network: a shell script plays the node.

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const NODE: NodeId = NodeId(1);

struct Fixture {
    nodes: Nodes,
    deaths: mpsc::Receiver<NodeDied>,
    directory: tempfile::TempDir,
}

fn fixture(script: &str) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let places =
        NodePlaces { log: directory.path().join("log/n1.log"), disk: DiskPlace::Plain(directory.path().join("disk")) };
    let script = script.to_string();
    let factory: CommandFactory = Arc::new(move |_| {
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    });
    let (nodes, deaths) = Nodes::new(Arc::new(Here), factory, BTreeMap::from([(NODE, places)]));
    Fixture { nodes, deaths, directory }
}

fn until_logged(nodes: &Nodes, text: &str) {
    let began = Instant::now();
    while nodes.log_tail(NODE) != text {
        assert!(began.elapsed() < PATIENCE, "the log is `{}`, not `{text}`", nodes.log_tail(NODE));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn died(deaths: &mut mpsc::Receiver<NodeDied>) -> NodeDied {
    let began = Instant::now();
    loop {
        match deaths.try_recv() {
            Ok(died) => return died,
            Err(error) => assert!(began.elapsed() < PATIENCE, "no death was reported: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_death_of_its_own_is_reported_with_the_end_of_the_log() {
    let mut f = fixture("seq 1 10000; echo \"thread 'main' panicked at: the cause\" >&2; exit 101");
    f.nodes.start(NODE).expect("starting");
    let died = died(&mut f.deaths);
    assert_eq!(died.node, NODE);
    assert!(died.status.contains("101"), "{died}");
    assert!(died.log_tail.ends_with("panicked at: the cause"), "{died}");
    assert!(died.log_tail.lines().count() <= LOG_TAIL_LINES, "{died}");
    assert_eq!(f.nodes.running(), []);
    assert!(matches!(f.nodes.kill(&[NODE]), Err(ProcessError::NotRunning(NODE))));
}

#[test]
fn a_kill_is_no_death_of_its_own_and_a_restart_appends_to_the_log() {
    let mut f = fixture("echo started; exec sleep 1000");
    let first = f.nodes.start(NODE).expect("starting");
    assert!(matches!(f.nodes.start(NODE), Err(ProcessError::Running(NODE))));
    until_logged(&f.nodes, "started");
    let ended = f.nodes.kill(&[NODE]).expect("killing");
    assert_eq!(ended[0].1.status.signal(), Some(9));
    assert_eq!(ended[0].1.pid, first);
    assert!(!Path::new(&format!("/proc/{first}")).exists(), "reaped");
    let second = f.nodes.start(NODE).expect("starting again");
    assert_ne!(first, second);
    assert_eq!(f.nodes.starts(NODE), 2);
    until_logged(&f.nodes, "started\nstarted");
    f.nodes.stop_all(PATIENCE).expect("stopping");
    assert!(f.deaths.try_recv().is_err(), "nothing ended by itself");
    assert!(f.directory.path().join("disk").is_dir());
}

#[test]
fn a_kill_from_elsewhere_is_reported() {
    let mut f = fixture("exec sleep 1000");
    let pid = f.nodes.start(NODE).expect("starting");
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("killing behind its back");
    assert!(died(&mut f.deaths).status.contains("signal: 9"));
}

#[test]
fn an_ordered_end_that_fails_is_reported() {
    let mut f = fixture("trap 'echo could not sync; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    f.nodes.start(NODE).expect("starting");
    until_logged(&f.nodes, "ready");
    f.nodes.stop_all(PATIENCE).expect("stopping");
    let died = died(&mut f.deaths);
    assert!(died.status.contains('3') && died.log_tail.contains("could not sync"), "{died}");
}

#[test]
fn who_ignores_the_orderly_end_is_killed() {
    let f = fixture("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    f.nodes.start(NODE).expect("starting");
    until_logged(&f.nodes, "ready");
    let ended = f.nodes.stop_all(Duration::from_millis(50)).expect("stopping");
    assert_eq!(ended[0].1.status.signal(), Some(9));
    assert_eq!(f.nodes.running(), []);
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let places =
        NodePlaces { log: directory.path().join("log"), disk: DiskPlace::Plain(directory.path().join("disk")) };
    let factory: CommandFactory = Arc::new(|_| Command::new("/no/such/node"));
    let (nodes, _deaths) = Nodes::new(Arc::new(Here), factory, BTreeMap::from([(NODE, places)]));
    let error = nodes.start(NODE).expect_err("no such program").to_string();
    assert!(error.contains("/no/such/node") && error.contains("n1"), "{error}");
    assert!(matches!(nodes.start(NodeId(9)), Err(ProcessError::Unknown(NodeId(9)))));
}
