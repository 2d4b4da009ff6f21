//! Programs of others on devices of a lab: those that run before the lab's, those
//! that arrived after, and the one that leaves no room.

use std::path::Path;

use aya::programs::links::{FdLink, LinkOrder};
use aya::programs::tc::{NlOptions, TcAttachOptions, TcHandle};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use libtest_mimic::Failed;
use nsbpf::datapath::OBJECT;
use nsbpf::plan::Settings;
use nsbpf::state::{Attach, IngressHook};
use nsbpf_common::stats::Way;
use serde_json::Value;

use crate::Test;
use crate::attach::by;
use crate::command::run;
use crate::engine::{lab, settings};
use crate::truth::{Ground, LAB, V4, exchange_is_exact};
use crate::world::{ip, ip_json, tc};

pub(crate) const TESTS: &[Test] = &[
    ("foreign::filters_before_and_after_go_on_under_clsact", || around(Attach::Clsact)),
    ("foreign::filters_before_and_after_go_on_under_tcx", || around(Attach::Tcx)),
    ("foreign::an_xdp_program_is_refused_before_the_first_write", xdp_is_refused),
    ("foreign::an_mtu_that_xdp_does_not_take_is_named", mtu_is_named),
    ("foreign::a_port_of_others_keeps_its_filter", port_of_others),
    ("foreign::programs_are_measured_on_demand", measured),
];

/// Programs that are none of a lab's: ours, which count nothing where no port is.
fn theirs() -> Ebpf {
    let mut ebpf = EbpfLoader::new().load(OBJECT).expect("load the object");
    let ingress: &mut SchedClassifier = ebpf.program_mut("tc_ingress").unwrap().try_into().unwrap();
    ingress.load().expect("load tc_ingress");
    let xdp: &mut Xdp = ebpf.program_mut("xdp_ingress").unwrap().try_into().unwrap();
    xdp.load().expect("load xdp_ingress");
    ebpf
}

fn classifier(ebpf: &mut Ebpf) -> &mut SchedClassifier {
    ebpf.program_mut("tc_ingress").unwrap().try_into().unwrap()
}

/// Attaches to tc ingress of `a-eth0` with that priority.
fn add_filter(ebpf: &mut Ebpf, device: &str, priority: u16) {
    let options = NlOptions { priority, handle: TcHandle::new(0, 1), classid: None };
    let options = TcAttachOptions::Netlink(options);
    let program = classifier(ebpf);
    let link = program.attach_with_options(device, TcAttachType::Ingress, options);
    let link = link.and_then(|link| program.take_link(link)).expect("attach a filter");
    // It stays when this process lets go of it.
    std::mem::forget(link);
}

fn add_tcx(ebpf: &mut Ebpf, order: LinkOrder) -> FdLink {
    let program = classifier(ebpf);
    let options = TcAttachOptions::TcxOrder(order);
    let link = program.attach_with_options("a-eth0", TcAttachType::Ingress, options);
    let link = link.and_then(|link| program.take_link(link)).expect("attach by TCX");
    link.try_into().expect("a link")
}

fn report(arguments: &[&str]) -> Value {
    let done = run(&[&["show", "truth", "--datapath", "--format", "json"], arguments].concat());
    assert_eq!(done.code, Some(0), "{}", done.err);
    serde_json::from_str(&done.out).expect("a report")
}

/// Programs around the lab's at tc ingress of `a-eth0`: way and priority.
fn around_ours(report: &Value) -> [Vec<String>; 2] {
    let hooks = report["hooks"].as_array().expect("hooks");
    let hook = hooks
        .iter()
        .find(|hook| hook["interface"] == "a/eth0" && hook["point"] == "tc ingress")
        .expect("the hook");
    assert_eq!(hook["device"], "a-eth0");
    ["before", "after"].map(|side| {
        let others = hook[side].as_array().expect("others").iter();
        others.map(|other| format!("{} {}", other["way"], other["priority"])).collect()
    })
}

fn around(attach: Attach) -> Result<(), Failed> {
    // What passes the bridge by passes those by that would see it after us.
    let by = |attach| Settings { fastpath: Some(Way::Bridge), ..by(attach, IngressHook::Tc) };
    let settings = by(attach);
    let ground = Ground::with(LAB, &settings);
    if attach == Attach::Tcx {
        tc(&["qdisc", "add", "dev", "a-eth0", "clsact"]);
    }
    let (mut first, mut last, mut tcx) = (theirs(), theirs(), theirs());
    add_filter(&mut first, "a-eth0", 10);
    add_filter(&mut last, "a-eth0", 60_000);
    let link = add_tcx(&mut tcx, LinkOrder::first());
    let expected: [&[&str]; 2] = match attach {
        Attach::Clsact => [&["\"tcx\" null", "\"clsact\" 10"], &["\"clsact\" 60000"]],
        Attach::Tcx => [&["\"tcx\" null"], &["\"clsact\" 10", "\"clsact\" 60000"]],
    };
    assert_eq!(around_ours(&report(&[])), expected);
    let text = run(&["show", "truth", "--datapath"]).out;
    assert!(text.contains("clsact tc_ingress (id "), "{text}");
    let measuring = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
    // Theirs run, and ours count.
    exchange_is_exact(&ground, V4)?;
    for ebpf in [&mut first, &mut last, &mut tcx] {
        let runs = classifier(ebpf).info()?.run_count();
        assert!(runs >= 4000, "ran {runs} times");
    }
    drop(measuring);
    assert_eq!(ground.up.converge_with(&lab(LAB), &settings).steps, 0);
    // Neither other programs nor another way and back disturb them.
    let other = match attach {
        Attach::Clsact => Attach::Tcx,
        Attach::Tcx => Attach::Clsact,
    };
    for attach in [other, attach] {
        ground.up.converge_with(&lab(LAB), &by(attach));
    }
    assert_eq!(around_ours(&report(&[])), expected);
    drop((link, first, last, tcx));
    ground.down();
    Ok(())
}

fn xdp_is_refused() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &settings(IngressHook::Tc));
    let mut ebpf = theirs();
    let xdp: &mut Xdp = ebpf.program_mut("xdp_ingress").unwrap().try_into().unwrap();
    xdp.attach("a-eth0", XdpMode::Driver)?;
    let id = xdp.info()?.id();
    let before = report(&[]);
    assert_eq!(around_ours(&before), [vec!["\"xdp\" null".to_owned()], Vec::new()]);
    let error = ground.up.try_converge(&lab(LAB), IngressHook::Xdp).unwrap_err().to_string();
    for says in [
        "a/eth0",
        &format!("`xdp_ingress`, id {id}"),
        "`ip link set dev a-eth0 xdp off`",
        "`--hook tc`",
    ] {
        assert!(error.contains(says), "{says:?} is not in {error:?}");
    }
    assert!(!error.contains("undone"), "something was written: {error}");
    // Flows come and go meanwhile.
    for what in ["hooks", "programs"] {
        assert_eq!(report(&[])[what], before[what]);
    }
    assert_eq!(ip_json(&["link", "show", "a-eth0"])[0]["xdp"]["prog"]["id"], id);
    // It runs, and what it lets go on is counted.
    exchange_is_exact(&ground, V4)?;
    assert_eq!(ground.up.converge(&lab(LAB), IngressHook::Tc).steps, 0);
    drop(ebpf);
    ground.up.converge(&lab(LAB), IngressHook::Xdp);
    exchange_is_exact(&ground, V4)?;
    ground.down();
    Ok(())
}

fn mtu_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lab.yaml");
    std::fs::write(&path, LAB.replace("br0: {}", "br0: { mtu: 9000 }"))?;
    let path = path.to_str().ok_or("a path")?;
    let done = run(&["up", path, "--hook", "xdp"]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    for says in ["XDP of a/eth0: the MTU", "3,500", "`--hook tc`", "was undone"] {
        assert!(done.err.contains(says), "{says:?} is not in {:?}", done.err);
    }
    assert!(!Path::new("/run/nsbpf").exists());
    Ok(())
}

/// Another's link on the lab's bridge, with a filter.
fn port_of_others() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &settings(IngressHook::Tc));
    ip(&["link", "add", "theirs", "type", "veth", "peer", "name", "theirs1"]);
    ip(&["link", "set", "theirs", "master", "br0"]);
    tc(&["qdisc", "add", "dev", "theirs", "clsact"]);
    let mut ebpf = theirs();
    add_filter(&mut ebpf, "theirs", nsbpf::net::filter::PRIORITY);
    let filters = || tc(&["filter", "show", "dev", "theirs", "ingress"]);
    let before = filters();
    assert!(before.contains("tc_ingress"), "{before}");
    ground.up.converge_with(&lab(LAB), &by(Attach::Tcx, IngressHook::Tc));
    ground.down();
    assert_eq!(filters(), before);
    ip(&["link", "delete", "theirs"]);
    Ok(())
}

fn measured() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &settings(IngressHook::Tc));
    exchange_is_exact(&ground, V4)?;
    let times = |report: &Value| {
        let programs = report["programs"].as_array().expect("programs").clone();
        programs.iter().map(|program| program["ns_per_packet"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(times(&report(&[])), [None, None]);
    assert!(run(&["show", "truth", "--datapath"]).out.contains("`--measure`"));
    let measured = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| report(&["--measure"]));
        while !measuring.is_finished() {
            exchange_is_exact(&ground, V4).expect("an exchange");
        }
        measuring.join().expect("a report")
    });
    assert!(times(&measured).iter().all(|ns| ns.is_some_and(|ns| ns > 1.0)), "{measured:#}");
    let maps = measured["maps"].as_array().expect("maps");
    let counters = maps.iter().find(|map| map["name"] == "PORT_STATS").expect("the counters");
    assert_eq!(counters["max_entries"], 64);
    assert!(counters["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 64 * 16));
    ground.down();
    Ok(())
}
