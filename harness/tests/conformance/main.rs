//! What the simulator and real processes must both do, in one set of test bodies: each is a plan, and what has to be seen of
//! it. A difference between the two worlds is a finding about the simulator.
//!
//! A binary without libtest: it must enter a sandbox before it has any thread, and it is the nodes' program as well.
//!
//! `cargo test -p hearsay --test conformance [-- FILTER]`

mod bodies;
#[path = "../sandboxed/mod.rs"]
mod sandboxed;
mod support;
mod traffic;

use std::process::{Command, ExitCode};
use std::time::Instant;

use hearsay::sandbox::Sandbox;

use sandboxed::{enter, fail, resume, words};
use support::{Real, Simulated};

/// Of a body that a busy machine can spoil.
const TRIES_MAX: usize = 3;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == "node") {
        return hearsay::cli::main();
    }
    resume(outside, inside)
}

fn outside() -> ExitCode {
    let words = words();
    if words.first().is_some_and(|word| word == "mode:real") {
        return enter(inside);
    }
    println!();
    let (mut passed, mut failed) = (0, 0);
    for (name, body) in bodies::BODIES {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        for (world, run) in [("simulated", simulated as fn(&str, bodies::Body) -> bool), ("real", real)] {
            let began = Instant::now();
            let good = run(name, *body);
            *if good { &mut passed } else { &mut failed } += 1;
            let word = if good { "ok" } else { "FAILED" };
            println!("test {name} ({world}) ... {word} ({} ms)", began.elapsed().as_millis());
        }
    }
    println!("test result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn simulated(_name: &str, body: bodies::Body) -> bool {
    std::panic::catch_unwind(|| body(&Simulated)).is_ok()
}

/// In a process and a sandbox of its own. What a busy machine can spoil is tried again: that it is spoiled each time shows
/// that it is broken.
fn real(name: &str, _body: bodies::Body) -> bool {
    let tries = if bodies::TRIED_AGAIN.contains(&name) { TRIES_MAX } else { 1 };
    (0..tries)
        .any(|_| Command::new("/proc/self/exe").args(["mode:real", name]).status().is_ok_and(|status| status.success()))
}

fn inside(sandbox: &Sandbox) -> ExitCode {
    let words = words();
    let Some((_, body)) = bodies::BODIES.iter().find(|(name, _)| words.last().is_some_and(|word| word == name)) else {
        return fail(&format!("no such case: {words:?}"));
    };
    body(&Real { sandbox });
    ExitCode::SUCCESS
}
