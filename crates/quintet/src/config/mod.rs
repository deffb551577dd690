//! The settings of `quintet serve`: a flag beats the environment, that beats the file, that beats the default.

pub(crate) mod keys;
pub(crate) mod layers;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod tokens;
pub(crate) mod units;
