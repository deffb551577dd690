//! Requests that are each followed by the next as soon as they are answered: so many in flight, for so long.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::Cpu;
use crate::stats::percentile;
use crate::workload::stage::Stage;

const WARM_UP: Duration = Duration::from_millis(700);

/// What the requests of one run came to.
pub(crate) struct Outcome {
    cpu: Cpu,
    answers: u64,
    wall_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.wall_s
    }

    /// Microseconds of CPU an answer, which are seconds a million.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.total_s() * 1e6 / self.answers as f64
    }
}

/// Sends `request` once on each of `connections` (one may be named several times) and measures for `seconds`.
pub(crate) fn measure(stage: &mut Stage, connections: &[usize], request: &[u8], seconds: f64) -> Result<Outcome> {
    stage.driver.tally.going = true;
    for connection in connections {
        stage.driver.send(*connection, request)?;
    }
    stage.rest(WARM_UP)?;
    stage.driver.tally.latencies_us.clear();
    let (answers, cpu, start) = (stage.driver.tally.acknowledged, stage.server.cpu()?, Instant::now());
    stage.rest(Duration::from_secs_f64(seconds))?;
    let (wall_s, answers) = (start.elapsed().as_secs_f64(), stage.driver.tally.acknowledged - answers);
    let cpu = stage.server.cpu()?.since(cpu);
    let latencies_us = &mut stage.driver.tally.latencies_us;
    let (p50_us, p99_us) = (percentile(latencies_us, 0.5), percentile(latencies_us, 0.99));
    Ok(Outcome { cpu, answers, wall_s, p50_us, p99_us })
}
