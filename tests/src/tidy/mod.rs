//! What the compiler does not check: the shape of files, which crate and module may know which, and that links lead
//! somewhere. A failure names the file and what to do; an exception is a line in a table here, with its reason.

mod files;
mod layers;
mod links;
mod sources;
