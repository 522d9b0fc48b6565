//! What the sandbox, the network, the firewalls and the process faults do to a real kernel.
//!
//! A binary without libtest: it must enter a sandbox before it has any thread. It runs its cases as the user who starts it and, when
//! that is root, once more as an ordinary user in a user namespace. Cases that need iptables say that they are skipped where the
//! program is missing, and fail if HEARSAY_REQUIRE_IPTABLES=1.
//!
//! `cargo test -p hearsay --test kernel [-- FILTER]`; with `-- mode:measure 200` it prints times for 200 nodes instead.

mod disk_client;
mod disks;
mod faults;
mod firewall;
mod lifetime;
mod links;
mod measure;
mod network;
#[path = "../sandboxed/mod.rs"]
mod sandboxed;
mod support;

use std::process::ExitCode;
use std::sync::Arc;

use hearsay::sandbox::{Network, Sandbox};
use hearsay_core::NodeId;
use sandboxed::{enter, fail, resume, words};
use support::{Context, run_as_ordinary_user, run_cases, run_self};

const NODES: u16 = 200;

fn main() -> ExitCode {
    // The doctor's probe and the steps of entering end in here.
    resume(outside, inside)
}

fn outside() -> ExitCode {
    let words = words();
    if let Some(("disk-client", rest)) = words.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        return disk_client::run(rest);
    }
    if words.first().is_some_and(|word| word.starts_with("mode:")) {
        return enter(inside);
    }
    let root = nix::unistd::Uid::effective().is_root();
    let who = if root { "root" } else { "an ordinary user" };
    println!("\nkernel tests as {who}, outside of a sandbox");
    let mut good = run_cases(&lifetime::cases(), &words, &Context { network: None, sandbox: None });
    println!("\nkernel tests as {who}, inside of a sandbox");
    good &= run_self("mode:inside", &words);
    if root {
        good &= run_as_ordinary_user(&words);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn inside(sandbox: &Sandbox) -> ExitCode {
    let words = words();
    let (mode, rest) = words.split_first().map_or(("", &[][..]), |(mode, rest)| (mode.as_str(), rest));
    match mode {
        "mode:inside" => {
            let nodes: Vec<NodeId> = (1..=NODES).map(NodeId).collect();
            let network = match Network::create(sandbox, &nodes) {
                Ok(network) => network,
                Err(error) => return fail(&error),
            };
            let context = Context { network: Some(Arc::new(network)), sandbox: Some(sandbox) };
            let cases = [network::cases(), firewall::cases(), faults::cases(), links::cases(), disks::cases()].concat();
            if run_cases(&cases, rest, &context) { ExitCode::SUCCESS } else { ExitCode::from(101) }
        }
        "mode:victim" => lifetime::victim(sandbox, rest),
        "mode:measure" => measure::measure(sandbox, rest),
        _ => fail(&format!("no such mode: {mode}")),
    }
}
