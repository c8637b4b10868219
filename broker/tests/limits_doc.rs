//! `docs/reference/limits.md` names for each limit the tests that show it: all of them are there.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

/// Rows without a test are few: nobody waits 300 s for one.
const WITHOUT_TEST_MAX: usize = 1;

fn sources(dir: &Path, out: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_limits_name_exists() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(home.join("../docs/reference/limits.md")).unwrap();
    let mut code = String::new();
    for dir in ["src", "tests", "wire/src", "wire/tests"] {
        sources(&home.join(dir), &mut code);
    }
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Limit"))
        .map(|line| line.trim_matches('|').split('|').collect())
        .collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    let mut without = 0;
    for row in rows {
        let [limit, _, _, tests] = row[..] else { panic!("four columns: {row:?}") };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        without += usize::from(named.is_empty());
        for test in named {
            assert!(code.contains(&format!("fn {test}(")), "{limit}: there is no test {test}");
        }
    }
    assert!(without <= WITHOUT_TEST_MAX, "{without} limits without a test");
}
