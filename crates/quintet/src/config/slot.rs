//! One setting's place: reads a value into it and writes it out again, by the kind of thing it holds.

use std::path::PathBuf;
use std::time::Duration;

use quintet_gateway::config::PresenceMode;
use quintet_wire::duration;

use crate::config::units::{parse_size, show_size};
use crate::logging::LogFormat;

/// Where a setting is kept.
pub(crate) enum Slot<'a> {
    /// A number of bytes.
    Size(&'a mut dyn Number),
    /// A number of things.
    Count(&'a mut dyn Number),
    /// A length of time.
    Time(&'a mut Duration),
    /// Yes or no.
    Flag(&'a mut bool),
    /// Any text.
    Text(&'a mut String),
    /// A file's or folder's name.
    Path(&'a mut PathBuf),
    /// A file's name, or none.
    File(&'a mut Option<PathBuf>),
    /// Several texts.
    List(&'a mut Vec<String>),
    /// How logs look.
    LogFormat(&'a mut LogFormat),
    /// Who is shown in presence.
    Presence(&'a mut PresenceMode),
}

/// An unsigned integer of any width.
pub(crate) trait Number {
    fn get(&self) -> u64;
    fn set(&mut self, number: u64) -> Result<(), String>;
}

macro_rules! number {
    ($($width:ty)*) => {$(
        impl Number for $width {
            fn get(&self) -> u64 {
                u64::try_from(*self).unwrap_or(u64::MAX)
            }

            fn set(&mut self, number: u64) -> Result<(), String> {
                *self = <$width>::try_from(number).map_err(|_| format!("{number} is too large; the most is {}", <$width>::MAX))?;
                Ok(())
            }
        }
    )*};
}

number!(usize u64 u32);

impl Slot<'_> {
    /// What kind of value it takes, for the documentation.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Size(_) => "size",
            Self::Count(_) => "number",
            Self::Time(_) => "duration",
            Self::Flag(_) => "true or false",
            Self::Text(_) => "text",
            Self::Path(_) | Self::File(_) => "path",
            Self::List(_) => "list of texts",
            Self::LogFormat(_) => "text or json",
            Self::Presence(_) => "off, explicit or subjects",
        }
    }

    /// Reads a text, as the environment and flags have it; lists are separated by commas.
    pub(crate) fn set_text(self, text: &str) -> Result<(), String> {
        match self {
            Self::Size(number) => set_positive(number, parse_size(text)?),
            Self::Count(number) => {
                let digits = text.trim().replace('_', "");
                let count = digits.parse().map_err(|_| format!("`{text}` is not a number"))?;
                set_positive(number, count)
            }
            Self::Time(time) => {
                let duration = duration::parse(text).map_err(|error| error.to_string())?;
                if duration.is_zero() {
                    return Err("it has to be more than nothing".to_owned());
                }
                *time = duration;
                Ok(())
            }
            Self::Flag(flag) => {
                *flag = match text.trim() {
                    "true" | "1" | "yes" => true,
                    "false" | "0" | "no" => false,
                    _ => return Err(format!("`{text}` is neither true nor false")),
                };
                Ok(())
            }
            Self::Text(kept) => {
                text.clone_into(kept);
                Ok(())
            }
            Self::Path(path) if text.is_empty() => Err(format!("a path is not empty (now {})", path.display())),
            Self::Path(path) => {
                *path = PathBuf::from(text);
                Ok(())
            }
            Self::File(file) => {
                *file = (!text.is_empty()).then(|| PathBuf::from(text));
                Ok(())
            }
            Self::List(list) => {
                *list = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
                Ok(())
            }
            Self::LogFormat(format) => {
                *format = text.parse()?;
                Ok(())
            }
            Self::Presence(mode) => {
                let named = PresenceMode::NAMES.iter().find(|(name, _)| *name == text.trim());
                let (_, named) = named.ok_or_else(|| format!("`{text}` is none of off, explicit and subjects"))?;
                *mode = *named;
                Ok(())
            }
        }
    }

    /// Reads a value of a TOML file.
    pub(crate) fn set_toml(self, value: &toml::Value) -> Result<(), String> {
        use toml::Value;
        match (self, value) {
            (slot @ (Self::Size(_) | Self::Count(_)), Value::Integer(number)) => slot.set_text(&number.to_string()),
            (Self::Flag(flag), Value::Boolean(value)) => {
                *flag = *value;
                Ok(())
            }
            (Self::List(list), Value::Array(values)) => {
                let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
                *list = texts.collect::<Option<_>>().ok_or("it is a list of texts, e.g. [\"a\", \"b\"]")?;
                Ok(())
            }
            (Self::List(list), Value::String(text)) => {
                *list = vec![text.clone()];
                Ok(())
            }
            (Self::Flag(_), _) => Err("it is true or false".to_owned()),
            (Self::Time(_), Value::Integer(number)) => Err(format!("it needs a unit; write e.g. \"{number}s\"")),
            (slot, Value::String(text)) => slot.set_text(text),
            (slot, other) => Err(format!("a {} does not fit; it is {}", other.type_str(), slot.example())),
        }
    }

    /// Writes the value as the file has it.
    #[cfg(test)]
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Size(number) => show_size(number.get()),
            Self::Count(number) => number.get().to_string(),
            Self::Time(time) => duration::format(**time),
            Self::Flag(flag) => flag.to_string(),
            Self::Text(text) => text.to_string(),
            Self::Path(path) => path.display().to_string(),
            Self::File(file) => file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            Self::List(list) => list.join(","),
            Self::LogFormat(format) => format.name().to_owned(),
            Self::Presence(mode) => mode.name().to_owned(),
        }
    }

    fn example(&self) -> String {
        match self {
            Self::Size(number) => format!("a size, e.g. \"{}\"", show_size(number.get())),
            Self::Count(number) => format!("a number, e.g. {}", number.get()),
            Self::Time(time) => format!("a duration, e.g. \"{}\"", duration::format(**time)),
            Self::Flag(_) => "true or false".to_owned(),
            Self::Text(_) | Self::Path(_) | Self::File(_) => "a text".to_owned(),
            Self::List(_) => "a list of texts".to_owned(),
            Self::LogFormat(format) => format!("\"text\" or \"json\" (now {})", format.name()),
            Self::Presence(mode) => format!("\"off\", \"explicit\" or \"subjects\" (now {})", mode.name()),
        }
    }
}

fn set_positive(place: &mut dyn Number, number: u64) -> Result<(), String> {
    if number == 0 {
        return Err("it has to be more than nothing".to_owned());
    }
    place.set(number)
}
