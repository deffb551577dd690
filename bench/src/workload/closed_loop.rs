//! Requests that are each followed by the next as soon as they are answered: so many in flight, for so long.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::process::Cpu;
use crate::stats::percentile;
use crate::workload::stage::Stage;

pub(crate) const WARM_UP: Duration = Duration::from_millis(700);

/// What the requests of one run came to.
pub(crate) struct Outcome {
    cpu: Cpu,
    answers: u64,
    wall_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Outcome {
    pub(crate) fn new(cpu: Cpu, answers: u64, wall_s: f64, latencies_us: &mut [u32]) -> Outcome {
        let (p50_us, p99_us) = (percentile(latencies_us, 0.5), percentile(latencies_us, 0.99));
        Outcome { cpu, answers, wall_s, p50_us, p99_us }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.wall_s
    }

    /// Microseconds of CPU an answer, which are seconds a million.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.total_s() * 1e6 / self.answers as f64
    }
}

/// Sends each request on its connection (one may be named several times) and measures for `seconds`.
pub(crate) fn measure(stage: &mut Stage, requests: &[(usize, Rc<[u8]>)], seconds: f64) -> Result<Outcome> {
    stage.driver.tally.going = true;
    for (connection, request) in requests {
        stage.driver.send(*connection, request)?;
    }
    stage.rest(WARM_UP)?;
    stage.driver.tally.latencies_us.clear();
    let (answers, cpu, start) = (stage.driver.tally.acknowledged, stage.server.cpu()?, Instant::now());
    stage.rest(Duration::from_secs_f64(seconds))?;
    let (wall_s, answers) = (start.elapsed().as_secs_f64(), stage.driver.tally.acknowledged - answers);
    let cpu = stage.server.cpu()?.since(cpu);
    ensure!(answers > 0, "nothing was answered");
    Ok(Outcome::new(cpu, answers, wall_s, &mut stage.driver.tally.latencies_us))
}
