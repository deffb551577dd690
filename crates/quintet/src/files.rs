//! How many files the process may have open. Every connection is one, and systems allow far fewer than they could.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept back from connections, so that the log can always open its files: those that it reads from, a new segment, an
/// index, a checkpoint.
const KEPT_FOR_THE_LOG: u64 = 256;

/// Asks for as many as the system allows.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// How many connections one address may have of those that are wished for, when so many addresses share the files.
pub(crate) fn connections(wished: usize, n_addresses: usize) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return wished };
    let allowed = share(files, n_addresses);
    if allowed >= wished {
        return wished;
    }
    tracing::info!(
        files,
        wished,
        allowed,
        "fewer files can be open than connections are wished for; raise the limit (ulimit -n, LimitNOFILE=) or lower \
         http.connections"
    );
    allowed
}

/// Half of very few files, and all but what is kept back of more.
fn share(files: u64, n_addresses: usize) -> usize {
    let all = files.saturating_sub(KEPT_FOR_THE_LOG).max(files / 2);
    usize::try_from(all).unwrap_or(usize::MAX) / n_addresses.max(1)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_log_has_its_part() {
        assert_eq!(share(20_000, 1), 19_744);
        assert_eq!(share(20_000, 2), 9_872);
        assert_eq!(share(100, 1), 50);
        assert_eq!(share(512, 1), 256);
    }
}
