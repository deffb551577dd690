//! Puts the settings together: the defaults, then the file, then the environment, then the flags.

use std::fs;
use std::path::Path;

use crate::config::keys::{KEYS, Key, find, nearest};
use crate::config::settings::Settings;

/// Variables that are no settings of the hub, but the commands'.
const OTHER_VARIABLES: [&str; 6] =
    ["QUINTET_CONFIG", "QUINTET_TOKENS", "QUINTET_URL", "QUINTET_TOKEN", "QUINTET_CA_CERT", "QUINTET_CONNECT_TIMEOUT"];

/// Where settings come from besides the defaults.
#[derive(Debug, Default)]
pub(crate) struct Sources<'a> {
    /// The file, if there is one.
    pub(crate) file: Option<&'a Path>,
    /// The environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Flags: the flag as it was typed, for messages; the setting; its value.
    pub(crate) flags: Vec<(String, String, String)>,
}

/// What they come to.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) settings: Settings,
    /// What the operator should know, although nothing is wrong for certain.
    pub(crate) warnings: Vec<String>,
}

/// Reads all of it. Errors say where the wrong value stands and what would be right.
pub(crate) fn load(sources: &Sources<'_>) -> Result<Loaded, String> {
    let mut settings = Settings::default();
    if let Some(path) = sources.file {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("the configuration {} cannot be read: {error}", path.display()))?;
        apply_file(&mut settings, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let warnings = apply_environment(&mut settings, &sources.environment)?;
    let mut layer = Layer::default();
    for (flag, name, value) in &sources.flags {
        let key = find(name).ok_or_else(|| format!("{flag}: {}", unknown(name)))?;
        layer.set_text(&mut settings, key, value).map_err(|error| format!("{flag}: {error}"))?;
    }
    layer.finish(&mut settings);
    Ok(Loaded { settings, warnings })
}

/// One place settings come from.
#[derive(Default)]
struct Layer {
    data_dir: bool,
    memory: bool,
}

impl Layer {
    fn set_text(&mut self, settings: &mut Settings, key: &'static Key, text: &str) -> Result<(), String> {
        self.note(key);
        (key.slot)(settings).set_text(text)
    }

    fn note(&mut self, key: &Key) {
        self.data_dir |= key.name == "data_dir";
        self.memory |= key.name == "memory";
    }

    /// Who names a folder for the data wants them there, whatever a place of less weight says about memory.
    fn finish(self, settings: &mut Settings) {
        if self.data_dir && !self.memory {
            settings.memory = false;
        }
    }
}

fn apply_file(settings: &mut Settings, text: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())?;
    let mut layer = Layer::default();
    apply_table(settings, &mut layer, "", &table)?;
    layer.finish(settings);
    Ok(())
}

fn apply_table(settings: &mut Settings, layer: &mut Layer, prefix: &str, table: &toml::Table) -> Result<(), String> {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        let section = format!("{name}.");
        if name == "tokens" {
            settings.tokens = value.clone().try_into().map_err(|error| format!("tokens: {}", one_line(&error)))?;
        } else if let Some(key) = find(&name) {
            layer.note(key);
            (key.slot)(settings).set_toml(value).map_err(|error| format!("{name}: {error}"))?;
        } else if let Some(table) = value.as_table()
            && KEYS.iter().any(|key| key.name.starts_with(&section))
        {
            apply_table(settings, layer, &section, table)?;
        } else {
            return Err(unknown(&name));
        }
    }
    Ok(())
}

fn apply_environment(settings: &mut Settings, environment: &[(String, String)]) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let mut layer = Layer::default();
    for (variable, value) in environment.iter().filter(|(variable, _)| variable.starts_with("QUINTET_")) {
        let of_variable = |error: String| format!("environment {variable}: {error}");
        if variable == "QUINTET_TOKENS" {
            let table: toml::Table =
                format!("tokens = {value}").parse().map_err(|error| of_variable(one_line(&error)))?;
            apply_table(settings, &mut layer, "", &table).map_err(of_variable)?;
        } else if let Some(key) = KEYS.iter().find(|key| key.variable() == *variable) {
            layer.set_text(settings, key, value).map_err(of_variable)?;
        } else if !OTHER_VARIABLES.contains(&variable.as_str()) {
            warnings.push(unknown_variable(variable));
        }
    }
    layer.finish(settings);
    Ok(warnings)
}

/// Not refused: orchestrators put variables of their own beside ours (Kubernetes names them after services).
fn unknown_variable(variable: &str) -> String {
    let names: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let meant = nearest(variable, names.iter().map(String::as_str));
    let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    format!("the environment has {variable}, which is no setting{meant}")
}

fn unknown(name: &str) -> String {
    let names = || KEYS.iter().map(|key| key.name).chain(["tokens"]);
    // It may be the right name in the wrong table.
    let elsewhere = names().find(|known| known.rsplit('.').next() == name.rsplit('.').next());
    let meant = elsewhere.or_else(|| nearest(name, names()));
    match meant {
        Some(meant) => format!("there is no setting `{name}`; did you mean `{meant}`?"),
        None => format!("there is no setting `{name}`; docs/operating/configuration.md lists them all"),
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Loads a file's text, variables and flags.
    fn check(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, String> {
        let path =
            std::env::temp_dir().join(format!("quintet-{}-{:?}.toml", std::process::id(), std::thread::current().id()));
        fs::write(&path, file).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let flags = flags.iter().map(owned).map(|(name, value)| (format!("--set {name}"), name, value));
        let environment = environment.iter().map(owned).collect();
        let loaded = load(&Sources { file: Some(&path), environment, flags: flags.collect() });
        fs::remove_file(&path).unwrap();
        loaded
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file_beats_the_default() {
        let file = "shutdown_timeout = '1s'\n[limits]\nmessage_bytes = '1 MiB'\ntopics = 7\nread_bytes = 5\n";
        let environment = [("QUINTET_LIMITS_TOPICS", "8"), ("QUINTET_LIMITS_READ_BYTES", "6"), ("HOME", "/")];
        let settings = check(file, &environment, &[("limits.read_bytes", "9 KiB")]).unwrap().settings;
        assert_eq!(settings.limits.message_bytes, 1 << 20);
        assert_eq!(settings.limits.topics, 8);
        assert_eq!(settings.limits.read_bytes, 9 << 10);
        assert_eq!(settings.limits.batch_messages, 10_000);
        assert_eq!(settings.shutdown_timeout, Duration::from_secs(1));
        assert_eq!(settings.gateway().unwrap().websocket.goodbye, Duration::from_millis(500));
        assert_eq!(settings.listen, ["127.0.0.1:7070"]);
    }

    #[test]
    fn lists() {
        let settings = check("listen = ['a:1', 'b:2']\nallowed_hosts = 'h'", &[], &[]).unwrap().settings;
        assert_eq!((settings.listen, settings.allowed_hosts), (vec!["a:1".into(), "b:2".into()], vec!["h".to_owned()]));
        let settings = check("", &[("QUINTET_LISTEN", "a:1, b:2")], &[]).unwrap().settings;
        assert_eq!(settings.listen, ["a:1", "b:2"]);
    }

    #[test]
    fn what_is_unknown_is_told_with_what_was_meant() {
        let refused = |file: &str, parts: &[&str]| {
            let error = check(file, &[], &[]).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        refused("[limits]\nmesage_bytes = 1", &["limits.mesage_bytes", "did you mean `limits.message_bytes`"]);
        refused("message_bytes = 1", &["did you mean `limits.message_bytes`"]);
        refused("listen = 7", &["listen", "list of texts"]);
        refused("[limits]\nwait_max = 30", &["limits.wait_max", "\"30s\""]);
        refused("[limits]\ntopics = 0", &["limits.topics", "more than nothing"]);
        refused("[limits]\ntopics = -1", &["limits.topics", "not a number"]);
        refused("[other]\nx = 1", &["no setting `other`"]);
        refused("a = ", &["TOML", "line 1"]);
        refused("[[tokens]]\nsubject = 'a'", &["tokens", "sha256"]);
        refused("[[tokens]]\nsubject = 'a'\nsha256 = ''\nalow = []", &["tokens", "alow"]);
        assert!(check("", &[], &[("limits.x", "1")]).unwrap_err().contains("--set limits.x"));
        assert!(check("", &[("QUINTET_MEMORY", "maybe")], &[]).unwrap_err().contains("QUINTET_MEMORY"));
    }

    #[test]
    fn foreign_variables_are_only_told() {
        let warnings = check("", &[("QUINTET_LISTN", "x"), ("QUINTET_URL", "x")], &[]).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("did you mean QUINTET_LISTEN"), "{warnings:?}");
    }

    #[test]
    fn who_names_a_folder_wants_the_disk() {
        let memory = |file: &str, flags: &[(&str, &str)]| check(file, &[], flags).unwrap().settings.memory;
        assert!(memory("memory = true\ndata_dir = 'x'", &[]));
        assert!(!memory("memory = true", &[("data_dir", "x")]));
        assert!(memory("data_dir = 'x'", &[("memory", "true")]));
    }

    #[test]
    fn tokens_from_file_and_environment() {
        let file = "[[tokens]]\nsubject = 'a'\nsha256 = 'x'\nallow = [{ operations = ['publish'], topics = ['#'] }]";
        let settings = check(file, &[], &[]).unwrap().settings;
        assert_eq!(settings.tokens[0].allow[0].operations, ["publish"]);
        let variable = ("QUINTET_TOKENS", "[{ subject = 'b', sha256 = 'y' }]");
        let settings = check(file, &[variable], &[]).unwrap().settings;
        assert_eq!((settings.tokens.len(), settings.tokens[0].subject.as_str()), (1, "b"));
    }
}
