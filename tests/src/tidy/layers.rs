//! Which crate may know which, and inside core which module. ARCHITECTURE.md says why.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::harness::cli::repository;
use crate::tidy::sources::{production, rust};

/// What a crate may use of ours, and what it must never use at all, not even through others. A name that ends in `*`
/// stands for all that begin so.
struct Layer {
    package: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

const LAYERS: [Layer; 7] = [
    Layer {
        package: "quintet-core",
        ours: &[],
        never: &["serde*", "axum*", "hyper*", "http*", "reqwest", "rustix", "async-nats", "clap*"],
    },
    Layer { package: "quintet-wire", ours: &[], never: &["tokio*", "axum*", "hyper*", "http*", "mio"] },
    Layer {
        package: "quintet-store",
        ours: &["quintet-core"],
        never: &["serde*", "axum*", "hyper*", "http*", "reqwest"],
    },
    Layer { package: "quintet-gateway", ours: &["quintet-core", "quintet-wire"], never: &["reqwest", "clap*"] },
    Layer { package: "quintet-client", ours: &["quintet-wire"], never: &["axum*", "clap*"] },
    Layer {
        package: "quintet",
        ours: &["quintet-core", "quintet-store", "quintet-wire", "quintet-gateway", "quintet-client"],
        never: &[],
    },
    // It knows the binary only as a file.
    Layer { package: "quintet-tests", ours: &[], never: &[] },
];

/// Normal dependencies by package, direct ones.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked", "--all-features"]).current_dir(repository());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let mut dependencies = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let own: &mut BTreeSet<String> =
            dependencies.entry(names[node["id"].as_str().unwrap()].to_owned()).or_default();
        for dependency in node["deps"].as_array().unwrap() {
            let is_normal = dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
            if is_normal {
                own.insert(names[dependency["pkg"].as_str().unwrap()].to_owned());
            }
        }
    }
    dependencies
}

fn all_below(package: &str, dependencies: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![package.to_owned()]);
    while let Some(next) = open.pop() {
        for dependency in dependencies.get(&next).into_iter().flatten() {
            if seen.insert(dependency.clone()) {
                open.push(dependency.clone());
            }
        }
    }
    seen
}

#[test]
fn crates_know_only_what_is_below_them() {
    let dependencies = dependencies();
    for Layer { package, ours, never } in LAYERS {
        let direct = &dependencies[package];
        let strangers: Vec<_> =
            direct.iter().filter(|name| name.starts_with("quintet") && !ours.contains(&name.as_str())).collect();
        assert!(strangers.is_empty(), "{package} may not know {strangers:?}");
        let below = all_below(package, &dependencies);
        let is_named = |name: &String, pattern: &str| match pattern.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == pattern,
        };
        let refused: Vec<_> = below.iter().filter(|name| never.iter().any(|pattern| is_named(name, pattern))).collect();
        assert!(refused.is_empty(), "{package} may not depend on {refused:?}, not even through others");
    }
    let unlisted: Vec<_> = dependencies
        .keys()
        .filter(|name| {
            name.starts_with("quintet")
                && *name != "quintet-bench"
                && !LAYERS.iter().any(|layer| layer.package == *name)
        })
        .collect();
    assert!(unlisted.is_empty(), "give {unlisted:?} a line in LAYERS");
}

/// Paths that core's code may not use: it has no sockets and no files.
const NOT_IN_CORE: [&str; 6] = ["std::fs", "std::net", "std::process", "tokio::net", "tokio::fs", "tokio::process"];

#[test]
fn core_has_no_sockets_and_no_files() {
    let mut found = Vec::new();
    for (file, text) in rust().into_iter().filter(|(file, _)| file.starts_with("crates/core/src/")) {
        for line in production(&text) {
            if NOT_IN_CORE.iter().any(|path| line.contains(path)) {
                found.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Inside core: who may not import whom, by the first part of the path. A pattern never imports another pattern.
const NOT_ABOVE: [(&str, &[&str]); 6] = [
    ("message.rs", &["engine", "topic", "registry", "fanout", "patterns", "hub"]),
    ("cursor.rs", &["engine", "topic", "registry", "fanout", "patterns", "hub"]),
    ("name.rs", &["engine", "topic", "registry", "fanout", "patterns", "hub"]),
    ("error.rs", &["engine", "topic", "registry", "fanout", "patterns", "hub"]),
    ("engine/", &["topic", "registry", "fanout", "patterns", "hub"]),
    ("fanout/", &["patterns", "hub"]),
];

const PATTERNS: [&str; 5] = ["request_response", "publish_subscribe", "short_polling", "long_polling", "push"];

#[test]
fn the_arrows_in_core_go_down() {
    let mut found = Vec::new();
    for (file, text) in rust() {
        let Some(module) = file.strip_prefix("crates/core/src/") else { continue };
        let imports =
            |path: String| production(&text).iter().any(|line| !line.trim().starts_with("//") && line.contains(&path));
        for (lower, uppers) in NOT_ABOVE.iter().filter(|(lower, _)| module.starts_with(lower)) {
            let wrong = uppers.iter().filter(|upper| imports(format!("crate::{upper}::")));
            found.extend(wrong.map(|upper| format!("{file}: {lower} may not import {upper}")));
        }
        let Some(pattern) = module.strip_prefix("patterns/") else { continue };
        let own =
            |other: &str| pattern.starts_with(&format!("{other}.rs")) || pattern.starts_with(&format!("{other}/"));
        let wrong = PATTERNS.iter().filter(|other| !own(other) && imports(format!("crate::patterns::{other}")));
        found.extend(wrong.map(|other| format!("{file}: a pattern may not import {other}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_five_patterns_have_the_same_five_names_everywhere() {
    let names: Vec<String> = rust().into_iter().map(|(file, _)| file).collect();
    for place in ["crates/core/src/patterns", "crates/client/src", "tests/src/patterns"] {
        for pattern in PATTERNS {
            let (file, folder) = (format!("{place}/{pattern}.rs"), format!("{place}/{pattern}/mod.rs"));
            assert!(names.contains(&file) || names.contains(&folder), "{place} has no {pattern}");
        }
    }
    for pattern in PATTERNS {
        let page = repository().join(format!("docs/patterns/{}.md", pattern.replace('_', "-")));
        let other = repository().join(format!("docs/patterns/{pattern}.md"));
        assert!(page.is_file() || other.is_file(), "docs/patterns has no page for {pattern}");
    }
}
