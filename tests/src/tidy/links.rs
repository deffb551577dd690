//! Links in the documents: every relative one leads to a file, and every `#` to a heading.

use crate::harness::cli::repository;
use crate::tidy::sources::with_extension;

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for (file, text) in with_extension("md") {
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, heading) =
                link.split_once('#').map_or((link.as_str(), None), |(path, heading)| (path, Some(heading)));
            let from = repository().join(&file);
            let target = if path.is_empty() { from.clone() } else { from.parent().unwrap().join(path) };
            if !target.exists() {
                broken.push(format!("{file}: {link} is not there"));
                continue;
            }
            let is_known = |heading: &str| {
                let text = std::fs::read_to_string(&target).unwrap_or_default();
                text.lines().any(|line| line.starts_with('#') && anchor(line) == heading)
            };
            if heading.is_some_and(|heading| (path.ends_with(".md") || path.is_empty()) && !is_known(heading)) {
                broken.push(format!("{file}: {link} names no heading"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The targets of `[text](target)`, outside of code.
fn links(markdown: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let prose: String = line.split('`').step_by(2).collect();
        if in_code {
            continue;
        }
        for part in prose.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                links.push(target.split(' ').next().unwrap_or_default().trim_matches(['<', '>']).to_owned());
            }
        }
    }
    links
}

/// A heading's anchor, as code forges make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_are_found() {
    let text = "see [a](x.md#y) and `[b](no)`\n```\n[c](no)\n```\n[d](<z.md> \"title\")";
    assert_eq!(links(text), ["x.md#y", "z.md"]);
    assert_eq!(anchor("## Try it, now"), "try-it-now");
}
