//! The root tests on other kernels.

use anyhow::{Context as _, Result};

use super::{ROOT_TESTS, conclude, executables, pass_on};
use crate::{tally::Tally, vm};

/// The package of the machine's first process.
const INIT: &str = "vm-init";

/// Runs the tests on one kernel after the other; the sum over all comes last.
pub(super) fn run(kernels: &[String], filter: Option<&str>) -> Result<()> {
    let built = executables::build(&[])?;
    let init = executables::program(INIT)?;
    let root_tests = built.tests.iter().find(|test| test.name == ROOT_TESTS);
    let root_tests = root_tests.context("the root tests were not built")?;
    let programs = built.programs.iter().filter(|program| program.manifest == root_tests.manifest);
    let tests = vm::Tests {
        executable: &root_tests.path,
        // They share the kernel, and look for leaks after each.
        arguments: ["--test-threads=1"].into_iter().chain(filter).map(str::to_owned).collect(),
        folder: root_tests.folder(),
        binaries: programs.map(|program| program.path.as_path()).collect(),
        init: &init.path,
    };
    let mut tally = Tally::default();
    for kernel in kernels {
        println!("== the kernel of {kernel}");
        let before = tally;
        if let Err(error) = vm::run(kernel, &tests, &mut |line| pass_on(line, &mut tally)) {
            eprintln!("on the kernel of {kernel}: {error:#}");
            // It ended before it could say which test it was.
            if tally.failed == before.failed {
                tally.failed += 1;
            }
        }
    }
    conclude(tally)
}
