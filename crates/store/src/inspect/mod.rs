//! Looking at a store that is not in use, and setting aside what is damaged in it.

pub mod check;
pub mod repair;
pub mod report;
