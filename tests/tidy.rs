//! Reads the tree as text and holds what the compiler does not: lengths, import directions, bans. See docs/ARCHITECTURE.md for the map behind the rules.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/rules.rs"]
mod rules;

use std::fs;
use std::path::{Path, PathBuf};

use lexer::blank;

/// A file is looked at hard from here on (lines).
const FILE_LINES_MAX: usize = 500;
/// A function should fit on a screen (lines, signature and braces included).
const FUNCTION_LINES_MAX: usize = 70;

/// What is let through, each with its reason: (path, rule, reason). It only shrinks: an entry that is no longer needed fails the test, and
/// so does one more than [`EXCEPTIONS_MAX`].
const EXCEPTIONS: &[(&str, &str, &str)] = &[];
/// Lower it with every exception that goes.
const EXCEPTIONS_MAX: usize = 0;

struct Source {
    /// Path from the root of the repository, with slashes.
    path: String,
    /// The text with comments, strings and characters blanked: rules look at code only.
    code: String,
}

#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    message: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "broker", "chaos", "tests", "benches"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        Source { path, code: blank(&fs::read_to_string(file).unwrap()) }
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Generated code is judged by its generator.
fn is_generated(path: &str) -> bool {
    path.split('/').any(|part| part == "generated" || part == "generated.rs")
}

fn lengths(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    if is_generated(&source.path) {
        return found;
    }
    let lines = source.code.lines().count();
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines, more than {FILE_LINES_MAX}");
        found.push(Finding { path: source.path.clone(), line: 1, rule: "file length", message });
    }
    for function in lexer::functions(&source.code) {
        if function.lines > FUNCTION_LINES_MAX {
            let message = format!("`{}` has {} lines, more than {FUNCTION_LINES_MAX}", function.name, function.lines);
            found.push(Finding { path: source.path.clone(), line: function.line, rule: "function length", message });
        }
    }
    found
}

fn findings() -> Vec<Finding> {
    let sources = sources();
    assert!(sources.len() > 20, "the walk found only {} files: it looks in the wrong place", sources.len());
    sources.iter().flat_map(|source| [lengths(source), rules::imports(source), rules::bans(source)]).flatten().collect()
}

#[test]
fn the_tree_is_tidy() {
    let found = findings();
    let excepted =
        |finding: &Finding| EXCEPTIONS.iter().any(|(path, rule, _)| finding.path == *path && finding.rule == *rule);
    let open: Vec<String> = found
        .iter()
        .filter(|finding| !excepted(finding))
        .map(|finding| format!("{}:{}: {}: {}", finding.path, finding.line, finding.rule, finding.message))
        .collect();
    assert!(open.is_empty(), "{} findings:\n{}", open.len(), open.join("\n"));
}

#[test]
fn the_list_of_exceptions_only_shrinks() {
    assert_eq!(
        EXCEPTIONS.len(),
        EXCEPTIONS_MAX,
        "split the file or move the code instead of adding one; lower the bound with each that goes"
    );
    let found = findings();
    for (path, rule, reason) in EXCEPTIONS {
        assert!(!reason.is_empty(), "{path}: an exception has a reason");
        let needed = found.iter().any(|finding| finding.path == *path && finding.rule == *rule);
        assert!(needed, "{path}: `{rule}` is no longer broken: remove the exception and lower EXCEPTIONS_MAX");
    }
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), code: blank(text) }
}

#[test]
fn a_long_file_and_a_long_function_are_found() {
    let long = source("src/a.rs", &"// x\n".repeat(FILE_LINES_MAX + 1));
    assert_eq!(lengths(&long)[0].rule, "file length");
    let body = "    let s = \"}\"; // }\n".repeat(FUNCTION_LINES_MAX);
    let function = source(
        "src/a.rs",
        &format!("impl X {{\n  pub async fn long<T>() -> [u8; 2] where T: Y {{\n{body}}}\nfn short() {{}}\n}}\n"),
    );
    let found = lengths(&function);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].line == 2 && found[0].message.contains("`long` has 72 lines"), "{found:?}");
}
