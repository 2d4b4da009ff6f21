//! The `nsbpf` command; see [`nsbpf::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    nsbpf::cli::main()
}
