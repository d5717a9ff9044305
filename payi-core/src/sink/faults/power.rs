//! Power loss: what a child wrote and synced is recorded call by call (`strace`), and replayed onto a disk that keeps
//! what was synced, and of the rest nothing, everything, or a part chosen at random, the last write torn in the middle.
//!
//! That a file exists is taken to be kept; SQLite syncs the directory where that matters to it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    process::Command,
};

use uuid::Uuid;

use super::{any, child};
use crate::{ledger::Ledger, sink::tests::Place};

/// One call to the system that changes a file, or says that something was promised.
#[derive(Debug)]
enum Call {
    Write {
        file: String,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        length: u64,
    },
    Sync {
        file: String,
    },
    Gone {
        file: String,
    },
    /// The child's word on what is durable.
    Promise(HashSet<Uuid>),
}

/// A file: what the disk has, and what has been written to it since its last sync.
#[derive(Debug, Default)]
struct File {
    disk: Vec<u8>,
    waiting: Vec<(u64, Option<Vec<u8>>)>,
}

impl File {
    /// A write, or with `None` a change of length.
    fn apply(content: &mut Vec<u8>, at: u64, bytes: Option<&[u8]>) {
        let at = usize::try_from(at).unwrap();
        let Some(bytes) = bytes else { return content.resize(at, 0) };
        content.resize(content.len().max(at + bytes.len()), 0);
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn sync(&mut self) {
        for (at, bytes) in self.waiting.drain(..) {
            Self::apply(&mut self.disk, at, bytes.as_deref());
        }
    }

    /// What is there after the power went: of what was not synced, what `kept` says of each write.
    fn after_loss(&self, kept: &mut dyn FnMut() -> Kept) -> Vec<u8> {
        let mut content = self.disk.clone();
        for (at, bytes) in &self.waiting {
            match (kept(), bytes) {
                (Kept::Yes, bytes) => Self::apply(&mut content, *at, bytes.as_deref()),
                (Kept::Half, Some(bytes)) => Self::apply(&mut content, *at, Some(&bytes[..bytes.len() / 2])),
                _ => {}
            }
        }
        content
    }
}

#[derive(Clone, Copy)]
enum Kept {
    Yes,
    No,
    Half,
}

/// `\x2f\x74` as bytes.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|pair| u8::from_str_radix(&pair[..2], 16).unwrap()).collect()
}

/// The last of a call's arguments. One that cannot be read fails: a write that is passed over looks like corruption.
fn last(arguments: &str) -> u64 {
    arguments.rsplit(", ").next().unwrap().parse().unwrap()
}

/// Reads a record of calls; where files are read and written from is kept track of by their descriptor.
struct Reader {
    places: HashMap<(String, String), u64>,
    unfinished: HashMap<String, String>,
}

impl Reader {
    fn calls(text: &str) -> Vec<Call> {
        let mut reader = Self { places: HashMap::new(), unfinished: HashMap::new() };
        text.lines().filter_map(|line| reader.line(line)).collect()
    }

    fn line(&mut self, line: &str) -> Option<Call> {
        let (pid, call) = line.split_once(' ')?;
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(pid.into(), begun.into());
            return None;
        }
        let joined = call.strip_prefix("<... ").and_then(|rest| {
            let end = rest.split_once("resumed>")?.1;
            Some(self.unfinished.remove(pid)? + end)
        });
        self.call(joined.as_deref().unwrap_or(call))
    }

    fn call(&mut self, call: &str) -> Option<Call> {
        let (name, rest) = call.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        // Before a result the recorder may put blanks; an argument never ends in one.
        let arguments = arguments.trim_end().trim_end_matches(')');
        let result: i64 = result.split(' ').next()?.parse().ok().filter(|result| *result >= 0)?;
        if name == "unlink" {
            return Some(Call::Gone { file: String::from_utf8(unhex(arguments)).ok()? });
        }
        let (descriptor, rest) = arguments.split_once('<')?;
        let (file, rest) = rest.split_once('>')?;
        let file = String::from_utf8(unhex(file)).ok()?;
        let place = self.places.entry((descriptor.into(), file.clone())).or_default();
        let written = u64::try_from(result).ok()?;
        match name {
            "lseek" => {
                *place = written;
                None
            }
            "write" | "pwrite64" => {
                let mut bytes = unhex(rest.split('"').nth(1).unwrap());
                bytes.truncate(usize::try_from(written).ok()?);
                let at = match name {
                    "write" => *place,
                    _ => last(rest),
                };
                if name == "write" {
                    *place += written;
                }
                if file.ends_with("/log") {
                    let promises = child::Promises::of(&String::from_utf8(bytes).ok()?);
                    return (!promises.begun.is_empty()).then_some(Call::Promise(promises.begun));
                }
                Some(Call::Write { file, at, bytes })
            }
            "ftruncate" => Some(Call::Truncate { file, length: last(rest) }),
            "fsync" | "fdatasync" => Some(Call::Sync { file }),
            _ => None,
        }
    }
}

/// What the disk has after the power went, opened; everything promised is there, and each thing once.
fn survives(files: &BTreeMap<String, File>, promised: &HashSet<Uuid>, kept: &mut dyn FnMut() -> Kept) {
    let after = Place::new("fault-06-after");
    for suffix in ["", "-wal", "-journal"] {
        if let Some((_, file)) = files.iter().find(|(name, _)| name.ends_with(&format!("payi.db{suffix}"))) {
            fs::write(after.0.join(format!("payi.db{suffix}")), file.after_loss(kept)).unwrap();
        }
    }
    let ledger = Ledger::open(after.ledger()).unwrap();
    let there = child::ids(&ledger);
    assert_eq!(promised.difference(&there).count(), 0, "of {} promised", promised.len());
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_call_that_was_interrupted_is_read_in_whole() {
    let calls = Reader::calls(concat!(
        "7  pwrite64(3<\\x61>, \"\\x41\\x42\", 2, 56 <unfinished ...>\n",
        "8  fsync(4<\\x62>)                        = 0\n",
        "7  <... pwrite64 resumed>)           = 2\n",
        "7  ftruncate(3<\\x61>, 57)                = 0\n",
    ));
    let [Call::Sync { file: synced }, Call::Write { file, at: 56, bytes }, Call::Truncate { length: 57, .. }] =
        calls.as_slice()
    else {
        panic!("{calls:?}");
    };
    assert_eq!((synced.as_str(), file.as_str(), bytes.as_slice()), ("b", "a", b"AB".as_slice()));
}

#[test]
fn fault_06_power_loss_at_any_moment() {
    let place = Place::new("fault-06");
    let (log, trace) = (place.0.join("log"), place.0.join("calls"));
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-xx", "-s", "1000000", "-o"]).arg(&trace);
    traced.args(["-e", "trace=write,pwrite64,lseek,ftruncate,fsync,fdatasync,unlink"]);
    traced.arg(std::env::current_exe().unwrap());
    let Ok(status) = child::at(traced, "acknowledge", &place.ledger(), &log).status() else {
        return eprintln!("SKIPPED: strace is missing, so this test proves nothing here");
    };
    assert!(status.success(), "the child did not come to its end");

    let calls = Reader::calls(&fs::read_to_string(&trace).unwrap());
    let moments = calls.len() as u64;
    let cuts: HashSet<u64> = (0..40).map(|_| any(moments)).chain([moments - 1]).collect();
    let (mut files, mut promised, mut syncs) = (BTreeMap::<String, File>::new(), HashSet::new(), 0);
    for (call, moment) in calls.into_iter().zip(0..) {
        match call {
            Call::Write { file, at, bytes } => files.entry(file).or_default().waiting.push((at, Some(bytes))),
            Call::Truncate { file, length } => files.entry(file).or_default().waiting.push((length, None)),
            Call::Sync { file } => {
                files.entry(file).or_default().sync();
                syncs += 1;
            }
            Call::Gone { file } => drop(files.remove(&file)),
            Call::Promise(more) => promised.extend(more),
        }
        if cuts.contains(&moment) {
            survives(&files, &promised, &mut || Kept::No);
            survives(&files, &promised, &mut || Kept::Yes);
            survives(&files, &promised, &mut || {
                [Kept::Yes, Kept::No, Kept::Half][usize::try_from(any(3)).unwrap()]
            });
        }
    }
    assert!(promised.len() >= 100 && syncs > 100, "{} promised, {syncs} syncs", promised.len());
}
