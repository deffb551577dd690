//! `quintet token`: draws a token, which the hub knows only by its SHA-256.

use clap::Args;
use quintet_core::access::Operation;
use quintet_core::name::Filter;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cli::exit::{Failure, note};
use crate::cli::output::Output;
use crate::config::tokens::operation;

/// `quintet token`
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Who the token is for
    #[arg(default_value = "me")]
    subject: String,
    /// What it allows: subscribe, publish, manage, request, respond [default: all of them]
    #[arg(long, value_name = "OPERATION", value_delimiter = ',')]
    allow: Vec<String>,
    /// On which topics and services, as filters
    #[arg(long, value_name = "FILTER", value_delimiter = ',', default_value = "#")]
    topics: Vec<String>,
    /// Print a JSON object with token, subject and sha256 instead
    #[arg(long)]
    json: bool,
}

/// Draws one and prints it with its stanza.
pub(crate) fn run(args: &TokenArgs) -> Result<(), Failure> {
    let operations: Vec<&str> = if args.allow.is_empty() {
        Operation::NAMES.iter().map(|(name, _)| *name).collect()
    } else {
        args.allow.iter().map(String::as_str).collect()
    };
    for name in &operations {
        operation(name).map_err(Failure::usage)?;
    }
    for filter in &args.topics {
        Filter::parse(filter).map_err(|error| Failure::usage(format!("`{filter}`: {error}")))?;
    }
    if args.subject.is_empty() || args.subject.chars().any(char::is_control) {
        return Err(Failure::usage("say who the token is for, in visible letters"));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("the operating system has no randomness: {error}")))?;
    // The beginning lets people, and programs that look for leaked secrets, tell what it is.
    let token = format!("quintet_{}", hex(&bytes));
    let sha256 = hex(&Sha256::digest(&token));
    let mut out = Output::new();
    if args.json {
        let object = json!({"token": token, "subject": args.subject, "sha256": sha256});
        out.line(object.to_string().as_bytes())?;
        return out.flush();
    }
    note(&format!(
        "the token of {}, shown this once; its owner sets it:\nexport QUINTET_TOKEN={token}\n\
         and this belongs into the hub's configuration (quintet serve --config FILE):",
        args.subject
    ));
    out.line(stanza(&sha256, &args.subject, &operations, &args.topics).as_bytes())?;
    out.flush()
}

/// Strings and lists of strings are written alike in JSON and TOML.
fn stanza(sha256: &str, subject: &str, operations: &[&str], topics: &[String]) -> String {
    let (subject, operations, topics) = (json!(subject), json!(operations), json!(topics));
    format!(
        "[[tokens]]\nsubject = {subject}\nsha256 = \"{sha256}\"\nallow = [{{ operations = {operations}, topics = {topics} }}]"
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tokens::{TokenEntry, tokens};

    #[test]
    fn the_stanza_is_a_configuration() {
        let text = stanza(
            &hex(&Sha256::digest("secret")),
            "an \"odd\" name",
            &["publish", "respond"],
            &["chat/#".into(), "é".into()],
        );
        let mut table: toml::Table = text.parse().unwrap();
        let entries: Vec<TokenEntry> = table.remove("tokens").unwrap().try_into().unwrap();
        assert_eq!(entries[0].subject, "an \"odd\" name");
        assert_eq!(entries[0].sha256, "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
        assert!(!tokens(&entries).unwrap().is_empty());
    }
}
