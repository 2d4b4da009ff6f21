//! What each program costs a packet on a path: the kernel's own measure of its runs, in a
//! round that counts for nothing else, as measuring slows it down.

use std::time::Duration;

use serde::Serialize;

use crate::bench::testbed::Testbed;
use crate::bench::traffic::{Injector, Shape};
use crate::bench::{BenchError, Options};
use crate::datapath::{self, LoadedProgram};

/// Frames of the round: some 100 ms.
const FRAMES: u32 = 100_000;

/// A program on a path.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramRun {
    /// The path's mode.
    pub mode: &'static str,
    /// The program's name.
    pub program: String,
    /// How often it ran for a frame.
    pub runs_per_frame: f64,
    /// Nanoseconds that a run took, a mean; the clock's own time, some tens of them, is
    /// in it.
    pub run_ns: f64,
}

/// All programs on a path that ran at all.
pub(in crate::bench) fn measure(
    testbed: &mut Testbed,
    options: &Options,
) -> Result<Vec<ProgramRun>, BenchError> {
    if testbed.points.is_empty() || !testbed.prepare()? {
        return Ok(Vec::new());
    }
    let injector = Injector::new(testbed, Shape::SHORT)?;
    let look = |testbed: &Testbed| {
        let look = |point: &_| datapath::loaded_program(&testbed.store, *point);
        testbed.points.iter().map(look).collect::<Result<Vec<LoadedProgram>, _>>()
    };
    // A warm-up, as elsewhere.
    injector.send(&testbed.sender, FRAMES.min(frames(options.round)))?;
    let measuring = datapath::measure()?;
    let before = look(testbed)?;
    let count = frames(options.round);
    injector.send(&testbed.sender, count)?;
    let after = look(testbed)?;
    drop(measuring);
    let run = |(before, after): (&LoadedProgram, &LoadedProgram)| {
        let runs = after.runs - before.runs;
        #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
        let number = runs as f64;
        let time = after.run_time.saturating_sub(before.run_time);
        (runs > 0).then(|| ProgramRun {
            mode: testbed.mode.name,
            program: after.name.clone(),
            runs_per_frame: number / f64::from(count),
            run_ns: time.as_secs_f64() * 1e9 / number,
        })
    };
    Ok(before.iter().zip(&after).filter_map(run).collect())
}

/// So many that a path of a million a second takes that time.
fn frames(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(FRAMES).clamp(1, FRAMES)
}
