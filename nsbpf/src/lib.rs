//! nsbpf wires Linux network namespaces together and attaches eBPF programs to
//! the veth ends.
//!
//! The way of a command: YAML → [`lab`] → what the kernel has, as [`state`] →
//! [`plan`] → [`apply`]. [`net`] and [`datapath`] are the only ones that talk to
//! the kernel about links and programs, [`store`] holds the lab's folder.

pub mod apply;
pub mod bench;
pub mod cli;
pub mod datapath;
pub mod doctor;
pub mod lab;
pub mod net;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod state;
pub mod store;
