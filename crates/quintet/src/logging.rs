//! Logs: tracing's events as text or JSON on standard error. What a command has to say to its user is not a log.

use std::io::IsTerminal;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The flags that every command has.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogFlags {
    /// What is logged to standard error: off, error, warn, info, debug, trace, or a filter such as
    /// `info,quintet_gateway=debug` [environment: QUINTET_LOG] [default: info for serve, warn otherwise]
    #[arg(id = "log_filter", long = "log", global = true, value_name = "FILTER", help_heading = "Logs")]
    pub(crate) filter: Option<String>,
    /// How logs are written [environment: QUINTET_LOG_FORMAT] [default: text]
    #[arg(id = "log_format", long = "log-format", global = true, value_name = "FORMAT", help_heading = "Logs")]
    pub(crate) format: Option<LogFormat>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The name that configurations use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is not a log format; say text or json")),
        }
    }
}

/// Who logs, which decides what a line in text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A hub: when, how grave, from where.
    Hub,
    /// A command: only how grave.
    Command,
}

/// Begins to log. Later calls in one process change nothing.
pub(crate) fn begin(filter: &str, format: LogFormat, who: Who) -> Result<(), String> {
    check_levels(filter)?;
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        format!("`{filter}` is not a log filter ({error}); say e.g. `info` or `info,quintet_core=debug`")
    })?;
    let ansi = std::io::stderr().is_terminal();
    let base = fmt::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // Otherwise a log that cannot be written would be complained of where it cannot be written either, by a panic.
    let base = base.log_internal_errors(false);
    let begun = match (format, who) {
        (LogFormat::Json, _) => base.json().flatten_event(true).try_init(),
        (LogFormat::Text, Who::Hub) => base.try_init(),
        (LogFormat::Text, Who::Command) => base.without_time().with_target(false).try_init(),
    };
    begun.map_err(|error| error.to_string())
}

/// A word that is no level is taken for a module by tracing, and everything else is silent then.
fn check_levels(filter: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let words = filter.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains(['=', '[']));
    let is_known = |word: &str| LEVELS.contains(&&*word.to_ascii_lowercase()) || word.starts_with("quintet");
    match words.into_iter().find(|word| !is_known(word)) {
        None => Ok(()),
        Some(word) => Err(format!("`{word}` is not a log level; say one of {}, or module=level", LEVELS.join(", "))),
    }
}

/// The same for a command, which has no configuration file.
pub(crate) fn begin_command(flags: &LogFlags) -> Result<(), String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let filter = flags.filter.clone().or_else(|| variable("QUINTET_LOG")).unwrap_or_else(|| "warn".to_owned());
    let format = match (flags.format, variable("QUINTET_LOG_FORMAT")) {
        (Some(format), _) => format,
        (None, Some(text)) => text.parse().map_err(|error| format!("QUINTET_LOG_FORMAT: {error}"))?,
        (None, None) => LogFormat::default(),
    };
    begin(&filter, format, Who::Command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_told() {
        for filter in ["info", "WARN", "info,quintet_core=debug", "quintet_store", "off", "h2=trace , debug", ""] {
            assert_eq!(check_levels(filter), Ok(()), "{filter}");
        }
        for filter in ["verbose", "info,debg", "5"] {
            assert!(check_levels(filter).unwrap_err().contains("debug"), "{filter}");
        }
    }
}
