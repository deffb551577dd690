//! Every file for itself: its length and its functions', how it opens, and what it must not hold.

use crate::tidy::sources::{all, name, production, rust};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that are longer than they should be. None may be added; a file that has become short is struck off.
const LONG_FILES: [&str; 0] = [];

/// Functions that are longer than they should be, as `file: name`. None may be added.
const LONG_FUNCTIONS: [&str; 0] = [];

fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs")
}

#[test]
fn every_module_says_what_it_is() {
    let mute: Vec<_> = rust().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(file, _)| file).collect();
    assert!(mute.is_empty(), "a file opens with //! and what it is: {mute:?}");
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for (file, text) in rust().into_iter().filter(|(file, _)| !is_test(file)) {
        let n_lines = production(&text).len();
        if n_lines > FILE_LINES_MAX {
            long.push((file, n_lines));
        }
    }
    let new: Vec<_> = long.iter().filter(|(file, _)| !LONG_FILES.contains(&file.as_str())).collect();
    assert!(new.is_empty(), "at most {FILE_LINES_MAX} lines before the tests; divide {new:?}");
    let gone: Vec<_> = LONG_FILES.iter().filter(|listed| !long.iter().any(|(file, _)| file == *listed)).collect();
    assert!(gone.is_empty(), "no longer long, so strike them off LONG_FILES: {gone:?}");
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for (file, text) in rust().into_iter().filter(|(file, _)| !is_test(file)) {
        for (function, n_lines) in functions(&production(&text)) {
            if n_lines > FUNCTION_LINES_MAX {
                long.push((format!("{file}: {function}"), n_lines));
            }
        }
    }
    let new: Vec<_> = long.iter().filter(|(name, _)| !LONG_FUNCTIONS.contains(&name.as_str())).collect();
    assert!(new.is_empty(), "at most {FUNCTION_LINES_MAX} lines; divide {new:?}");
    let gone: Vec<_> = LONG_FUNCTIONS.iter().filter(|listed| !long.iter().any(|(name, _)| name == *listed)).collect();
    assert!(gone.is_empty(), "no longer long, so strike them off LONG_FUNCTIONS: {gone:?}");
}

/// The functions and their lengths, by indentation: the code is formatted, so a function ends at the first `}` under
/// its `fn`.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(name) = function_name(trimmed) else { continue };
        let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
        let length = lines[start..].iter().position(|line| *line == end);
        let has_body =
            lines[start..].iter().take_while(|line| !line.trim_end().ends_with(';')).any(|line| line.ends_with('{'));
        if let (Some(length), true) = (length, has_body) {
            functions.push((name.to_owned(), length + 1));
        }
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let words = ["pub ", "pub(crate) ", "pub(super) ", "async ", "const ", "extern "];
    let mut rest = line;
    while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter;
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[test]
fn lengths_are_counted() {
    let text = "fn a() {\n    b\n}\n\nimpl X {\n    pub async fn c<T>(\n        t: T,\n    ) {\n        t\n    }\n    fn d();\n}\n";
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(functions(&lines), [("a".to_owned(), 3), ("c".to_owned(), 5)]);
}

#[test]
fn nothing_is_left_lying_about() {
    let mut found = Vec::new();
    for (file, text) in rust() {
        // This file names what it looks for.
        if file.starts_with("tests/src/tidy/") {
            continue;
        }
        let n_production = production(&text).len();
        for (n, line) in text.lines().enumerate() {
            let comment = line.trim_start().strip_prefix("//").filter(|comment| !comment.starts_with(['/', '!']));
            let is_wrong = ["TODO", "FIXME", "XXX", "dbg!("].iter().any(|word| line.contains(word))
                || (line.trim() == "use super::*;" && n < n_production && !is_test(&file))
                || comment.is_some_and(is_code);
            if is_wrong {
                found.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "finish it or file an issue; code that is not used is in the history:\n{}",
        found.join("\n")
    );
}

/// Whether a comment is a line of code that was put out of use.
fn is_code(comment: &str) -> bool {
    let comment = comment.trim();
    let begins = ["let ", "use ", "fn ", "pub ", "if let ", "return ", "assert", "}", "#["];
    let is_statement = begins.iter().any(|begin| comment.starts_with(begin)) && comment.ends_with([';', '{', '}', ']']);
    is_statement || (comment.ends_with(");") && !comment.contains(' '))
}

#[test]
fn a_folder_is_introduced_by_its_mod_file() {
    let names: Vec<String> = rust().into_iter().map(|(file, _)| file).collect();
    let beside: Vec<_> = names
        .iter()
        .filter(|file| {
            names.iter().any(|other| other.strip_suffix("/mod.rs").is_some_and(|dir| format!("{dir}.rs") == **file))
        })
        .collect();
    assert!(beside.is_empty(), "a folder's face is its mod.rs: {beside:?}");
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Put together here, so that this file does not hold them.
    let roots = ["/ro", "/wo", "/ho"].into_iter().zip(["ot/", "rk/", "me/"]).map(|(a, b)| format!("{a}{b}"));
    let roots: Vec<String> = roots.collect();
    let mut found = Vec::new();
    for path in all() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (n, line) in text.lines().enumerate() {
            let stands_alone = |root: &String| {
                line.match_indices(root.as_str())
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "./_-$}<>*~{".contains(c)))
            };
            if roots.iter().any(stands_alone) {
                found.push(format!("{}:{}: {}", name(&path), n + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "absolute paths of a build machine:\n{}", found.join("\n"));
}
