//! The project's own files.

use std::path::{Path, PathBuf};

use crate::harness::cli::repository;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 6] = ["target", "node_modules", ".git", "quintet-data", "dist", ".venv"];

/// Every Rust file, with its path below the repository and its text.
pub(crate) fn rust() -> Vec<(String, String)> {
    with_extension("rs")
}

/// Every file with this extension.
pub(crate) fn with_extension(extension: &str) -> Vec<(String, String)> {
    let has_it = |path: &PathBuf| path.extension().is_some_and(|own| own == extension);
    all().into_iter().filter(has_it).map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// Every file.
pub(crate) fn all() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                files.push(path);
            } else if !SKIPPED.iter().any(|skipped| path.ends_with(skipped)) {
                folders.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A path as the tables name it.
pub(crate) fn name(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned()
}

/// A production file's lines up to its unit tests.
pub(crate) fn production(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with("mod tests {"));
    lines[..tests.unwrap_or(lines.len())].to_vec()
}
