//! What a process does with a disk: run as a process of its own, because a program must not go through a mount that it serves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::fcntl::{FallocateFlags, fallocate};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes of a block of the counting client.
pub(crate) const BLOCK: usize = 4096;

pub(crate) fn run(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["random", directory, seed, steps] => {
            random(Path::new(directory), seed.parse().expect("a seed"), steps.parse().expect("a number"))
        }
        ["count", directory] => count(Path::new(directory)),
        ["sync", directory] => sync(Path::new(directory)),
        ["lock", directory] => lock(Path::new(directory)),
        ["measure", directory] => measure(Path::new(directory)),
        _ => panic!("no such client: {words:?}"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until this process is killed.
fn wait() -> ! {
    loop {
        std::thread::park();
    }
}

fn say(text: &str) {
    println!("{text}");
    io::stdout().flush().expect("standard output");
}

/// Writes three blocks and syncs them, writes two more without a sync, and waits.
fn count(directory: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(directory.join("count"))?;
    for block in 1..=3u8 {
        file.write_all(&[block; BLOCK])?;
    }
    file.sync_data()?;
    fs::rename(directory.join("count"), directory.join("renamed"))?;
    for block in 4..=5u8 {
        file.write_all(&[block; BLOCK])?;
    }
    say("written");
    wait()
}

/// Writes and syncs, for ever; ends at the first error, as a node does.
fn sync(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(directory.join("sync"))?;
    say("begins");
    loop {
        file.write_all_at(&[1; BLOCK], 0)?;
        file.sync_data()?;
    }
}

/// Holds a lock; fails when somebody else does.
fn lock(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(directory.join("lock"))?;
    file.try_lock().map_err(io::Error::from)?;
    say("locked");
    wait()
}

/// Times of a 4 KiB write with its fdatasync.
fn measure(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(directory.join("measure"))?;
    let mut times = Vec::new();
    for number in 0..4_000 {
        let began = std::time::Instant::now();
        file.write_all_at(&[number as u8; BLOCK], number % 256 * BLOCK as u64)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    println!("median {:.0} us, 99 % within {:.0} us", at(50), at(99));
    Ok(())
}

/// Random steps, each with a line that says how it ended. The same lines on every correct file system.
fn random(directory: &Path, seed: u64, steps: u64) -> io::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut open: Vec<File> = Vec::new();
    let mut output = io::BufWriter::new(io::stdout().lock());
    for step in 0..steps {
        let (what, result) = one_step(directory, &mut random, &mut open);
        let result = result.unwrap_or_else(|error| format!("error {:?}", error.raw_os_error()));
        writeln!(output, "{step} {what}: {result}")?;
    }
    drop(open);
    for line in tree(directory, Path::new(""))? {
        writeln!(output, "{line}")?;
    }
    output.flush()
}

fn one_step(top: &Path, random: &mut ChaCha8Rng, open: &mut Vec<File>) -> (String, io::Result<String>) {
    const NAMES: [&str; 7] = ["a", "b", "c", "d", "d/a", "d/b", "d/e"];
    let name = NAMES[random.random_range(0..NAMES.len())];
    let other = NAMES[random.random_range(0..NAMES.len())];
    let (path, other_path) = (top.join(name), top.join(other));
    let at = random.random_range(0..40_000u64);
    let length = random.random_range(0..20_000usize);
    let byte = random.next_u32() as u8;
    let file =
        (!open.is_empty()).then(|| open[random.random_range(0..open.len())].try_clone().expect("a second handle"));
    let nothing = |done: io::Result<()>| done.map(|()| "done".to_owned());
    let errno = |done: nix::Result<()>| nothing(done.map_err(io::Error::from));
    let what = random.random_range(0..22u32);
    let result = match (what, file) {
        (0, _) if open.len() < 8 => {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            opened.map(|file| {
                format!("handle {}", {
                    open.push(file);
                    open.len()
                })
            })
        }
        (1, _) if open.len() < 8 => {
            let opened = OpenOptions::new().read(true).append(true).create_new(true).open(&path);
            opened.map(|file| {
                format!("handle {}", {
                    open.push(file);
                    open.len()
                })
            })
        }
        (2, _) => fs::write(&path, vec![byte; length]).map(|()| "written".to_owned()),
        (3, _) => fs::read(&path).map(|bytes| digest(&bytes)),
        (4, _) => nothing(fs::remove_file(&path)),
        (5, _) => nothing(fs::create_dir(&path)),
        (6, _) => nothing(fs::remove_dir(&path)),
        (7 | 8, _) => nothing(fs::rename(&path, &other_path)),
        (9, _) => nothing(fs::hard_link(&path, &other_path)),
        (10, _) => nothing(std::os::unix::fs::symlink(other, &path)),
        (11, _) => fs::read_link(&path).map(|target| target.display().to_string()),
        (12, _) => entries(&path).map(|entries| format!("{entries:?}")),
        (13, _) => fs::symlink_metadata(&path).map(|metadata| seen(&metadata)),
        (14, _) => File::open(&path).and_then(|file| file.sync_all()).map(|()| "synced".to_owned()),
        (15, Some(file)) => file.write_at(&vec![byte; length], at).map(|written| format!("{written} bytes")),
        (16, Some(mut file)) => nothing(file.write_all(&vec![byte; length])),
        (17, Some(file)) => {
            let mut bytes = vec![0; length];
            file.read_at(&mut bytes, at).map(|read| format!("{read} {}", digest(&bytes[..read])))
        }
        (18, Some(file)) => nothing(file.set_len(at)),
        (19, Some(file)) => nothing(file.sync_data()),
        (20, Some(file)) => {
            let modes = [
                FallocateFlags::empty(),
                FallocateFlags::FALLOC_FL_KEEP_SIZE,
                FallocateFlags::FALLOC_FL_KEEP_SIZE | FallocateFlags::FALLOC_FL_PUNCH_HOLE,
            ];
            let mode = modes[random.random_range(0..modes.len())];
            errno(fallocate(&file, mode, at as i64, length as i64 + 1))
        }
        (21, Some(file)) => {
            let position = random.random_range(0..open.len());
            drop((file, open.remove(position)));
            Ok("closed".to_owned())
        }
        _ => Ok("nothing to do".to_owned()),
    };
    (format!("{what} {name} {other} {at} {length}"), result)
}

fn digest(bytes: &[u8]) -> String {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{} bytes {sum:x}", bytes.len())
}

fn seen(metadata: &fs::Metadata) -> String {
    let length = if metadata.is_dir() { 0 } else { metadata.len() };
    format!("{:?} {length} {} {:o}", metadata.file_type(), metadata.nlink(), metadata.mode())
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let names: io::Result<Vec<PathBuf>> =
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name().into())).collect();
    let mut names = names?;
    names.sort();
    Ok(names)
}

/// Everything below a directory, with content.
pub(crate) fn tree(top: &Path, below: &Path) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for name in entries(&top.join(below))? {
        let path = below.join(name);
        let metadata = fs::symlink_metadata(top.join(&path))?;
        let mut content = Vec::new();
        if metadata.is_file() {
            File::open(top.join(&path))?.read_to_end(&mut content)?;
        }
        lines.push(format!("{} {} {}", path.display(), seen(&metadata), digest(&content)));
        if metadata.is_dir() {
            lines.extend(tree(top, &path)?);
        }
    }
    Ok(lines)
}
