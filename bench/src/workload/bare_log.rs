//! The floor under the durable log: batches of records, each written and synced before the next. It is no server, sends
//! nothing, checks nothing and could not be read again; it is what the disk and the kernel cost whoever keeps messages.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

use crate::process::Cpu;
use crate::workload::closed_loop::{Outcome, WARM_UP};

/// What a record needs beside its payload: length, checksum, offset, time.
const HEAD_BYTES: usize = 32;

/// Writes batches of `batch` messages for `seconds`. The times of the outcome are those of a batch.
pub(crate) fn measure(room: &Path, batch: usize, payload: &str, seconds: f64) -> Result<Outcome> {
    let room = TempDir::with_prefix_in("quintet-bench-", room)?;
    let mut file = File::create(room.path().join("log"))?;
    append(&mut file, batch, payload, WARM_UP)?;
    let (cpu, start) = (Cpu::own()?, Instant::now());
    let mut batches_us = append(&mut file, batch, payload, Duration::from_secs_f64(seconds))?;
    let wall_s = start.elapsed().as_secs_f64();
    let n_messages = (batches_us.len() * batch) as u64;
    Ok(Outcome::new(Cpu::own()?.since(cpu), n_messages, wall_s, &mut batches_us))
}

/// Says how long each batch took, in microseconds.
fn append(file: &mut File, batch: usize, payload: &str, time: Duration) -> Result<Vec<u32>> {
    let mut batches_us = Vec::new();
    let mut buffer = Vec::with_capacity(batch * (HEAD_BYTES + payload.len()));
    let end = Instant::now() + time;
    loop {
        let begun = Instant::now();
        if begun > end {
            return Ok(batches_us);
        }
        buffer.clear();
        for _ in 0..batch {
            buffer.extend_from_slice(&[0; HEAD_BYTES]);
            buffer.extend_from_slice(payload.as_bytes());
        }
        file.write_all(&buffer)?;
        file.sync_data()?;
        batches_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}
