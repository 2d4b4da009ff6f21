//! What the two halves of nsbpf share: the layout of map values, the numbering
//! of ports, the packet parser, and what a guard lets pass.
//!
//! `no_std` and without dependencies, so that the same code is compiled for the
//! kernel, for the user half, for unit tests and for fuzzers.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(test)]
extern crate std;

mod abi;
pub mod answer;
pub mod crossing;
pub mod flow;
pub mod generator;
pub mod guard;
pub mod packet;
pub mod pair;
pub mod policy;
pub mod port;
pub mod route;
pub mod sight;
mod spread;
pub mod stats;
pub mod verdict;
pub mod verifier;
pub mod weight;

pub use abi::ABI_VERSION;
