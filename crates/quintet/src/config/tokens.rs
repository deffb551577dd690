//! The tokens of the configuration: who may do what. How they are recognised is in `quintet_gateway::auth`.

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use serde::Deserialize;

use crate::config::keys::nearest;

/// A `[[tokens]]` entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenEntry {
    /// Who the token's owner is.
    pub(crate) subject: String,
    /// The SHA-256 of the token, in hexadecimal.
    pub(crate) sha256: String,
    /// What it allows; nothing unless told.
    #[serde(default)]
    pub(crate) allow: Vec<Allow>,
}

/// Some operations on some topics and services.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allow {
    /// `subscribe`, `publish`, `manage`, `request`, `respond`.
    pub(crate) operations: Vec<String>,
    /// Filters of topics or services.
    pub(crate) topics: Vec<String>,
}

/// The operation of this name.
pub(crate) fn operation(name: &str) -> Result<Operation, String> {
    let names = Operation::NAMES.map(|(name, _)| name);
    if let Some((_, operation)) = Operation::NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*operation);
    }
    let meant = nearest(name, names).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(format!("`{name}` is not an operation (there are {}){meant}", names.join(", ")))
}

/// Makes of the configuration's entries what the gateway recognises callers by.
pub(crate) fn tokens(entries: &[TokenEntry]) -> Result<Tokens, String> {
    let mut known = Vec::new();
    for entry in entries {
        let of_entry = |error: String| format!("the token of `{}`: {error}", entry.subject);
        let grants = entry.allow.iter().map(grant).collect::<Result<_, _>>().map_err(of_entry)?;
        // Each on its own first, so that the message can say whose it is.
        let access = Access::new(&entry.subject, grants);
        Tokens::new([(&entry.sha256, access.clone())]).map_err(|error| of_entry(error.to_string()))?;
        known.push((&entry.sha256, access));
    }
    Tokens::new(known).map_err(|error| error.to_string())
}

fn grant(allow: &Allow) -> Result<Grant, String> {
    let operations = allow.operations.iter().map(|name| operation(name)).collect::<Result<_, _>>()?;
    let filters = allow.topics.iter().map(|text| Filter::parse(text).map_err(|error| format!("`{text}`: {error}")));
    Ok(Grant { operations, filters: filters.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sha256: &str, operation: &str, topic: &str) -> TokenEntry {
        let allow = vec![Allow { operations: vec![operation.into()], topics: vec![topic.into()] }];
        TokenEntry { subject: "anna".into(), sha256: sha256.into(), allow }
    }

    #[test]
    fn errors_say_whose_token_and_what() {
        let sha = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert!(!tokens(&[entry(sha, "publish", "chat/#")]).unwrap().is_empty());
        let check = |entry, parts: [&str; 2]| {
            let error = tokens(&[entry]).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        check(entry(sha, "subscibe", "#"), ["anna", "did you mean `subscribe`"]);
        check(entry(sha, "publish", "a/#/b"), ["anna", "a/#/b"]);
        check(entry("secret", "publish", "#"), ["anna", "64 hexadecimal digits"]);
    }
}
