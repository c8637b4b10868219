//! Who may import whom, and what is banned where. Each rule has its reason; docs/ARCHITECTURE.md shows the map.

use crate::{Finding, Source};

/// The modules of the root package and what of it each may use. `error` and `retry` are leaves that all but `core` may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("error", &["core"]),
    ("retry", &["core", "error"]),
    ("config", &["core", "error", "retry"]),
    ("store", &["core", "error", "retry"]),
    ("telemetry", &["core", "error", "retry"]),
    ("cluster", &["core", "error", "retry"]),
    ("lanes", &["core", "error", "retry", "config", "store", "telemetry", "cluster"]),
    ("groups", &["core", "error", "retry", "config", "store", "telemetry", "cluster"]),
    ("drill", &["core", "error", "retry", "config", "store", "telemetry", "cluster"]),
    ("control", &["core", "error", "retry", "config", "store", "telemetry", "cluster", "lanes", "groups", "drill"]),
    (
        "cli",
        &["core", "error", "retry", "config", "store", "telemetry", "cluster", "lanes", "groups", "drill", "control"],
    ),
];

/// A word of code, where alone it may stand, and why.
struct Ban {
    word: &'static str,
    /// The rule holds for paths that begin with one of these.
    within: &'static [&'static str],
    /// Except for paths that begin with one of these.
    except: &'static [&'static str],
    reason: &'static str,
}

const EVERYWHERE: &[&str] = &[""];
const DAEMON: &[&str] = &["src/"];
const CORE: &[&str] = &["src/core/"];
const PURE: &str = "core is pure: no runtime, clock, disk or network; time and chance are arguments";
const PRINTERS: &[&str] = &[
    "src/cli/out.rs",
    "tests/",
    "build.rs",
    "broker/tests/",
    "broker/wire/tests/",
    "benches/",
    "broker/benches/",
    "broker/wire/benches/",
    "chaos/src/main.rs",
    "chaos/src/out.rs",
    "tests.rs",
];
const PRINT: &str = "cli/out.rs is the only printer: stdout may have to be exactly one JSON document";

const BANS: &[Ban] = &[
    Ban {
        word: "sled::",
        within: EVERYWHERE,
        except: &["src/store/cache.rs"],
        reason: "a beta store, held in one place behind a trait",
    },
    Ban { word: "backoff::", within: EVERYWHERE, except: &["src/retry.rs"], reason: "unmaintained, held in one place" },
    Ban {
        word: "rdkafka::",
        within: EVERYWHERE,
        except: &["src/cluster/", "tests/", "chaos/", "src/drill/", "benches/pipeline/peer.rs"],
        reason: "only cluster/ talks to clusters",
    },
    Ban {
        word: "causeway_wire::",
        within: DAEMON,
        except: &["src/cluster/", "src/drill/"],
        reason: "only cluster/ talks to clusters; drill judges from what it reads itself, never through the code under test",
    },
    Ban {
        word: "causeway_broker::",
        within: DAEMON,
        except: &["src/cli/"],
        reason: "the daemon must work with any broker",
    },
    Ban { word: "causeway::", within: &["broker/"], except: &[], reason: "the broker does not know the daemon" },
    Ban { word: "causeway_broker::", within: &["broker/wire/"], except: &[], reason: "wire imports none of ours" },
    Ban { word: "println!", within: EVERYWHERE, except: PRINTERS, reason: PRINT },
    Ban { word: "print!", within: EVERYWHERE, except: PRINTERS, reason: PRINT },
    Ban { word: "eprintln!", within: EVERYWHERE, except: PRINTERS, reason: PRINT },
    Ban { word: "eprint!", within: EVERYWHERE, except: PRINTERS, reason: PRINT },
    Ban { word: "todo!", within: EVERYWHERE, except: &[], reason: "no placeholders" },
    Ban { word: "unimplemented!", within: EVERYWHERE, except: &[], reason: "no placeholders" },
    Ban { word: "dbg!", within: EVERYWHERE, except: &[], reason: "a leftover" },
    Ban { word: "#[ignore", within: EVERYWHERE, except: &[], reason: "a test that never runs proves nothing" },
    Ban { word: "tokio::", within: CORE, except: &[], reason: PURE },
    Ban { word: "std::fs", within: CORE, except: &[], reason: PURE },
    Ban { word: "std::net", within: CORE, except: &[], reason: PURE },
    Ban { word: "std::thread", within: CORE, except: &[], reason: PURE },
    Ban { word: "Instant::now", within: CORE, except: &[], reason: PURE },
    Ban { word: "SystemTime::now", within: CORE, except: &[], reason: PURE },
    Ban { word: "fastrand::u", within: CORE, except: &[], reason: PURE },
];

/// Code words that a rule forbids at this path.
pub fn bans(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let concerns = |ban: &&Ban| {
        let starts = |prefix: &&str| source.path.starts_with(*prefix);
        let spared = |suffix: &&str| {
            starts(suffix) || ((suffix.ends_with(".rs") && !suffix.contains('/')) && source.path.ends_with(*suffix))
        };
        ban.within.iter().any(starts) && !ban.except.iter().any(spared)
    };
    for ban in BANS.iter().filter(concerns) {
        for (at, _) in source.code.match_indices(ban.word) {
            let before = source.code[..at].bytes().next_back();
            if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                continue;
            }
            let message = format!("`{}` may not stand here: {}", ban.word, ban.reason);
            found.push(Finding { path: source.path.clone(), line: line(&source.code, at), rule: "ban", message });
        }
    }
    found
}

/// Modules of the root package that this file uses and may not.
pub fn imports(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(module) = module_of(&source.path) else { return found };
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
        let message = format!("`{module}` is not on the map: add it to MAY_USE and to docs/ARCHITECTURE.md");
        return vec![Finding { path: source.path.clone(), line: 1, rule: "imports", message }];
    };
    for (at, used) in used_modules(&source.code) {
        if used != module && is_module(&used) && !allowed.contains(&used.as_str()) {
            let message = format!("`{module}` may not use `{used}`");
            found.push(Finding { path: source.path.clone(), line: line(&source.code, at), rule: "imports", message });
        }
    }
    found
}

fn is_module(name: &str) -> bool {
    MAY_USE.iter().any(|(module, _)| *module == name)
}

/// `src/lanes/runner.rs` -> `lanes`; the crate's roots may name every module.
fn module_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("src/")?;
    if rest == "lib.rs" || rest == "main.rs" {
        return None;
    }
    let first = rest.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first).to_owned())
}

/// The first step of every path that begins with `crate::`, also inside `use crate::{a, b::c}`.
fn used_modules(code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].bytes().next_back();
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(first_steps(group).into_iter().map(|name| (at, name))),
            None => used.push((at, word(rest))),
        }
    }
    used
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// `a, b::{c, d}, e}` -> a, b, e.
fn first_steps(group: &str) -> Vec<String> {
    let (mut steps, mut depth, mut fresh) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if depth == 0 && fresh && !c.is_whitespace() => {
                steps.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    steps
}

fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

#[test]
fn a_wrong_import_is_found_in_every_spelling() {
    for text in [
        "use crate::store::cache;",
        "use crate::{\n  core::ids,\n  store::{a, b},\n};",
        "fn f() { crate::lanes::run() }",
    ] {
        let found = imports(&crate::source("src/config/x.rs", text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    assert!(imports(&crate::source("src/config/x.rs", "use crate::core::ids; // crate::cli")).is_empty());
    assert!(imports(&crate::source("src/core/x.rs", "use crate::error::E;")).len() == 1);
    assert!(imports(&crate::source("src/lib.rs", "pub use crate::cli::run;")).is_empty());
}

#[test]
fn a_ban_holds_where_it_should_and_only_there() {
    let count = |path: &str, text: &str| bans(&crate::source(path, text)).len();
    assert_eq!(count("src/store/cache.rs", "sled::open()"), 0);
    assert_eq!(count("src/store/codec.rs", "sled::open()"), 1);
    assert_eq!(count("src/core/lane.rs", "let now = Instant::now();"), 1);
    assert_eq!(count("src/lanes/a.rs", "let now = Instant::now();"), 0);
    assert_eq!(count("src/cli/out.rs", "println!()"), 0);
    assert_eq!(count("src/cli/run.rs", "println!(); eprintln!()"), 2);
    assert_eq!(count("src/cli/run.rs", "// todo!()\nlet s = \"dbg!\";"), 0);
}
